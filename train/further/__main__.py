"""`python -m train.further`: trains further, or with the word `prepare` writes what that begins with."""

import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import torch
import tyro
from annotated_types import Ge, Interval
from torch import nn

import train.further
from runtime.command.options import parse_options
from runtime.command.ranges import check_ranges
from runtime.errors import UserError, run_main
from train.fit import FitConfig, fit
from train.further.archive import read_archive, write_archive
from train.further.best import Best
from train.further.subject import Subject
from train.outputs import make_folder

Name = Literal["denoiser", "decoder", "teacher", "pixelnerf", "ddpm", "lmconv"]

SUBJECTS: dict[str, str] = {
    "denoiser": "train.further.denoiser",
    "decoder": "train.further.decoder",
    "teacher": "train.further.teacher",
    "pixelnerf": "train.further.pixelnerf",
    "ddpm": "train.further.ddpm",
    "lmconv": "train.further.lmconv",
}
"""What can be trained further, in the order of what it gains, and the module that is loaded for it."""


def subject_of(name: str) -> Subject:
    """Return the module of a subject.

    Raises:
        UserError: there is none of this name.
    """
    if name not in SUBJECTS:
        raise UserError(f"subject: expected one of {', '.join(SUBJECTS)}, got {name!r:.60}")
    return cast(Any, import_module(SUBJECTS[name]))


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """Write the arrays that training continues from."""

    subject: tyro.conf.Positional[Name]
    """What is trained."""
    run: Path | None = None
    """Run folder whose averaged weights it begins with; denoiser, decoder and teacher may begin with the bundle's."""
    data: Path | None = None
    """Data of the run: an archive, or a folder of sets; by default what the run's command takes by default."""
    cache: Path | None = None
    """Folder of reduced pictures (pixelnerf)."""
    out: Path
    """File to write."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to train further, and for how long."""

    arrays: Path
    """File of `python -m train.further prepare`."""
    out: Path
    """Folder of the best weights, their step, config and held_out.jsonl; must be empty or missing."""
    minutes: Annotated[float, Interval(ge=0.01, le=10_000)] = 8.0
    """Minutes of training; reading and compiling come first and are not counted."""
    every: Annotated[float, Interval(ge=0.0, le=3600)] = 30.0
    """Seconds between two looks at what is held out."""
    batch: Annotated[int, Ge(1)] | None = None
    """Batch; by default the subject's on a graphics card of 80 GB."""
    steps: Annotated[int, Ge(1)] = 1_000_000_000
    """Steps at most; time is what usually ends it."""
    lr: Annotated[float, Interval(ge=1e-8, le=1)] | None = None
    """Peak learning rate; by default the subject's."""
    seed: Annotated[int, Interval(ge=0, le=2**63 - 1)] = 0
    """Seed of the draws."""
    device: str = "cuda"
    """PyTorch device."""
    compile: bool = True
    """Compile the network first: a minute."""
    bf16: bool = True
    """Compute in bfloat16."""


def train_further(config: Config, report: Callable[[str], object] = print) -> float:
    """Return the best loss on what is held out; its weights are in `config.out`.

    Raises:
        UserError: the file, the device or the folder does not fit.
    """
    check_ranges(config)
    if config.out.exists() and any(config.out.iterdir()):
        raise UserError(f"--out '{config.out}': expected an empty folder or none, got one with files in it")
    if config.device.startswith("cuda") and not torch.cuda.is_available():
        raise UserError("--device cuda: expected a graphics card that PyTorch sees, got none; try --device cpu")
    archive = read_archive(config.arrays)
    subject = subject_of(archive.subject)
    further = subject.open(archive, config.device, config.batch or subject.BATCH)
    network = further.network.to(config.device)
    count = sum(weight.numel() for weight in network.parameters())
    report(f"{archive.subject}: {count:,} parameters, batches of {config.batch or subject.BATCH}")
    make_folder(config.out)
    further.write_config(config.out)
    with tempfile.TemporaryDirectory() as temporary:
        run = Path(temporary)
        best = Best(further, run, config.out, config.device, report)
        # After the copy for what is held out was made, which is never compiled.
        ready = further.compiled(network) if config.compile else network
        loss = device_loss(further.loss, ready, config.device)
        if config.compile:  # before the clock runs
            warm_up(network, loss, config)
            report("compiled")
        recipe = {**further.recipe, **({"lr": config.lr} if config.lr else {})}
        loop = FitConfig(
            out=run,
            steps=config.steps,
            limit=config.minutes,
            minutes=config.every / 60.0,
            seed=config.seed,
            device=config.device,
            bf16=config.bf16,
            **recipe,
        )
        fit(network, loss, loop, report, saved=best)
    report(f"held-out loss {best.start:.5f} at the start, {best.loss:.5f} at best; weights in '{config.out}'")
    return best.loss


def device_loss(
    loss: Callable[[nn.Module, torch.Generator], torch.Tensor], ready: nn.Module, device: str
) -> Callable[[nn.Module, torch.Generator], torch.Tensor]:
    """Return a loss for the loop, whose draws are made on the device, by a generator seeded from the loop's.

    Drawing millions of numbers a step on a CPU and copying them would take longer than the step.
    """

    def step(network: nn.Module, generator: torch.Generator) -> torch.Tensor:
        seed = int(torch.randint(2**31, (), generator=generator))
        return loss(ready, torch.Generator(device).manual_seed(seed))

    return step


def warm_up(network: nn.Module, loss: Callable[[nn.Module, torch.Generator], torch.Tensor], config: Config) -> None:
    """Go forward and backward once, which compiles, and forget the gradients."""
    with torch.autocast(torch.device(config.device).type, torch.bfloat16, enabled=config.bf16):
        value = loss(network, torch.Generator().manual_seed(0))
    value.backward()
    network.zero_grad(set_to_none=True)


def prepare(options: Preparation, report: Callable[[str], object] = print) -> None:
    """Write the file of a run."""
    archive = subject_of(options.subject).prepare(options.run, options.data, options.cache)
    size = write_archive(options.out, archive)
    report(f"'{options.out}': {size / 2**20:.1f} MiB")


def main(arguments: Sequence[str] | None = None) -> None:
    """Prepare or train from a command line."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if words[:1] == ["prepare"]:
        prepare(parse_options(Preparation, "train.further prepare", arguments=words[1:]))
        return
    config = parse_options(Config, "train.further", description=train.further.__doc__, arguments=words)
    train_further(config, lambda line: print(line, flush=True))


if __name__ == "__main__":
    run_main(main)
