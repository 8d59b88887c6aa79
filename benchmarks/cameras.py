"""What does a denoiser that knows cameras draw from all round? A sheet: a prompt a row, an azimuth a column.

    python -m benchmarks.cameras --bundle objects --out benchmarks/cameras.png

All pictures begin with the same noise, so what differs in a row is the camera. Half of the prompts are of nothing that
the objects of the training show. Losses on held-out objects come from `train.latent_diffusion.keep`.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from annotated_types import Ge, Interval
from jaxtyping import Float
from torch import Tensor

from benchmarks.environment import describe_environment
from benchmarks.turntables import write_small
from runtime.command.options import parse_options
from runtime.engines.bundle import DiffusionBundle
from runtime.errors import UserError, run_main
from runtime.guidance.prompt import encode_prompt
from runtime.guidance.sampler import dpm_solver
from runtime.guidance.schedule import Schedule
from runtime.guidance.sds import guided_noise
from runtime.guidance.views import with_cameras

PROMPTS = (
    "a car",
    "a chair",
    "a house",
    "a robot",
    "a boat",
    "a mushroom",
    "a cat",
    "a heart",
    "a banana",
    "a penguin",
    "a pizza",
    "a clock",
)
"""The last six are of nothing in the set of objects."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to draw."""

    out: Path
    """PNG file to write."""
    bundle: str = "objects"
    """Bundle whose denoiser knows cameras."""
    views: Annotated[int, Interval(ge=1, le=64)] = 8
    """Azimuths, evenly spaced from the front."""
    elevation: Annotated[float, Interval(ge=-1.5, le=1.5)] = 0.4
    """Elevation of the cameras, radians."""
    omega: Annotated[float, Interval(ge=-1, le=1000)] = 2.0
    """Weight of guidance."""
    steps: Annotated[int, Interval(ge=1, le=1000)] = 15
    """Calls of the network a picture."""
    count: Annotated[int, Ge(1)] = len(PROMPTS)
    """Prompts, from the first."""
    side: Annotated[int, Interval(ge=8, le=512)] = 64
    """Pixels of a picture."""
    seed: int = 0
    """Seed of the noise."""


def pictures_of(bundle: DiffusionBundle, prompt: str, config: Config) -> Float[Tensor, "V 3 S S"]:
    """Return what the bundle draws of a prompt from each azimuth, from the same noise.

    Raises:
        UserError: the bundle knows no cameras, or the prompt is too long.
    """
    if not bundle.knows_cameras:
        raise UserError(f"--bundle {bundle.name}: expected one that knows cameras, such as objects; take that one")
    count = config.views
    azimuths = torch.arange(count) * (2 * math.pi / count)
    encoded = encode_prompt(prompt, bundle.prompt_suffix, bundle.text_encoder())
    seen = with_cameras(encoded, azimuths, torch.full((count,), config.elevation))
    denoise, schedule = bundle.denoiser(), Schedule.of(bundle.schedule)
    noise = torch.randn((1, *bundle.latent_shape), generator=torch.Generator().manual_seed(config.seed))

    def predict(z: Float[Tensor, "V C h w"], t: int) -> Float[Tensor, "V C h w"]:
        return guided_noise(denoise, z, torch.full((count,), t), seen, config.omega, schedule)

    start = noise.expand(count, -1, -1, -1).contiguous()
    return bundle.latent_decoder()(dpm_solver(predict, start, schedule, config.steps))


def main() -> None:
    """Draw the sheet."""
    config = parse_options(Config, "benchmarks.cameras", description=__doc__)
    print(describe_environment())
    bundle = DiffusionBundle.load(config.bundle)
    rows = []
    for prompt in PROMPTS[: config.count]:
        pictures = pictures_of(bundle, prompt, config)
        small = torch.nn.functional.interpolate(pictures, size=(config.side,) * 2, mode="area")
        rows.append(torch.cat(list(small), dim=2))
        print(prompt, flush=True)
    write_small(config.out, torch.cat(rows, dim=1))
    print(f"drew {config.out}")


if __name__ == "__main__":
    run_main(main)
