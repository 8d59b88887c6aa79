"""pixelNeRF, trained further on views of 64 pixels, packed as pictures of 4 x 4 views an object.

A sheet of sixteen views is some 13 KB as WebP of quality 85, a twentieth of its bytes. Opacity is exact.
"""

import io
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor, nn

from runtime.errors import UserError
from train.further.archive import Archive, halved
from train.further.configs import config_of
from train.further.subject import Further, required_run
from train.pixelnerf.loss import Batch, loss_of_batch
from train.pixelnerf.network import PixelNeRF
from train.pixelnerf.objects import VIEWS, Objects, load_objects
from train.pixelnerf.runs import load_run, read_run, write_run

BATCH = 64
"""Objects a step."""

QUALITY = 85
"""WebP's quality of colours."""

LR = 1e-3


def prepare(run: Path | None, data: Path | None, cache: Path | None) -> Archive:
    """Return the views of a set of objects, packed, and a run's averaged weights."""
    if data is None or cache is None:
        raise UserError("prepare pixelnerf: expected --data with the set, and --cache with its reduced pictures")
    network = load_run(required_run(run))
    side = network.architecture.side
    objects = load_objects(data, cache, side)
    views = np.asarray(objects.views)
    packed = [pack(views[row]) for row in range(len(views))]
    arrays = {
        "views": np.frombuffer(b"".join(packed), np.uint8),
        "ends": np.cumsum([len(sheet) for sheet in packed]),
        "poses": objects.poses.numpy(),
        "train": objects.train.numpy(),
        "validation": objects.validation.numpy(),
    }
    config = json.loads((required_run(run) / "config.json").read_text("utf-8"))
    return Archive("pixelnerf", config, arrays, halved(network))


def pack(views: UInt8[np.ndarray, "16 H W 4"]) -> bytes:
    """Return the sixteen views of an object as one WebP."""
    side = views.shape[1]
    sheet = views.reshape(4, 4, side, side, 4).swapaxes(1, 2).reshape(4 * side, 4 * side, 4)
    content = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(sheet)).save(content, "WEBP", quality=QUALITY, alpha_quality=100, method=4)
    return content.getvalue()


def unpack(sheet: bytes, side: int) -> UInt8[np.ndarray, "16 H W 4"]:
    """Return the views of a WebP, premultiplied: no colour above its opacity."""
    with Image.open(io.BytesIO(sheet), formats=("WEBP",)) as image:
        pixels = np.asarray(image.convert("RGBA"))
    views = pixels.reshape(4, side, 4, side, 4).swapaxes(1, 2).reshape(VIEWS, side, side, 4).copy()
    np.minimum(views[..., :3], views[..., 3:], out=views[..., :3])
    return views


def open(archive: Archive, device: str, batch: int) -> Further:
    """Return the network and its views on a device."""
    architecture = config_of(archive, read_run)
    network = PixelNeRF(architecture)
    archive.load_into(network)
    ends = archive.arrays["ends"].tolist()
    content = archive.arrays["views"].tobytes()
    sheets = [content[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    with ThreadPoolExecutor() as pool:  # decoding leaves the interpreter's lock
        views = np.stack(list(pool.map(lambda sheet: unpack(sheet, architecture.side), sheets)))
    tensors = {name: torch.from_numpy(archive.arrays[name]).to(device) for name in ("poses", "train", "validation")}
    objects = Objects(
        views=torch.from_numpy(views).to(device),
        poses=tensors["poses"],
        train=tensors["train"],
        validation=tensors["validation"],
        ids=(),
        categories=(),
    )
    unseen = replace(objects, train=objects.validation)
    sizes = Batch(objects=batch, rays=64)

    def loss(net: nn.Module, generator: torch.Generator) -> Float[Tensor, ""]:
        return loss_of_batch(net, objects, sizes, generator)  # pyright: ignore[reportArgumentType]

    def held_out(net: nn.Module, generator: torch.Generator) -> Float[Tensor, ""]:
        return loss_of_batch(net, unseen, sizes, generator)  # pyright: ignore[reportArgumentType]

    def compiled(net: nn.Module) -> nn.Module:
        # in its parts: the numbers of rays and points between them differ from step to step
        assert isinstance(net, PixelNeRF)
        net.encoder.compile()
        net.field.compile(dynamic=True)
        return net

    return Further(
        network=network,
        loss=loss,
        held_out=held_out,
        write_config=lambda folder: write_run(folder, architecture),
        compiled=compiled,
        recipe={"lr": LR, "warmup": 200, "ema": 0.9995},
    )
