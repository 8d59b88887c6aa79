"""The camera-aware denoiser, trained further on the latents of views and icons as bytes.

Captions travel as texts: their contexts are some eighty times larger, and the bundle that is trained on encodes them.
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
from runtime.files import read_ordinary, replace_file
from train.data.archive import read_tensors
from train.further.archive import Archive
from train.further.latents import from_bytes, to_bytes
from train.further.subject import Further
from train.latent_diffusion.camera_weights import fill, make_denoiser, pack, unpack
from train.latent_diffusion.held_out import TIMES, noised
from train.latent_diffusion.objects import encode_captions, index_captions
from train.latent_diffusion.prepared import Icons, ObjectViews
from train.latent_diffusion.teacher import FACTORS, RUN, Config, make_loss
from train.norm import to_channels_last

BATCH = 512
"""Latents a step: half are objects', half icons'."""

LR = 1e-3


def prepare(run: Path | None, data: Path | None, cache: Path | None) -> Archive:
    """Return prepared views and icons, the folders `objects` and `icons` of `data`, and a run's trained weights."""
    if data is None:
        raise UserError("prepare teacher: expected --data with the folders objects and icons of prepared arrays")
    objects, icons = ObjectViews.load(data / "objects"), Icons.load(data / "icons")
    file = read_arrays(data / "icons" / "icons.npz", ("texts",))
    if "texts" not in file:
        raise UserError(f"'{data / 'icons'}': expected texts; prepare it anew: python -m train.latent_diffusion.replay")
    icon_texts = file["texts"].tolist()
    entries = json.loads((data / "objects" / "objects.json").read_text("utf-8"))["objects"]
    texts = {"objects": index_captions(objects.objects)[0], "icons": icon_texts}
    arrays = {
        "views": to_bytes(objects.latents).numpy(),
        "cameras": objects.cameras.numpy(),
        "icons": to_bytes(icons.latents).numpy(),
        "rows": icons.rows.numpy(),
        "weights": icons.weights.numpy(),
        "front": icons.front.numpy(),
        "held_out": icons.held_out.numpy(),
        "texts": np.frombuffer(json.dumps({**texts, "entries": entries}).encode(), np.uint8),
    }
    weights, before = {}, 0
    if run is not None:
        remedy = "give the run folder of python -m train.latent_diffusion.teacher"
        weights = pack(read_tensors(run / "ema.safetensors", (), remedy))
        try:
            before = json.loads(read_ordinary(run / RUN, 1 << 20))["images_before"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"--run '{run}': expected {RUN} of a run, got {error!s:.100}; {remedy}") from None
    config = {"bundle": "icons", "images_before": before}
    return Archive("teacher", config, arrays, {name: value.numpy() for name, value in weights.items()})


def open(archive: Archive, device: str, batch: int) -> Further:
    """Return the network and its examples on a device."""
    arrays = {name: torch.from_numpy(value) for name, value in archive.arrays.items()}
    texts = json.loads(archive.arrays["texts"].tobytes())
    bundle = DiffusionBundle.load(archive.config["bundle"], threads=torch.get_num_threads())
    encode = bundle.text_encoder()
    objects = ObjectViews.of(
        texts["entries"], from_bytes(arrays["views"]), arrays["cameras"], encode_captions(texts["objects"], encode)
    ).to(device)
    icons = Icons(
        latents=from_bytes(arrays["icons"]),
        contexts=encode_captions(texts["icons"], encode),
        rows=arrays["rows"],
        weights=arrays["weights"],
        front=arrays["front"],
        held_out=arrays["held_out"],
    ).to(device)
    network = make_denoiser(bundle)
    if archive.weights:
        fill(network, unpack({name: torch.from_numpy(value) for name, value in archive.weights.items()}))
    paths = dict.fromkeys(("objects", "icons", "out"), Path())
    loss = make_loss(Config(**paths, batch=batch, device=device), objects, icons)
    fronts = torch.tensor(objects.held_out_fronts(), device=device)

    def held_out(predict: nn.Module, generator: torch.Generator) -> Float[Tensor, ""]:
        return held_out_loss(predict, objects, fronts, icons, batch // 2, generator)

    def write_config(folder: Path) -> None:
        run = {"images_a_step": batch, "images_before": archive.config["images_before"]}
        replace_file(folder / RUN, json.dumps(run))

    return Further(
        network=to_channels_last(network),
        loss=loss,  # pyright: ignore[reportArgumentType]
        held_out=held_out,
        write_config=write_config,
        recipe={"lr": LR, "factors": FACTORS, "warmup": 200, "ema": 0.999},
    )


def held_out_loss(
    predict: nn.Module,
    objects: ObjectViews,
    fronts: Int64[Tensor, " F"],
    icons: Icons,
    count: int,
    generator: torch.Generator,
) -> Float[Tensor, ""]:
    """Return the loss of held-out views with their cameras plus that of held-out icons without."""

    def drawn(rows: Int64[Tensor, " N"]) -> Int64[Tensor, " B"]:
        return rows[torch.randint(len(rows), (count,), generator=generator, device=generator.device)]

    total = torch.zeros((), device=generator.device)
    for examples in (objects.pick(drawn(fronts), generator), icons.pick(drawn(icons.held_out), generator)):
        t = torch.randint(*TIMES, (count,), generator=generator, device=generator.device)
        noise = torch.randn(examples.latents.shape, generator=generator, device=generator.device)
        predicted = predict(noised(examples, t, noise), t, examples.contexts, examples.cameras, examples.present)
        total = total + (predicted - noise).square().mean()
    return total
