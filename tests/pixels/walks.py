"""Tiny LMConv networks and their sampler, over PyTorch or over ONNX Runtime with what would be in a bundle."""

from dataclasses import replace
from functools import cache

import torch

from export.lmconv import export_networks
from export.lmconv.networks import make_cuts
from runtime.engines.eager import EagerEngine
from runtime.engines.ort import OrtEngine
from runtime.engines.pixel_manifest import WEIGHTS
from runtime.pixels.orders import Size
from runtime.pixels.sampler import Sampler
from train.lmconv.layer import use_method
from train.lmconv.network import Architecture, LocallyMaskedPixelCNN

BINARY = Architecture(filters=6, blocks=1)
GREY = replace(BINARY, levels=7, mixtures=3, dilation=1)
COLOUR = replace(BINARY, channels=3, levels=8, mixtures=2, mask_conditioning=True)
FLAT = replace(COLOUR, mask_conditioning=False, dilation=1)
CONDITIONED = replace(BINARY, mask_conditioning=True, dilation=3)


SHORT = {"binary": replace(BINARY, blocks=0), "colour": replace(COLOUR, blocks=0)}
"""Networks of nine stages instead of 21: tracing one for export takes seconds."""


def make_network(architecture: Architecture, seed: int = 0) -> LocallyMaskedPixelCNN:
    """Return a network with weights large enough that every pixel matters."""
    torch.manual_seed(seed)
    network = LocallyMaskedPixelCNN(architecture)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return use_method(network, "plain").eval().requires_grad_(False)


def eager_sampler(network: LocallyMaskedPixelCNN, size: Size, device: str = "cpu") -> Sampler:
    """Return a sampler over the cut modules in PyTorch."""
    cuts = make_cuts(network, size)
    prefill, step = (EagerEngine(cut.spec, cut.module, device=device) for cut in cuts.values())
    return Sampler(prefill, step, network.architecture)


@cache
def exported_sampler(architecture: Architecture, size: Size) -> Sampler:
    """Return a sampler over ONNX Runtime, with weights stored in float32; it is made once."""
    cuts = make_cuts(make_network(architecture), size, "float32")
    files, weights = export_networks(cuts, lambda line: None)
    prefill, step = (
        OrtEngine(files[role].spec, files[role].files["model.onnx"], threads=1, shared={WEIGHTS: weights})
        for role in ("prefill", "step")
    )
    return Sampler(prefill, step, architecture)
