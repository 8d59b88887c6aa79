"""Train a denoising diffusion model of pictures: icons, CIFAR-10, MNIST or a folder.

    python -m train.ddpm --data icons --preset tiny --out runs/ddpm

The loss is L_simple, the mean squared error of the predicted noise (arXiv:2006.11239 Eq. 14). A run that is interrupted
resumes from its last checkpoint with the same command, and now and then draws a sheet of samples into its folder. Under
`accelerate launch --num-processes N -m train.ddpm ...` N processes share the work.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Interval
from jaxtyping import Float
from torch import Tensor

from runtime.command.options import parse_options
from runtime.command.ranges import check_ranges
from runtime.errors import run_main
from runtime.guidance.diffusion import simple_loss
from runtime.guidance.sampler import times
from runtime.guidance.schedule import Schedule
from runtime.guidance.solvers import DpmSolver, noise_predictor, solve
from runtime.pictures import write_png
from train.ddpm.data import Pictures, load_pictures
from train.ddpm.network import PRESETS, PixelDenoiser
from train.ddpm.runs import SCHEDULE, RunConfig, load_run, write_run
from train.fit import FitConfig, fit
from train.norm import to_channels_last
from train.runs import load_weights

Preset = Literal["tiny", "mnist", "cifar10", "lsun-256", "lsun-256-large"]

PAPER: dict[str, Any] = {"warmup": 5000, "constant": True, "betas": (0.9, 0.999), "weight_decay": 0.0}
"""What the paper's trainings have in common (arXiv:2006.11239 Appendix B): Adam at a constant rate after a warm-up."""

RECIPES: dict[str, dict[str, Any]] = {
    # A small network cannot pass its input on exactly, as the noise of late times asks for: there 1% of error in the
    # noise is more than all of the picture. The velocity is the noise at early times and the picture at late ones.
    "tiny": {"prediction": "v_prediction", "lr": 1e-3, "batch": 24, "steps": 20_000, "warmup": 200, "ema": 0.999},
    "mnist": {"prediction": "v_prediction", "lr": 1e-3, "batch": 32, "steps": 20_000, "warmup": 200, "ema": 0.999},
    "cifar10": {"lr": 2e-4, "batch": 128, "steps": 800_000, "ema": 0.9999, **PAPER},
    "lsun-256": {"lr": 2e-5, "batch": 64, "steps": 2_400_000, "ema": 0.9999, **PAPER},
    "lsun-256-large": {"lr": 2e-5, "batch": 64, "steps": 1_150_000, "ema": 0.9999, **PAPER},
}
"""For each preset what its network predicts, if not the noise, learning rate, batch, steps, decay of the average, and
what else the loop needs."""

SHEET, STEPS = 36, 25
"""Samples of a sheet, and the steps that they take."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to train, on what, and for how long."""

    data: str
    """icons, cifar10, mnist, or a folder of pictures."""
    out: Path
    """Run folder; an existing checkpoint in it is resumed."""
    data_dir: Path | None = None
    """Archive or folder of a named data set, by default below data/; see train/ddpm/data.py."""
    sets: str = ""
    """Icon sets to train on, with commas; by default all."""
    preset: Preset = "tiny"
    """Size of the network, and its recipe."""
    size: Annotated[int, Interval(ge=8, le=1024)] | None = None
    """Side in pixels to which icons and a folder's pictures are reduced; by default the preset's."""
    prediction: Literal["epsilon", "v_prediction", "sample"] | None = None
    """What the network predicts: the noise, the velocity (arXiv:2202.00512) or the picture; by default the preset's."""
    init: Path | None = None
    """Run folder whose averaged weights are begun with, of the same network."""
    steps: Annotated[int, Ge(1)] | None = None
    """Optimizer steps; by default the preset's."""
    batch: Annotated[int, Ge(1)] | None = None
    """Pictures a step and process; by default the preset's."""
    lr: Annotated[float, Interval(ge=1e-8, le=1)] | None = None
    """Peak learning rate; by default the preset's."""
    ema: Annotated[float, Interval(ge=0, le=0.999999)] | None = None
    """Decay of the moving average of the weights, which warms up; by default the preset's."""
    minutes: Annotated[float, Ge(0)] = 3.0
    """Minutes between checkpoints."""
    sheet_minutes: Annotated[float, Ge(0)] = 15.0
    """Minutes between sheets of samples, drawn at checkpoints."""
    seed: Annotated[int, Interval(ge=0, le=2**63 - 1)] = 0
    """Seed of initialization and draws."""
    device: str = "cpu"
    """PyTorch device."""
    bf16: bool = False
    """Compute in bfloat16: faster on a GPU, or on a CPU that has it; far slower on others."""


