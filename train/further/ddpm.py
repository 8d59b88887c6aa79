"""DDPM's network of pixels, trained further on its pictures as bytes."""

import json
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from runtime.guidance.diffusion import simple_loss
from runtime.guidance.schedule import Schedule
from train.ddpm.data import Pictures, load_pictures, to_unit
from train.ddpm.network import PixelDenoiser
from train.ddpm.runs import load_run, read_run, write_run
from train.further.archive import Archive, halved
from train.further.configs import config_of
from train.further.subject import Further, required_run

BATCH = 512


def prepare(run: Path | None, data: Path | None, cache: Path | None) -> Archive:
    """Return the pictures of a run, reduced to its size, and its averaged weights."""
    network, config = load_run(required_run(run))
    pictures = load_pictures(config.data, data, size=config.architecture.size, sets=config.sets)
    arrays = {name: getattr(pictures, name).numpy() for name in ("train", "held_out")}
    arrays["flips"] = torch.tensor([pictures.flips]).numpy()
    written = json.loads((required_run(run) / "config.json").read_text("utf-8"))
    return Archive("ddpm", written, arrays, halved(network))


def open(archive: Archive, device: str, batch: int) -> Further:
    """Return the network and its pictures on a device."""
    config = config_of(archive, read_run)
    network = PixelDenoiser(config.architecture)
    archive.load_into(network)
    tensors = archive.tensors(device)
    pictures = Pictures(tensors["train"], tensors["held_out"], bool(tensors["flips"][0]))
    schedule = Schedule.of(config.schedule)

    def loss_of(predict: nn.Module, x: Float[Tensor, "B C H W"], generator: torch.Generator) -> Float[Tensor, ""]:
        t = torch.randint(len(schedule), (len(x),), generator=generator, device=generator.device)
        noise = torch.randn(x.shape, generator=generator, device=generator.device)
        return simple_loss(predict, x, t, noise, schedule)

    def loss(predict: nn.Module, generator: torch.Generator) -> Float[Tensor, ""]:
        return loss_of(predict, pictures.draw(batch, generator), generator)

    def held_out(predict: nn.Module, generator: torch.Generator) -> Float[Tensor, ""]:
        rows = torch.randint(len(pictures.held_out), (batch,), generator=generator, device=generator.device)
        return loss_of(predict, to_unit(pictures.held_out[rows]), generator)

    return Further(
        network=network,
        loss=loss,
        held_out=held_out,
        write_config=lambda folder: write_run(folder, config),
        recipe={"lr": 1e-3, "warmup": 200, "ema": 0.9995, "betas": (0.9, 0.999), "weight_decay": 0.0},
    )
