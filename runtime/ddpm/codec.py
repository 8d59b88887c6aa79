"""Coding of a picture by the steps of the sampler, and its decoding; see `runtime.guidance.coding`."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from runtime.ddpm.pictures import read_input, tell_scaled, to_levels, to_rgb
from runtime.ddpm.stages import check_steps, predictor_of, schedule_of
from runtime.errors import UserError
from runtime.files import read_ordinary, replace_file
from runtime.guidance.coding import Header, Step, decode_step, encode_step, read_code, relative_entropy
from runtime.guidance.coding import write_code as code_bytes
from runtime.guidance.diffusion import Transition
from runtime.guidance.sampler import times
from runtime.guidance.solvers import DpmSolver
from runtime.loop.events import Note, Report
from runtime.loop.optimize import Stage
from runtime.loop.scene import Scene
from runtime.pictures import write_png
from runtime.pixels.sheets import sheet

if TYPE_CHECKING:
    from runtime.ddpm.config import Codec
    from runtime.engines.bundle import DdpmBundle
    from runtime.loop.folder import RunFolder

RATES = 5
"""Pictures of the sheet beside the original."""

GREATEST_CODE = 1 << 24
"""Greatest size of a file with a code, bytes: many times that of the picture."""

_MARK = -1
"""Marks, in a checkpoint, where the numbers of a step end."""


class CodeScene(Scene):
    """A picture on its way through the steps: what both sides have, and what was sent.

    Attributes:
        z: what both sides have, at the time of the next step.
        estimates: levels of x_hat at each time so far, what the receiver would show there.
        spent: for each of these the bits that the receiver has read, and their relative entropy.
        total: bits of the file and relative entropy so far.
        sent: K and the candidates' numbers of each step so far, each step's behind the other's and a mark after each.
        ended: whether the bits are used up.
    """

    def __init__(self, z: Tensor, estimates: Tensor, spent: Tensor, total: Tensor, sent: Tensor, ended: Tensor) -> None:
        super().__init__()
        self.z, self.estimates, self.spent, self.total, self.sent, self.ended = z, estimates, spent, total, sent, ended

    @classmethod
    def begin(cls, z: Float[Tensor, "1 C H W"], bits: float) -> "CodeScene":
        """Return the scene before the first step, when so many bits have been sent."""
        estimates = torch.empty((0, *z.shape[1:]), dtype=torch.uint8)
        spent, total = torch.empty((0, 2), dtype=torch.float64), torch.tensor([bits, 0.0], dtype=torch.float64)
        return cls(z, estimates, spent, total, torch.empty(0, dtype=torch.int64), torch.tensor(False))

    def state(self) -> dict[str, Tensor]:
        """Return the tensors that the constructor takes."""
        return {name: getattr(self, name) for name in ("z", "estimates", "spent", "total", "sent", "ended")}

    def show(self, x_hat: Float[Tensor, "1 C H W"]) -> None:
        """Remember what the receiver has, and what it has cost."""
        # Levels, not floats: a checkpoint holds every estimate so far.
        self.estimates = torch.cat((self.estimates, to_levels(x_hat)))
        self.spent = torch.cat((self.spent, self.total[None]))

    def send(self, step: Step, entropy: float) -> None:
        """Add a step to what is sent."""
        self.sent = torch.cat((self.sent, torch.tensor([step.bits, *step.chosen, _MARK])))
        self.total = self.total + torch.tensor([float(step.size), entropy], dtype=torch.float64)

    def steps(self) -> list[Step]:
        """Return the steps that were sent."""
        parsed: list[Step] = []
        numbers: list[int] = []
        for number in self.sent.tolist():
            if number == _MARK:
                parsed.append(Step(numbers[0], tuple(numbers[1:])))
                numbers = []
            else:
                numbers.append(number)
        return parsed


def build_codec(
    config: "Codec",
    bundle: "DdpmBundle",
    generator: torch.Generator,
    *,
    run: "RunFolder | None" = None,
    report: Report = lambda event: None,
) -> list[Stage]:
    """Return the stage that codes a picture or decodes a file; see `runtime.command.method.Method.build`."""
    schedule = schedule_of(bundle)
    if config.decodes:
        header, steps = _read_file(config.picture)
        # Of the code, whatever the options say: both sides have to draw the same candidates at the same times.
        seed, count = header.seed, header.steps
        x = None
    else:
        seed, count, steps = config.seed, config.steps, []
        x, scaled_from = read_input(config.picture, bundle)
        tell_scaled(config.picture, scaled_from, bundle, report)
    visited, predict = times(schedule, count), predictor_of(bundle, schedule)
    estimator = DpmSolver(schedule, visited, clip=True)
    shape = (1, *bundle.shape)
    # Its size does not depend on what is sent, so it can be charged before anything is.
    header = Header(network=network_of(bundle), seed=seed, steps=count, sent=0)

    def begin(before: None, draws: torch.Generator) -> CodeScene:
        # The last time tells nothing of the picture: both sides draw it.
        return CodeScene.begin(decode_step(Step(0), shape, seed, count), 8.0 * len(header.to_bytes()))

    @torch.no_grad()
    def advance(scene: CodeScene, step: int, draws: torch.Generator) -> None:
        # The stage's number of steps was fixed before it was known where the bits end.
        if scene.ended:
            return
        x_hat, _ = estimator.estimate(predict, scene.z, visited[step])
        scene.show(x_hat)
        coded = _code(scene, step, x_hat)
        if coded is None:
            scene.ended = torch.tensor(True)
            if x is not None:
                report(Note(_summary(scene, x)))
            return
        sent, noise, transition = coded
        scene.send(sent, 0.0 if x is None else relative_entropy(transition, x, x_hat))
        # The noise that was sent and not the noise that was drawn: the receiver has no other.
        scene.z = transition.posterior_mean(x_hat, scene.z) + transition.posterior_variance.sqrt() * noise

    def _code(scene: CodeScene, step: int, x_hat: Tensor) -> tuple[Step, Tensor, Transition] | None:
        """Return what is sent of a step, and the noise that it stands for; None where the code ends before it."""
        s = estimator.next(step)
        if s is None or (x is None and step >= len(steps)):
            return None
        transition = Transition.of(schedule, visited[step], s)
        if x is None:
            return steps[step], decode_step(steps[step], shape, seed, step), transition
        sent, noise = encode_step(transition, x, x_hat, seed, step)
        # In whole bytes, as the file will be.
        fits = 8 * math.ceil((float(scene.total[0]) + sent.size) / 8) <= config.bits * math.prod(shape)
        return (sent, noise, transition) if fits else None

    return [Stage(name="code", steps=count, begin=begin, restore=restore, advance=advance, snapshots=0)]


def _summary(scene: CodeScene, x: Float[Tensor, "1 C H W"]) -> str:
    """Return a line that tells what a code costs and how near it comes."""
    bits, entropy = (number / x.numel() for number in scene.total.tolist())
    error = (_pictures(scene.estimates[-1:]) - x).square().mean().sqrt().item() * 127.5
    size = math.ceil(scene.total[0].item() / 8)
    return f"{size} bytes: {bits:.4f} bits/dim, of which {entropy:.4f} are relative entropy; RMSE {error:.2f} of 255"


def restore(state: Mapping[str, Tensor]) -> CodeScene:
    """Return the scene of a checkpoint."""
    return CodeScene.from_state(state)


def network_of(bundle: "DdpmBundle") -> int:
    """Return what a code names the network by: the first 32 bits of the hash of its bundle.json."""
    return int(bundle.digest[:8], 16)


def write_code(config: "Codec", bundle: "DdpmBundle", scene: CodeScene, out: Path) -> list[Path]:
    """Write the sheet and the code, or the decoded picture; return their paths."""
    if config.decodes:
        write_png(out, to_rgb(_pictures(scene.estimates[-1:]))[0])
        return [out]
    # At equal rates, as rate is what a code is judged by.
    shown = picked(scene)
    original, _ = read_input(config.picture, bundle)
    write_png(out, sheet(to_rgb(torch.cat((original, _pictures(scene.estimates[shown])))), RATES + 1))
    code = out.with_suffix(".ddpm")
    replace_file(code, encoded(scene, bundle, config))
    return [out, code]


def encoded(scene: CodeScene, bundle: "DdpmBundle", config: "Codec") -> bytes:
    """Return the bytes of the code."""
    steps = scene.steps()
    header = Header(network=network_of(bundle), seed=config.seed, steps=config.steps, sent=len(steps))
    return code_bytes(header, steps)


def picked(scene: CodeScene) -> list[int]:
    """Return which estimates stand nearest to a fifth, two fifths ... of the code's bits."""
    bits = scene.spent[:, 0]
    # Rates evenly apart, not steps: the first steps cost hardly a bit.
    aims = torch.linspace(0.0, float(bits[-1]), RATES + 1, dtype=torch.float64)[1:]
    return [int((bits - aim).abs().argmin()) for aim in aims]


def _pictures(levels: Tensor) -> Float[Tensor, "B C H W"]:
    return levels.float() / 127.5 - 1.0


def _read_file(path: Path) -> tuple[Header, list[Step]]:
    """Return the code in a file, or raise `UserError` where it is none."""
    try:
        return read_code(read_ordinary(path, GREATEST_CODE), str(path))
    except OSError as error:
        raise UserError(f"{str(path)!r:.200} cannot be read: {error.strerror or error}") from None


def validate_codec(config: "Codec", bundle: "DdpmBundle") -> None:
    """Raise `UserError` where the input is no picture of the bundle's proportions, or the code of another network."""
    check_steps(config.steps, bundle)
    if not config.decodes:
        read_input(config.picture, bundle)
        return
    header, _ = _read_file(config.picture)
    if header.network != network_of(bundle):
        raise UserError(
            f"'{config.picture}': expected a code of bundle '{bundle.name}', got one of another network; name that one "
            "with --bundle"
        )
