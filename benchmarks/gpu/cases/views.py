"""Networks of fields: pixelNeRF's encoder and field as a training step runs them, NeRF's and Dream Fields' networks."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from benchmarks.gpu.cases.pixels import training
from benchmarks.gpu.clock import Row
from benchmarks.gpu.networks import random
from benchmarks.gpu.run import Setting


def measure(setting: Setting, case: str) -> Iterator[Row]:
    """Yield rows of `pixelnerf` or of `fields`."""
    if case == "pixelnerf":
        yield from pixelnerf(setting)
    else:
        yield from fields(setting)


def pixelnerf(setting: Setting) -> Iterator[Row]:
    """Yield a training step of the encoder on pictures of 64 px, and of the field on points that looked them up."""
    from train.pixelnerf.network import PIXEL, Architecture, PixelNeRF

    torch.manual_seed(0)
    network = PixelNeRF(Architecture(side=32 if setting.tiny else 64)).to(setting.device)
    pictures, points = (2, 100) if setting.tiny else (64, 1 << 17)
    side, width = network.architecture.side, network.architecture.width
    images = random(setting, 1, pictures, 4, side, side, uniform=True)
    features = random(setting, 2, 1, points, width + PIXEL)
    places = random(setting, 3, 1, points, 3)
    name = f"pixelNeRF encoder, {pictures} pictures of {side} px"
    yield from training(name, network.encoder, lambda: network.encoder(images).square().mean(), setting)
    name = f"pixelNeRF field, {points:,} points"
    yield from training(name, network.field, lambda: network.field(features, places).mean(), setting)


def fields(setting: Setting) -> Iterator[Row]:
    """Yield a training step of the networks that fields are made of, on so many samples."""
    from runtime.field.fields.encodings import fourier_basis
    from runtime.field.fields.networks import RadianceMLP, ResidualMLP

    count = 64 if setting.tiny else 1 << 18
    points, directions = random(setting, 4, count, 3, uniform=True) * 2 - 1, random(setting, 5, count, 3)
    # Gaussians of a hundredth of the scene
    covariance = 1e-4 * torch.eye(3, device=setting.device).expand(count, 3, 3)
    torch.manual_seed(0)
    basis = fourier_basis(128, 5.0, torch.Generator().manual_seed(0))
    networks: dict[str, tuple[nn.Module, Callable[[nn.Module], Tensor]]] = {
        "NeRF's network": (RadianceMLP(), lambda net: sum(part.mean() for part in net(points, directions))),  # pyright: ignore
        "Dream Fields' network": (
            ResidualMLP(basis),
            lambda net: sum(part.mean() for part in net(points, covariance)),  # pyright: ignore
        ),
    }
    for name, (network, loss) in networks.items():
        network.to(setting.device)
        yield from training(f"{name}, {count:,} samples", network, lambda n=network, f=loss: f(n), setting)
