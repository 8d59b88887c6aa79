"""A small network that reads the azimuth of an object of a given kind from a view, and its training."""

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import torch
from jaxtyping import Float, Int64
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.azimuth.views import KINDS, SIDE, Views, augment
from runtime.errors import UserError
from train.fit import FitConfig, LossOfStep, fit

BINS = 24
"""Classes of azimuths, 15 degrees each; the first is the front."""

SPREAD = math.radians(12.0)
"""Deviation of the classes that count as right, radians."""

WIDTHS = (16, 32, 64, 128)
"""Channels at 32, 16, 8 and 4 pixels."""

BATCH = 64
"""Views a step."""

_CENTRES = torch.arange(BINS) * (2.0 * math.pi / BINS)


class Block(nn.Module):
    """Two convolutions around which the input passes, the first of stride 2."""

    def __init__(self, inputs: int, outputs: int) -> None:
        """Make the layers."""
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1)
        self.norm = nn.GroupNorm(8, outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.out = nn.GroupNorm(8, outputs)

    def forward(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B _ _ _"]:
        """Return features at half the resolution."""
        x = functional.silu(self.norm(self.first(x)))
        return x + functional.silu(self.out(self.second(x)))


class Probe(nn.Module):
    """Reads azimuths: scores of `BINS` classes."""

    def __init__(self) -> None:
        """Make the network with the default initialization."""
        super().__init__()
        self.stem = nn.Conv2d(3, WIDTHS[0], 3, padding=1)
        self.blocks = nn.Sequential(*(Block(a, b) for a, b in pairwise(WIDTHS)))
        self.kind = nn.Embedding(len(KINDS), WIDTHS[-1])
        # All places of the last map, not their mean: where a thing's head is tells its side.
        self.head = nn.Sequential(
            nn.Linear(WIDTHS[-1] * (SIDE >> 3) ** 2, WIDTHS[-1]),
            nn.SiLU(),
            nn.Linear(WIDTHS[-1], BINS),
        )

    def forward(self, pictures: Float[Tensor, "B 3 S S"], kinds: Int64[Tensor, " B"]) -> Float[Tensor, "B N"]:
        """Return the scores.

        Args:
            pictures: on white, in [0, 1].
            kinds: rows of `views.KINDS`.
        """
        features = self.blocks(self.stem(2.0 * pictures - 1.0))
        # Which side is long or bright depends on the kind: its row scales the features.
        features = features * (1.0 + self.kind(kinds))[:, :, None, None]
        return self.head(features.flatten(1))


def targets(azimuths: Float[Tensor, " B"]) -> Float[Tensor, "B N"]:
    """Return how much of each class is right: a bell around the azimuth that adds up to 1."""
    return torch.softmax(-0.5 * (difference(_CENTRES, azimuths[:, None]) / SPREAD).square(), dim=1)


def difference(a: Float[Tensor, "..."], b: Float[Tensor, "..."], period: float = 2.0 * math.pi) -> Float[Tensor, "..."]:
    """Return the angle between directions, in [0, period / 2]."""
    return ((a - b + period / 2.0).remainder(period) - period / 2.0).abs()


@torch.no_grad()
def read_azimuths(probe: Probe, pictures: Float[Tensor, "V 3 S S"], kinds: Int64[Tensor, " V"]) -> Float[Tensor, " V"]:
    """Return the azimuths that a probe reads, in [-pi, pi]: the mean direction of the best class and its neighbours.

    Not of all classes: where front and back are both likely that would be a side.
    """
    scores = [probe(*part) for part in zip(pictures.split(256), kinds.split(256), strict=True)]
    shares = torch.cat(scores).softmax(1)
    near = (shares.argmax(1, keepdim=True) + torch.tensor([-1, 0, 1])) % BINS
    weights, angles = shares.gather(1, near), _CENTRES[near]
    return torch.atan2((weights * angles.sin()).sum(1), (weights * angles.cos()).sum(1))


def train(views: Views, run: Path, steps: int, report: Callable[[str], object], seed: int = 0) -> None:
    """Train a probe in a run folder, which is resumed.

    Kinds are drawn alike, and each kind's views alike, or cars and characters would be all that it learns.

    Args:
        views: of which those held out are left alone.
        run: folder of the checkpoint.
        steps: of 64 views.
        report: called with lines of progress.
        seed: of the initialization and all draws.
    """
    seen = views.pick(~views.held_out)
    counts = torch.bincount(seen.kinds, minlength=len(KINDS)).clamp(min=1)
    weights = counts[seen.kinds].double() ** -0.5

    def loss_of_step(probe: Probe, generator: torch.Generator) -> Float[Tensor, ""]:
        drawn = seen.pick(torch.multinomial(weights, BATCH, replacement=True, generator=generator))
        pictures, azimuths = augment(drawn.pictures.float() / 255.0, drawn.azimuths, generator)
        return functional.cross_entropy(probe(pictures, drawn.kinds), targets(azimuths))

    torch.manual_seed(seed)
    config = FitConfig(
        out=run, steps=steps, lr=2e-3, warmup=100, ema=0.995, weight_decay=0.05, seed=seed, minutes=1.0, bf16=False
    )
    loss: LossOfStep[Probe] = loss_of_step
    fit(Probe(), loss, config, report)


def load_probe(run: Path) -> Probe:
    """Return the trained probe of a run folder.

    Raises:
        UserError: there is none, or of another shape.
    """
    try:
        weights = load_file(run / "ema.safetensors")
        probe = Probe()
        probe.load_state_dict(weights)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise UserError(
            f"--run '{run}': expected the run folder of a probe, got {str(error).splitlines()[0]:.100}; "
            "train one: python -m benchmarks.azimuth train --data FOLDER --run RUN"
        ) from None
    return probe.eval().requires_grad_(False)
