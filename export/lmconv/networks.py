"""The two networks of an LMConv bundle, prefill and step: their specs, and inputs to trace and verify them with."""

from copy import deepcopy

import torch
from torch import Tensor

from export.lmconv.walk import Prefill, Step, Walk
from export.network import ExportedNetwork
from runtime.engines.precision import Storage
from runtime.engines.spec import EngineSpec, TensorSpec
from runtime.pixels.heads import head_channels, to_unit
from runtime.pixels.neighbours import neighbour_rows
from runtime.pixels.orders import Size, curve_order
from train.lmconv.network import LocallyMaskedPixelCNN

SAMPLES = 3
"""Pictures of a verification."""

BATCH = (1, 16, 1 << 16)
"""Least, typical and greatest number of pictures that are drawn together."""

POSITIONS = 1 << 16
"""Most positions of a picture."""


def _taps(walk: Walk, *lead: str) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(f"taps_{d}", (*lead, walk.taps), "int64") for d in walk.dilations)


def _features(walk: Walk, name: str, *lead: str, first: int = 0) -> tuple[TensorSpec, ...]:
    widths = list(enumerate(walk.widths))[first:]
    return tuple(TensorSpec(f"{name}_{stage}", (*lead, width), "float32") for stage, width in widths)


def prefill_spec(walk: Walk, size: Size) -> EngineSpec:
    """Return the spec of the network that takes many positions at once; `size` is that of typical pictures."""
    a = walk.architecture
    return EngineSpec(
        "prefill",
        (TensorSpec("picture", ("B", "P", a.channels), "float32"), *_taps(walk, "P")),
        (TensorSpec("parameters", ("B", "P", head_channels(a)), "float32"), *_features(walk, "features", "B", "P")),
        {"B": BATCH, "P": (1, size[0] * size[1], POSITIONS)},
    )


def step_spec(walk: Walk, size: Size) -> EngineSpec:
    """Return the spec of the network that takes one position; `size` is that of typical pictures."""
    parameters = TensorSpec("parameters", ("B", head_channels(walk.architecture)), "float32")
    return EngineSpec(
        "step",
        (*_taps(walk), *_features(walk, "cache", "B", "R")),
        (parameters, *_features(walk, "features", "B", first=1)),
        {"B": BATCH, "R": (2, size[0] * size[1] + 1, POSITIONS + 1)},
    )


def make_networks(
    network: LocallyMaskedPixelCNN, size: Size, storage: Storage = Storage.FLOAT16
) -> dict[str, ExportedNetwork]:
    """Return the exported networks of a trained one by role, with samples to verify them on: noise under an S-curve.

    Args:
        network: trained; its weights are copied.
        size: height and width of its pictures.
        storage: of the weights.
    """
    # An engine may move a module to a card, and its network with it: the trained one stays where it is.
    network = deepcopy(network)
    prefill, step = (kind(network).eval().requires_grad_(False) for kind in (Prefill, Step))
    a, positions = network.architecture, size[0] * size[1]
    draws = torch.Generator().manual_seed(0)
    picture = to_unit(torch.randint(a.levels, (SAMPLES, positions, a.channels), generator=draws), a)
    order = curve_order("s-curve", size)
    taps = tuple(torch.from_numpy(neighbour_rows(order, size, a.kernel, d)) for d in step.dilations)
    with torch.no_grad():
        features = prefill(picture, *taps)[1:]
    middle = positions // 2
    # Whole caches, later positions included: masks must keep a step from reading those.
    caches = tuple(torch.cat((torch.zeros_like(part[:, :1]), part), 1) for part in features)
    return {
        "prefill": ExportedNetwork(
            spec=prefill_spec(prefill, size), module=prefill, samples=(picture, *taps), storage=storage
        ),
        "step": ExportedNetwork(
            spec=step_spec(step, size), module=step, samples=(*(t[middle] for t in taps), *caches), storage=storage
        ),
    }


def traced_samples(network: ExportedNetwork) -> tuple[Tensor, ...]:
    """Return a network's samples with two pictures: what it is traced with."""
    pairs = zip(network.spec.inputs, network.samples, strict=True)
    return tuple(sample[:2] if tensor.shape[0] == "B" else sample for tensor, sample in pairs)
