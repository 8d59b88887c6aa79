"""The fields of the presets, new and from a checkpoint."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from runtime.engines.backends.choice import choose_device
from runtime.field.fields.grid import DenseGrid
from runtime.field.fields.hashed import HashedGrid
from runtime.field.fields.neural import NeuralField
from runtime.field.reference.hashing import HashLayout
from runtime.nerf.config import NETWORKS

if TYPE_CHECKING:
    from runtime.nerf.config import Config


def new_field(config: "Config", seed: int) -> NeuralField:
    """Return the networks of a preset on their device, with weights that are drawn with a seed on the CPU."""
    networks = NETWORKS[config.preset]
    # Layers draw their start from PyTorch's own generator: seeded here, and put back where it was.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        scene = NeuralField(
            frequencies=networks.frequencies,
            view_directions=config.view_dependent,
            coarse=networks.coarse,
            fine=networks.fine,
        )
    return scene.to(choose_device(config.device))


def new_hashed(config: "Config", generator: torch.Generator) -> HashedGrid:
    """Return a new field on hashed grids: the finest has at least twice the intervals of a dense one of `nodes`.

    instant-ngp's finest has 2048, for scenes of thousands of pixels; what is finer than rays are sampled is noise.
    """
    finest = 2 * (config.nodes - 1)
    levels = next(count for count in range(1, 17) if HashLayout(levels=count).scales[-1] >= finest)
    return HashedGrid(
        HashLayout(levels=levels), nodes=config.nodes, network=config.field == "hashed-network", generator=generator
    )


def restore_hashed(config: "Config", state: Mapping[str, Tensor]) -> HashedGrid:
    """Return the field of a checkpoint on hashed grids."""
    scene = new_hashed(config, torch.Generator())
    scene.load_state_dict(dict(state))
    return scene


def restore_any(config: "Config", state: Mapping[str, Tensor]) -> DenseGrid | HashedGrid | NeuralField:
    """Return the field of a checkpoint, whichever the configuration is of."""
    if config.preset != "fast":
        return restore(config, state)
    return DenseGrid.from_state(state) if config.field == "dense" else restore_hashed(config, state)


def restore(config: "Config", state: Mapping[str, Tensor]) -> NeuralField:
    """Return the networks of a checkpoint."""
    scene = new_field(config, 0)
    scene.load_state_dict(dict(state))
    return scene
