"""The loop of every method: stages of steps over a scene, with checkpoints, progress and an orderly end.

A **scene** is an `nn.Module` with parameters and `state() -> dict[str, Tensor]`. A **stage** says how a scene begins,
what is minimized and for how many steps. The loop knows no method.

Every draw of a step comes from a generator made of (seed, stage, step), and a stage's functions keep nothing between
calls: scene, optimizer moments and position are all that a run is. So one that was killed goes on from a checkpoint to
the same bytes as one that was not.
"""

import contextlib
import hashlib
import math
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from runtime.loop.folder import Checkpoint, RunFolder

Scene = Any
"""An `nn.Module` with `state()`; Python's types have no name for both at once."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of an optimization. Its functions keep no state between calls: see the module's text."""

    name: str
    """What the progress line, the log and the snapshots call it."""
    steps: int
    """Steps, at least 0."""
    begin: Callable[[Scene | None, torch.Generator], Scene]
    """Turns the scene of the stage before (None for the first) into this stage's."""
    optimizer: Callable[[Scene], torch.optim.Optimizer]
    """Makes the optimizer of the scene; each group's `lr` is its initial rate."""
    loss: Callable[[Scene, int, torch.Generator], dict[str, Tensor]]
    """Named scalar terms at a step in [0, steps); their sum is minimized."""
    rate: Callable[[int], float] = lambda step: 1.0
    """Factor on each group's initial rate at a step."""
    after: Callable[[Scene, torch.optim.Optimizer, int, torch.Generator], None] | None = None
    """Called without gradient after each update: clamp, replace paths. Changes parameters and moments in place."""
    snapshots: int = 1
    """Drawings kept on the way, evenly spaced, the last at the stage's end; at least 0."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What a caller is told after each step."""

    stage: str
    """The stage's name."""
    step: int
    """Steps of this stage that are done, in [1, steps]."""
    steps: int
    """Steps of this stage."""
    loss: float
    """Sum of the terms."""
    terms: Mapping[str, float]
    """Each named term."""
    done: int
    """Steps of all stages that are done, in [1, total]."""
    total: int
    """Steps of all stages."""
    eta_s: float
    """Seconds left in all stages, by the pace of the last steps; not a number after the first step."""


class NotFiniteError(FloatingPointError):
    """A loss or a gradient that is no number: names step, stage and the last good drawing (a path or None)."""

    def __init__(self, what: str, stage: str, step: int, last_good: Path | None) -> None:
        self.stage, self.step, self.last_good = stage, step, last_good
        kept = f"the last good drawing is '{last_good}'" if last_good else "no drawing was kept"
        super().__init__(f"{what} is not finite at step {step} of stage '{stage}': stopped; {kept}")


class InterruptedRun(KeyboardInterrupt):
    """A run that was asked to stop and has saved; `signal_number` is SIGINT's or SIGTERM's."""

    def __init__(self, signal_number: int, stage: str, step: int) -> None:
        self.signal_number, self.stage, self.step = signal_number, stage, step
        super().__init__(f"stopped after step {step} of stage '{stage}'")


def optimize(
    stages: Sequence[Stage],
    *,
    seed: int,
    restore: Callable[[dict[str, Tensor]], Scene],
    run: RunFolder | None = None,
    report: Callable[[Progress], None] | None = None,
    snapshot: Callable[[Scene, str], Path] | None = None,
) -> Scene:
    """Return the scene with which the last stage ends.

    Args:
        stages: at least one, in order; the same ones when a run goes on.
        seed: of every draw.
        restore: makes a scene of its `state()`.
        run: where checkpoints and losses are kept; one that holds a checkpoint goes on from there.
        report: called after each step.
        snapshot: draws a scene into a file with the given stem and returns its path.

    Raises:
        NotFiniteError: where a loss or a gradient is not finite; the last checkpoint stays.
        InterruptedRun: on SIGINT or SIGTERM, once the state is saved; a second signal is not waited for.
    """
    if not stages:
        raise ValueError("stages: expected at least one, got none")
    loop = _Loop(stages, seed, restore=restore, run=run, report=report, snapshot=snapshot)
    with deferred_signals() as caught:
        return loop.work(caught)