def run_of(config: Config, pictures: Pictures) -> RunConfig:
    """Return what the run folder is of."""
    architecture = replace(PRESETS[config.preset], channels=pictures.train.shape[1], size=pictures.train.shape[2])
    prediction = config.prediction or RECIPES[config.preset].get("prediction", "epsilon")
    schedule = {**SCHEDULE, "prediction_type": prediction}
    return RunConfig(architecture=architecture, data=config.data, sets=config.sets, schedule=schedule)


def fit_config(config: Config) -> FitConfig:
    """Return how the loop trains: the preset's recipe, and what the options change."""
    recipe = {name: value for name, value in RECIPES[config.preset].items() if name not in ("batch", "prediction")}
    asked = {name: getattr(config, name) for name in ("steps", "lr", "ema")}
    recipe |= {name: value for name, value in asked.items() if value is not None}
    return FitConfig(
        out=config.out,
        seed=config.seed,
        minutes=config.minutes,
        device=config.device,
        bf16=config.bf16,
        **recipe,
    )


class SampleSheets:
    """Draws a sheet of samples by the averaged weights at a checkpoint, when enough time has passed."""

    def __init__(self, out: Path, minutes: float) -> None:
        """Wait `minutes` before the first sheet goes into the run folder `out`."""
        self.out, self.seconds, self.drawn_at = out, 60.0 * minutes, monotonic()

    def __call__(self, step: int) -> None:
        """Draw a sheet, if it is time to."""
        if monotonic() - self.drawn_at < self.seconds:
            return
        network, run = load_run(self.out)
        a = run.architecture
        noise = torch.randn((SHEET, a.channels, a.size, a.size), generator=torch.Generator().manual_seed(0))
        schedule = Schedule.of(run.schedule)
        solver = DpmSolver(schedule, times(schedule, STEPS), clip=True)
        pictures = solve(solver, noise_predictor(network, schedule), noise)
        write_png(self.out / f"samples-{step:07d}.png", tile(pictures))
        self.drawn_at = monotonic()


def tile(pictures: Float[Tensor, "B C h w"]) -> Float[Tensor, "3 H W"]:
    """Return pictures in [-1, 1] as one in [0, 1], in rows of six, each pixel drawn three times as large."""
    rows = (pictures.clamp(-1, 1) + 1.0) / 2.0
    cells = rows.expand(-1, 3, -1, -1).unflatten(0, (-1, 6)).permute(2, 0, 3, 1, 4).flatten(3, 4).flatten(1, 2)
    return cells.repeat_interleave(3, 1).repeat_interleave(3, 2)


def train(config: Config, report: Callable[[str], None] = print) -> PixelDenoiser:
    """Return the trained network; everything is in the run folder.

    Raises:
        UserError: where an option, the data or an existing run folder do not fit.
    """
    check_ranges(config)
    recipe = RECIPES[config.preset]
    pictures = load_pictures(
        config.data, config.data_dir, size=config.size or PRESETS[config.preset].size, sets=config.sets
    )
    run = run_of(config, pictures)
    schedule, batch = Schedule.of(run.schedule), config.batch or recipe["batch"]
    torch.manual_seed(config.seed)
    network = PixelDenoiser(run.architecture)
    if config.init is not None:
        network = load_weights(network, config.init)
    write_run(config.out, run)  # only now: where an option is refused, no run folder is made
    network = to_channels_last(network).train().requires_grad_(True)
    count = sum(weight.numel() for weight in network.parameters())
    report(f"{len(pictures.train)} pictures, {len(pictures.held_out)} held out; {count:,} parameters")

    def loss_of_step(network: PixelDenoiser, generator: torch.Generator) -> Float[Tensor, ""]:
        x = pictures.draw(batch, generator)
        t = torch.randint(len(schedule), (batch,), generator=generator)
        noise = torch.randn(x.shape, generator=generator)
        device = config.device
        return simple_loss(network, x.to(device), t.to(device), noise.to(device), schedule)

    fit(network, loss_of_step, fit_config(config), report, saved=SampleSheets(config.out, config.sheet_minutes))
    return network


def main() -> None:
    """Train from a command line."""
    train(parse_options(Config, "train.ddpm", description=__doc__), lambda line: print(line, flush=True))


if __name__ == "__main__":
    run_main(main)
