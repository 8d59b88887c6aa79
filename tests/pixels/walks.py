"""Tiny LMConv networks and their sampler, over PyTorch or over ONNX Runtime with what would be in a bundle."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import save_file

from export.lmconv import export_networks, make_manifest
from export.lmconv.networks import make_networks
from export.write.bundle import write_bundle
from export.write.network import NetworkFiles
from runtime.engines.backends.eager import EagerEngine
from runtime.engines.backends.ort import OrtEngine
from runtime.engines.precision import Storage
from runtime.engines.spec import WEIGHTS
from runtime.pixels.orders import Size
from runtime.pixels.sampler import Sampler
from train.lmconv.layer import use_method
from train.lmconv.network import Architecture, LocallyMaskedPixelCNN
from train.lmconv.runs import RunConfig, write_run

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
    """Return a sampler over the exported modules in PyTorch."""
    networks = make_networks(network, size).values()
    prefill, step = (EagerEngine(cut.spec, cut.module, device=device) for cut in networks)
    return Sampler(prefill, step, network.architecture)


@cache
def exported(architecture: Architecture) -> tuple[dict[str, NetworkFiles], bytes]:
    """Return the files of a network's bundle, and its weights in float32; they are made once, for any size."""
    return export_networks(make_networks(make_network(architecture), (4, 5), Storage.FLOAT32), lambda line: None)


def exported_sampler(architecture: Architecture) -> Sampler:
    """Return a sampler over ONNX Runtime."""
    files, weights = exported(architecture)
    prefill, step = (
        OrtEngine(files[role].spec, files[role].files["model.onnx"], threads=1, shared={WEIGHTS: weights})
        for role in ("prefill", "step")
    )
    return Sampler(prefill, step, architecture)


def make_run(folder: Path, architecture: Architecture, size: Size) -> Path:
    """Return a run folder with the weights of `make_network`, as training leaves it."""
    config = RunConfig(architecture=architecture, data="mnist", binarization="dynamic", size=size, orders="s-curve:8")
    write_run(folder, config)
    weights = {name: value.detach().clone() for name, value in make_network(architecture).named_parameters()}
    save_file(weights, folder / "ema.safetensors")
    return folder


def make_bundle(folder: Path, architecture: Architecture, size: Size) -> Path:
    """Return the folder of a bundle with `exported` networks."""
    files, weights = exported(architecture)
    config = RunConfig(architecture=architecture, data="mnist", binarization="dynamic", size=size, orders="s-curve:8")
    write_bundle(folder, make_manifest(config, folder.name, "Apache-2.0"), files, weights=weights)
    return folder
