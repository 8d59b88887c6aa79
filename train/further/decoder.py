"""The latent decoder of `icons`, trained further against a discriminator, on icons as lossless WebP.

The encoder, and so every latent, stays as it is. The discriminator is new: no bundle has one.
"""

import io
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from PIL import Image
from torch import Tensor, nn

from runtime.engines.bundle.diffusion import DiffusionBundle
from runtime.errors import UserError
from runtime.files import replace_file
from train.data.archive import read_icons, to_images
from train.data.captions import HOUSE
from train.further.archive import Archive, halved
from train.further.latents import from_bytes, to_bytes
from train.further.subject import Further
from train.latent_diffusion.autoencoder import load, reconstruction_loss
from train.latent_diffusion.decoder import Training, crisp_loss
from train.latent_diffusion.denoiser import weigh_rows
from train.latent_diffusion.objects import encode_views
from train.latent_diffusion.replay import held_out_icons
from train.latent_diffusion.restore import restore_autoencoder
from train.norm import to_channels_last

BATCH = 64

BUNDLE = "icons"
"""Bundle whose encoder makes the latents, and whose decoder is the default start."""

EDGES, CRISP, NOISE = 1.0, 0.7, 0.12
"""As the defaults of `train.latent_diffusion.decoder`."""

_SIDE = 128


def prepare(run: Path | None, data: Path | None, cache: Path | None) -> Archive:
    """Return the pictures of an archive of `train.data.icons`, their latents, and a run's averaged weights."""
    if data is None:
        raise UserError(
            "prepare decoder: expected --data with the archive of icons, got none; make it with "
            "python -m train.data.icons"
        )
    icons, bundle = read_icons(data), DiffusionBundle.load(BUNDLE)
    network = restore_autoencoder(bundle) if run is None else load(run)
    pictures = icons["pictures"]
    packed = [pack(picture) for picture in pictures]
    latents = encode_views(torch.from_numpy(pictures).permute(0, 3, 1, 2), bundle.latent_encoder("none"), 16)
    arrays = {
        "pictures": np.frombuffer(b"".join(packed), np.uint8),
        "ends": np.cumsum([len(picture) for picture in packed]),
        "latents": to_bytes(latents).numpy(),
        "weights": weigh_rows(icons, HOUSE if HOUSE in icons["sets"] else "").numpy(),
        "held_out": held_out_icons(icons).numpy(),
    }
    config = {"network": "decoder", "base": BUNDLE, "latent_scale": bundle.latent_scale}
    return Archive("decoder", config, arrays, halved(network))


def pack(picture: UInt8[np.ndarray, "H W 3"]) -> bytes:
    """Return a picture as lossless WebP."""
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "WEBP", lossless=True, method=4)
    return content.getvalue()


def unpack(content: bytes) -> UInt8[np.ndarray, "H W 3"]:
    """Return the picture of `pack`."""
    with Image.open(io.BytesIO(content), formats=("WEBP",)) as image:
        if image.size != (_SIDE, _SIDE):
            raise UserError(f"arrays of 'decoder': expected pictures of {_SIDE} pixels, got {image.size}")
        return np.asarray(image.convert("RGB"))


def open(archive: Archive, device: str, batch: int) -> Further:
    """Return the network and its pictures on a device."""
    ends, content = archive.arrays["ends"].tolist(), archive.arrays["pictures"].tobytes()
    parts = [content[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    with ThreadPoolExecutor() as pool:  # decoding leaves the interpreter's lock
        pictures = torch.from_numpy(np.stack(list(pool.map(unpack, parts)))).to(device)
    latents, held = from_bytes(torch.from_numpy(archive.arrays["latents"])).to(device), archive.arrays["held_out"]
    weights = torch.from_numpy(archive.arrays["weights"] * ~held).to(device)
    unseen = torch.from_numpy(held.nonzero()[0]).to(device)
    network, scale = make_training(archive), float(archive.config["latent_scale"])

    def pick(rows: Int64[Tensor, " B"]) -> tuple[Float[Tensor, "B 4 h w"], Float[Tensor, "B 3 H W"]]:
        return latents[rows].float(), to_images(pictures[rows])

    def loss(training: nn.Module, generator: torch.Generator) -> Float[Tensor, ""]:
        rows = torch.multinomial(weights, batch, replacement=True, generator=generator)
        clean, images = pick(rows)
        level = NOISE * torch.rand((batch, 1, 1, 1), generator=generator, device=device)
        noisy = (clean + level * torch.randn(clean.shape, generator=generator, device=device)) / scale
        assert isinstance(training, Training)
        return crisp_loss(training, noisy, images, edges=EDGES, crisp=CRISP)

    def held_out(training: nn.Module, generator: torch.Generator) -> Float[Tensor, ""]:
        drawn = torch.randint(len(unseen), (batch,), generator=generator, device=device)
        clean, images = pick(unseen[drawn])
        assert isinstance(training, Training)
        return reconstruction_loss(images, training.autoencoder.decode(clean / scale), EDGES)

    return Further(
        network=to_channels_last(network),
        loss=loss,
        held_out=held_out,
        write_config=lambda folder: replace_file(folder / "config.json", json.dumps(archive.config)),
        # A step goes back through its graph three times, which a compiled one does not allow.
        compiled=lambda network: network,
        recipe={"lr": 2e-4, "warmup": 200, "ema": 0.9995},
    )


def make_training(archive: Archive) -> Training:
    """Return the autoencoder of an archive with a new discriminator."""
    from train.latent_diffusion.autoencoder import IconAutoencoder

    autoencoder = IconAutoencoder()
    archive.load_into(autoencoder)
    torch.manual_seed(0)
    return Training(autoencoder)
