"""The denoiser of `icons`, trained further on the latents of icons as bytes.

Captions travel as texts, as those of the teacher do. Without a run it begins with the int8 weights of the bundle.
"""

import json
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from runtime.arrays import read_arrays
from runtime.engines.bundle.diffusion import DiffusionBundle
from runtime.errors import UserError
from runtime.files import replace_file
from train.further.archive import Archive, halved
from train.further.latents import from_bytes, to_bytes
from train.further.subject import Further
from train.latent_diffusion.denoiser import DROPOUT, noise_loss
from train.latent_diffusion.objects import encode_captions
from train.latent_diffusion.prepared import Icons
from train.latent_diffusion.restore import restore_denoiser
from train.latent_diffusion.unet import SCHEDULE, IconDenoiser
from train.norm import to_channels_last
from train.runs import load_weights

BATCH = 512

BUNDLE = "icons"
"""Bundle whose text encoder the denoiser reads, and whose denoiser is the default start."""


def prepare(run: Path | None, data: Path | None, cache: Path | None) -> Archive:
    """Return prepared icons, a folder of `train.latent_diffusion.replay`, and a run's averaged weights."""
    if data is None:
        raise UserError(
            "prepare denoiser: expected --data with the folder of prepared icons, got none; make it with "
            "python -m train.latent_diffusion.replay"
        )
    icons = Icons.load(data)
    file = read_arrays(data / "icons.npz", ("texts",))
    if "texts" not in file:
        raise UserError(f"'{data}': expected texts; prepare it anew: python -m train.latent_diffusion.replay")
    arrays = {
        "icons": to_bytes(icons.latents).numpy(),
        "rows": icons.rows.numpy(),
        "weights": icons.weights.numpy(),
        "held_out": icons.held_out.numpy(),
        "texts": np.frombuffer(json.dumps(file["texts"].tolist()).encode(), np.uint8),
    }
    network = restore_denoiser(DiffusionBundle.load(BUNDLE)) if run is None else load_weights(IconDenoiser(), run)
    return Archive("denoiser", {"network": "denoiser", "base": BUNDLE}, arrays, halved(network))


def open(archive: Archive, device: str, batch: int) -> Further:
    """Return the network and its latents on a device."""
    arrays = {name: torch.from_numpy(value) for name, value in archive.arrays.items()}
    encode = DiffusionBundle.load(archive.config["base"], threads=torch.get_num_threads()).text_encoder()
    icons = Icons(
        latents=from_bytes(arrays["icons"]),
        contexts=encode_captions(json.loads(archive.arrays["texts"].tobytes()), encode),
        rows=arrays["rows"],
        weights=arrays["weights"],
        front=torch.zeros(len(arrays["icons"]), dtype=torch.bool),
        held_out=arrays["held_out"],
    ).to(device)
    network = IconDenoiser()
    archive.load_into(network)
    times = int(SCHEDULE["num_timesteps"])

    def loss_of(predict: nn.Module, rows: Int64[Tensor, " B"], generator: torch.Generator) -> Float[Tensor, ""]:
        examples = icons.pick(rows, generator)
        # The empty text is in front: one network learns both of the guidance's predictions.
        dropped = torch.rand(len(rows), generator=generator, device=device) < DROPOUT
        contexts = torch.where(dropped[:, None, None], icons.contexts[0].float(), examples.contexts)
        t = torch.randint(times, (len(rows),), generator=generator, device=device)
        noise = torch.randn(examples.latents.shape, generator=generator, device=device)
        return noise_loss(predict, examples.latents, contexts, t, noise)

    def loss(predict: nn.Module, generator: torch.Generator) -> Float[Tensor, ""]:
        return loss_of(
            predict, torch.multinomial(icons.weights, batch, replacement=True, generator=generator), generator
        )

    def held_out(predict: nn.Module, generator: torch.Generator) -> Float[Tensor, ""]:
        drawn = torch.randint(len(icons.held_out), (batch,), generator=generator, device=device)
        return loss_of(predict, icons.held_out[drawn], generator)

    return Further(
        network=to_channels_last(network),
        loss=loss,
        held_out=held_out,
        write_config=lambda folder: replace_file(folder / "config.json", json.dumps(archive.config)),
        recipe={"lr": 6e-4, "warmup": 200, "ema": 0.9995},
    )