def generator_of(seed: int, stage: int, step: int, purpose: str) -> torch.Generator:
    """Return the CPU generator of one purpose ("begin", "loss", "after") in one step: equal arguments, equal draws."""
    digest = hashlib.sha256(f"{seed}/{stage}/{step}/{purpose}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


class _Loop:
    """One call of `optimize`: the scene, its optimizer, and where they stand."""

    scene: Scene
    optimizer: torch.optim.Optimizer

    def __init__(self, stages: Sequence[Stage], seed: int, *, restore, run: RunFolder | None, report, snapshot) -> None:
        self.stages, self.seed, self.restore = stages, seed, restore
        self.run, self.report, self.snapshot = run, report, snapshot
        self.index, self.step = 0, 0
        self.pace = _Pace([stage.steps for stage in stages])
        self.saved_at = time.monotonic()

    def work(self, caught: list[int]) -> Scene:
        """Go through all stages, or the rest of them."""
        resumed = self.resume()
        for index in range(self.index, len(self.stages)):
            if not (resumed and index == self.index):
                self.begin(index)
            while self.step < self.stages[index].steps:
                self.advance()
                if caught or time.monotonic() - self.saved_at >= (self.run.interval_s if self.run else math.inf):
                    self.save()
                if caught:
                    raise InterruptedRun(caught[0], self.stages[index].name, self.step)
        self.save()
        return self.scene

    def begin(self, index: int) -> None:
        """Make a stage's scene from the one before, and its optimizer."""
        before = self.scene if index else None
        self.index, self.step = index, 0
        self.scene = self.stages[index].begin(before, self.draws("begin"))
        self.prepare()

    def prepare(self) -> None:
        """Make the optimizer of the scene and note each group's initial rate."""
        self.optimizer = self.stages[self.index].optimizer(self.scene)
        for group in self.optimizer.param_groups:
            group["initial_lr"] = group["lr"]

    def draws(self, purpose: str) -> torch.Generator:
        """Return the generator of this step for one purpose."""
        return generator_of(self.seed, self.index, self.step, purpose)

    def advance(self) -> None:
        """Take one step and tell everyone."""
        stage = self.stages[self.index]
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * stage.rate(self.step)
        terms = self.differentiate(stage)
        self.optimizer.step()
        if stage.after is not None:
            with torch.no_grad():
                stage.after(self.scene, self.optimizer, self.step, self.draws("after"))
        self.step += 1
        self.tell(stage, terms)

    def differentiate(self, stage: Stage) -> dict[str, float]:
        """Fill the gradients of this step and return its terms; refuse what is not finite."""
        self.optimizer.zero_grad(set_to_none=True)
        losses = stage.loss(self.scene, self.step, self.draws("loss"))
        terms = {name: float(value.detach()) for name, value in losses.items()}
        for name, value in terms.items():
            if not math.isfinite(value):
                raise NotFiniteError(f"loss '{name}' ({value})", stage.name, self.step, self.keep_last_good())
        torch.stack(list(losses.values())).sum().backward()
        for name, parameter in self.scene.named_parameters():
            if parameter.grad is not None and not torch.isfinite(parameter.grad).all():
                raise NotFiniteError(f"gradient of '{name}'", stage.name, self.step, self.keep_last_good())
        return terms

    def tell(self, stage: Stage, terms: Mapping[str, float]) -> None:
        """Log, draw and report a step that is done."""
        loss = sum(terms.values())
        if self.run:
            record = {"stage": self.index, "name": stage.name, "step": self.step - 1, "loss": loss, "terms": terms}
            self.run.log(record)
        drawn, due = (stage.snapshots * step // stage.steps for step in (self.step - 1, self.step))
        if self.snapshot and due > drawn:
            self.snapshot(self.scene, f"{self.index:02d}-{stage.name}-{self.step:05d}")
        done, eta_s = self.pace.after(self.index, self.step)
        if self.report:
            counts = {"step": self.step, "steps": stage.steps, "done": done, "total": self.pace.total}
            self.report(Progress(stage=stage.name, loss=loss, terms=terms, eta_s=eta_s, **counts))

    def save(self) -> None:
        """Write a checkpoint, where there is a run folder."""
        self.saved_at = time.monotonic()
        if not self.run:
            return
        tensors = {f"scene/{name}": value for name, value in self.scene.state().items()}
        numbers: dict[str, Any] = {}
        for index, state in self.optimizer.state_dict()["state"].items():
            for name, value in state.items():
                (tensors if isinstance(value, Tensor) else numbers)[f"optimizer/{index}/{name}"] = value
        self.run.save(Checkpoint(self.index, self.step, tensors, numbers))

    def resume(self) -> bool:
        """Go back to where the folder's last checkpoint stands; return False where it has none."""
        checkpoint = self.run.load() if self.run else None
        if self.run:
            self.run.forget_after(*((checkpoint.stage, checkpoint.step) if checkpoint else (0, 0)))
        if checkpoint is None:
            return False
        self.index, self.step = checkpoint.stage, checkpoint.step
        self.scene = self.restore(_below("scene/", checkpoint.tensors))
        self.prepare()
        state: dict[int, dict[str, Any]] = {}
        for key, value in (_below("optimizer/", checkpoint.tensors) | _below("optimizer/", checkpoint.numbers)).items():
            index, name = key.split("/", 1)
            state.setdefault(int(index), {})[name] = value
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})
        return True

    def keep_last_good(self) -> Path | None:
        """Draw the last scene whose numbers are all finite: this one, or the last checkpoint's."""
        scene = self.scene
        if self.snapshot is None:
            return None
        if not all(torch.isfinite(value).all() for value in scene.state().values()):
            checkpoint = self.run.load() if self.run else None
            if checkpoint is None:
                return None
            scene = self.restore(_below("scene/", checkpoint.tensors))
        return self.snapshot(scene, "last-good")


