"""A bundle of a diffusion model of 8x8 pictures whose network is two convolutions, written node by node."""

from pathlib import Path

import numpy as np
from onnx import TensorProto

from export.network import batched
from export.write.bundle import write_bundle
from export.write.network import NetworkFiles
from runtime.engines.bundle.ddpm_manifest import DdpmManifest
from tests.bundles import Graph
from train.ddpm.runs import SCHEDULE

SIDE = 8


def make_denoiser(channels: int, seed: int) -> bytes:
    """Return a model that predicts z itself, which is right for noise, bent a little by convolutions and the time."""
    g, spec = Graph(seed), spec_of(channels)
    hidden = g.op("Conv", "sample", g.draw(8, channels, 3, 3, scale=0.2), g.draw(8, scale=0.1), pads=[1, 1, 1, 1])
    time = g.op("Unsqueeze", g.op("Cast", "timestep", to=TensorProto.FLOAT), g.constant([1], np.int64))
    time = g.op("Sin", g.op("Mul", time, g.constant(0.001 * 2.0 ** np.arange(8))))
    hidden = g.op("Tanh", g.op("Add", hidden, g.op("Unsqueeze", time, g.constant([2, 3], np.int64))))
    bent = g.op("Conv", hidden, g.draw(channels, 8, 3, 3, scale=0.05), g.draw(channels, scale=0.05), pads=[1, 1, 1, 1])
    return g.model(spec, g.op("Add", g.op("Mul", "sample", g.constant(0.8)), bent))


def spec_of(channels: int):
    shape = (channels, SIDE, SIDE)
    return batched("denoiser", {"sample": shape, "timestep": ("int64",)}, {"prediction": shape})


def make_tiny_ddpm(folder: Path, *, channels: int = 3, seed: int = 0, times: int = 1000) -> Path:
    """Write the bundle and return its folder."""
    manifest = DdpmManifest(
        name=folder.name,
        version="0",
        licence="Apache-2.0",
        provenance="Random weights for tests.",
        data="noise",
        schedule={**SCHEDULE, "num_timesteps": times},
        channels=channels,
        image_size=SIDE,
    )
    files = NetworkFiles(spec_of(channels), {"model.onnx": make_denoiser(channels, seed)})
    write_bundle(folder, manifest, {"denoiser": files})
    return folder
