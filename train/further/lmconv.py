"""LMConv, trained further on its pictures under the orders of its run."""

import json
import math
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from runtime.pixels.orders import parse_orders
from train.further.archive import Archive, halved
from train.further.configs import config_of
from train.further.subject import Further, required_run
from train.lmconv.data import Pictures, load_pictures
from train.lmconv.likelihood import log_likelihoods
from train.lmconv.network import LocallyMaskedPixelCNN
from train.lmconv.runs import load_run, read_run, write_run

BATCH = 256


def prepare(run: Path | None, data: Path | None, cache: Path | None) -> Archive:
    """Return the pictures of a run and its averaged weights."""
    network, config = load_run(required_run(run))
    pictures = load_pictures(config.data, data, binarization=config.binarization, size=config.size[0])  # pyright: ignore
    arrays = {name: getattr(pictures, name).numpy() for name in ("train", "valid")}
    arrays["dynamic"] = torch.tensor([pictures.dynamic]).numpy()
    written = json.loads((required_run(run) / "config.json").read_text("utf-8"))
    return Archive("lmconv", written, arrays, halved(network))


def open(archive: Archive, device: str, batch: int) -> Further:
    """Return the network and its pictures on a device."""
    config = config_of(archive, read_run)
    network = LocallyMaskedPixelCNN(config.architecture).to(device)
    archive.load_into(network)
    tensors = archive.tensors(device)
    pictures = Pictures(
        tensors["train"],
        tensors["valid"],
        tensors["valid"],
        config.architecture.levels,
        dynamic=bool(tensors["dynamic"][0]),
    )
    unseen = Pictures(pictures.valid, pictures.valid, pictures.valid, pictures.levels)
    masks = [network.masks(order, pictures.size) for order in parse_orders(config.orders, pictures.size)]
    dimensions = math.prod(pictures.train.shape[1:])

    def loss_on(part: Pictures, net: nn.Module, generator: torch.Generator) -> Float[Tensor, ""]:
        mask = masks[int(torch.randint(len(masks), (), generator=generator, device=generator.device))]
        drawn = part.draw(batch, generator)
        return -log_likelihoods(net, drawn, mask).sum() / (len(drawn) * dimensions)  # pyright: ignore

    return Further(
        network=network,
        loss=lambda net, generator: loss_on(pictures, net, generator),
        held_out=lambda net, generator: loss_on(unseen, net, generator),
        write_config=lambda folder: write_run(folder, config),
        # its layers are functions of their own, which the compiler does not see through
        compiled=lambda net: net,
        recipe={"lr": 2e-3, "warmup": 100, "ema": 0.999, "weight_decay": 0.0},
    )