def _below(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries under a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}


class _Pace:
    """How fast it goes: by the median of the last steps, which a compilation or a stage's beginning does not move."""

    def __init__(self, steps: Sequence[int]) -> None:
        self.steps, self.total = steps, sum(steps)
        self.last: float | None = None
        self.durations: deque[float] = deque(maxlen=50)

    def after(self, index: int, step: int) -> tuple[int, float]:
        """Return the steps of all stages that are done, and the seconds left: not a number after the first step."""
        now, done = time.monotonic(), sum(self.steps[:index]) + step
        if self.last is not None:
            self.durations.append(now - self.last)
        self.last = now
        return done, (median(self.durations) * (self.total - done) if self.durations else math.nan)


class _Deferral:
    """A signal handler that notes the first signal, and interrupts at the second."""

    def __init__(self) -> None:
        self.caught: list[int] = []

    def __call__(self, number: int, _frame: object) -> None:
        if self.caught:
            raise KeyboardInterrupt
        self.caught.append(number)


@contextlib.contextmanager
def deferred_signals() -> Iterator[list[int]]:
    """Yield a list to which the first SIGINT or SIGTERM adds its number; a second one interrupts at once.

    An update that is cut in its middle leaves a state that no uninterrupted run passes through, and an engine that is
    cut leaves threads at work while the interpreter ends. So loops look at the list between steps. Within another such
    block it is the same list: no signal falls between two loops of one run. Outside the main thread, where Python
    allows no handler, signals stay as they are.
    """
    outer = signal.getsignal(signal.SIGINT)
    if isinstance(outer, _Deferral):
        yield outer.caught
        return
    deferral = _Deferral()
    try:
        before = {number: signal.signal(number, deferral) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:
        before = {}
    try:
        yield deferral.caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
