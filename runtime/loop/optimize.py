"""The loop of every method: stages of steps over a scene, with checkpoints, progress and an orderly end.

A **scene** holds what changes (`runtime.loop.scene.Scene`). A **stage** says how a scene begins, what is minimized and
for how many steps; a stage that samples brings `advance` in place of a loss. The loop knows no method.

Every draw of a step comes from a generator made of (seed, stage, step), and a stage's functions keep nothing between
calls: scene, optimizer moments and position are all that a run is. So a run that was killed resumes from its checkpoint
to the same bytes as one that was not.
"""

import contextlib
import hashlib
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from runtime.errors import UserError
from runtime.loop.adam import Optimizer
from runtime.loop.events import Report, Snapshot, Stepped
from runtime.loop.folder import Checkpoint, RunFolder, below
from runtime.loop.pace import Pace
from runtime.loop.scene import Scene
from runtime.loop.signals import raise_if_stopped, stop_on_signals

CHECK_EVERY = 16
"""Steps between two looks at the losses on a GPU. Each look waits for the device, so a look at every step would keep
the device from working ahead. On a CPU it is every step."""

CHECKPOINT_SHARE = 0.05
"""Largest share of a run's time that its checkpoints may take; the interval between two grows with what one costs."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of a run. Its functions keep no state between calls: see the module's text.

    A stage that optimizes has `optimizer` and `loss`; one that samples has `advance`.
    """

    name: str
    """Name in the progress line, the log and the snapshots."""
    steps: int
    """Steps, at least 0."""
    begin: Callable[[Any, torch.Generator], Scene]
    """Turns the scene of the stage before (None for the first) into this stage's."""
    restore: Callable[[Mapping[str, Tensor]], Scene]
    """Makes the scene of its `state()`, such as `from_state` of its class."""
    optimizer: Callable[[Any], Optimizer] | None = None
    """Makes the optimizer of the scene; each group's `lr` is its initial learning rate."""
    loss: Callable[[Any, int, torch.Generator], dict[str, Tensor]] | None = None
    """Named scalar terms at a step in [0, steps); their sum is minimized."""
    advance: Callable[[Any, int, torch.Generator], None] | None = None
    """Takes a step in [0, steps) of a stage without a loss, such as drawing some pixels; changes the scene in place."""
    lr_factor: Callable[[int], float] = lambda step: 1.0
    """Factor on each group's initial learning rate at a step."""
    after: Callable[[Any, Optimizer, int, torch.Generator], None] | None = None
    """Called without gradient after each update: clamp, replace paths. Changes parameters and moments in place."""
    snapshots: int = 1
    """Snapshots on the way, evenly spaced, the last at the stage's end; at least 0."""


class NotFiniteError(FloatingPointError):
    """A loss or a gradient that is NaN or infinite.

    Names the step, the stage and the last good snapshot (a path or None).
    """

    def __init__(self, what: str, stage: str, step: int, last_good: Path | None) -> None:
        self.stage, self.step, self.last_good = stage, step, last_good
        remains = f"the last good drawing is '{last_good}'" if last_good else "no drawing was kept"
        super().__init__(f"{what} is not finite at step {step} of stage '{stage}': stopped; {remains}")


def optimize(
    stages: Sequence[Stage],
    *,
    seed: int,
    run: RunFolder | None = None,
    report: Report | None = None,
    snapshot: Callable[[Any, str], Path] | None = None,
    stop: threading.Event | None = None,
) -> Scene:
    """Return the scene with which the last stage ends.

    Args:
        stages: at least one, in order; the same ones when a run is resumed.
        seed: of every draw.
        run: where checkpoints and losses are stored; one that holds a checkpoint is resumed.
        report: called with an event after each step and each snapshot.
        snapshot: writes a picture of a scene into a file with the given stem and returns its path.
        stop: ends the run between two steps once it is set; by default SIGINT and SIGTERM set one.

    Raises:
        NotFiniteError: a loss or a gradient is not finite; the last checkpoint stays.
        StoppedRun: `stop` was set; the state is saved.
        InterruptedRun: so on SIGINT or SIGTERM; a second signal interrupts at once.
    """
    if not stages:
        raise ValueError("stages: expected at least one, got none")
    loop = _Loop(stages, seed, run=run, report=report, snapshot=snapshot)
    with contextlib.nullcontext(stop) if stop else stop_on_signals() as event:
        return loop.work(event)


def largest_magnitude(numbers: Tensor) -> Tensor:
    """Return the largest magnitude of some numbers: NaN where one of them is."""
    # Both ends in one pass, without a copy. `isfinite` needs one, and PyTorch's norm of order infinity takes ten times
    # as long on a CPU.
    low, high = numbers.aminmax()
    return torch.maximum(-low, high)


def generator_of(seed: int, stage: int, step: int, purpose: str) -> torch.Generator:
    """Return the CPU generator of one purpose ("begin", "loss", "after") in one step: equal arguments, equal draws."""
    digest = hashlib.sha256(f"{seed}/{stage}/{step}/{purpose}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


@dataclass(frozen=True)
class _Record:
    """The numbers of a step that is done, still on the device that computed them."""

    step: int
    """Steps of the stage so far."""
    terms: tuple[str, ...] = ()
    gradients: tuple[str, ...] = ()
    """Names of the parameters that have a gradient."""
    numbers: Tensor | None = None
    """The terms, then the largest magnitude of each gradient; None in a stage without a loss."""


class _Loop:
    """One call of `optimize`: the scene, its optimizer, and where they stand."""

    scene: Scene
    optimizer: Optimizer | None

    def __init__(self, stages: Sequence[Stage], seed: int, *, run: RunFolder | None, report, snapshot) -> None:
        self.stages, self.seed = stages, seed
        self.run, self.report, self.snapshot = run, report, snapshot
        self.index = 0
        self.step = 0
        self.pace = Pace([stage.steps for stage in stages])
        self.pending: list[_Record] = []
        self.saved_at = time.monotonic()
        self.save_s = 0.0

    def work(self, stop: threading.Event) -> Scene:
        """Go through all stages, or the rest of them."""
        resumed = self.resume()
        for index in range(self.index, len(self.stages)):
            # A resumed run stands within its stage already: to begin it anew would draw its first scene again.
            if not (resumed and index == self.index):
                self.begin(index)
            while self.step < self.stages[index].steps:
                self.advance()
                if stop.is_set() or self.due():
                    self.save()
                raise_if_stopped(stop, self.stages[index].name, self.step)
        self.save()
        return self.scene

    def begin(self, index: int) -> None:
        """Make a stage's scene from the one before, and its optimizer."""
        # Stage 0 has no predecessor; `self.scene` does not even exist then.
        before = self.scene if index else None
        self.index = index
        self.step = 0
        self.scene = self.stages[index].begin(before, self.draws("begin"))
        self.prepare()

    def prepare(self) -> None:
        """Make the optimizer of the scene and note each group's initial learning rate."""
        make = self.stages[self.index].optimizer
        self.optimizer = make(self.scene) if make else None
        for group in self.optimizer.param_groups if self.optimizer else ():
            group["initial_lr"] = group["lr"]

    def draws(self, purpose: str) -> torch.Generator:
        """Return the generator of this step for one purpose."""
        return generator_of(self.seed, self.index, self.step, purpose)

    def advance(self) -> None:
        """Take one step and report it, on a GPU together with some steps before it."""
        stage = self.stages[self.index]
        if stage.advance is not None:
            stage.advance(self.scene, self.step, self.draws("advance"))
            record = _Record(self.step + 1)
        else:
            record = self.descend(stage)
        self.step += 1
        self.pending.append(record)
        # Reading a number on a GPU waits for the whole queue of the device.
        waits = record.numbers is not None and record.numbers.device.type != "cpu"
        if not waits or len(self.pending) >= CHECK_EVERY or self.step == stage.steps or self.snapshot_due(self.step):
            self.flush()

    def snapshot_due(self, step: int) -> bool:
        """Return whether a snapshot is due after so many steps of the stage."""
        stage = self.stages[self.index]
        drawn, due = (stage.snapshots * count // stage.steps for count in (step - 1, step))
        return self.snapshot is not None and due > drawn

    def descend(self, stage: Stage) -> _Record:
        """Differentiate the loss and update the scene."""
        assert self.optimizer is not None and stage.loss is not None, f"stage '{stage.name}': no optimizer or no loss"
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * stage.lr_factor(self.step)
        # None instead of zeros: a parameter without a gradient must not be moved by its old moments.
        self.optimizer.zero_grad(set_to_none=True)
        terms = stage.loss(self.scene, self.step, self.draws("loss"))
        torch.stack(list(terms.values())).sum().backward()
        record = self.measure(terms)
        if record.numbers is not None and record.numbers.device.type == "cpu":
            self.check(record)  # before the update, so that the scene at hand is still good
        self.optimizer.step()
        if stage.after is not None:
            with torch.no_grad():
                stage.after(self.scene, self.optimizer, self.step, self.draws("after"))
        return record

    def measure(self, terms: Mapping[str, Tensor]) -> _Record:
        """Return the terms and the largest magnitude of each gradient, which is NaN or infinite where one of it is."""
        gradients = {name: gradient for name, gradient in self.scene.gradients().items() if gradient.numel()}
        sizes = [largest_magnitude(gradient) for gradient in gradients.values()]
        numbers = torch.stack([number.detach().double() for number in (*terms.values(), *sizes)])
        return _Record(self.step + 1, tuple(terms), tuple(gradients), numbers)

    def check(self, record: _Record) -> dict[str, float]:
        """Return the terms of a step; refuse a number that is not finite."""
        numbers = [] if record.numbers is None else record.numbers.tolist()
        terms = dict(zip(record.terms, numbers, strict=False))
        bad = [f"loss '{name}' ({number})" for name, number in terms.items() if not math.isfinite(number)]
        sizes = zip(record.gradients, numbers[len(terms) :], strict=True)
        bad += [f"gradient of '{name}'" for name, size in sizes if not math.isfinite(size)]
        if bad:
            raise NotFiniteError(bad[0], self.stages[self.index].name, record.step - 1, self.keep_last_good())
        return terms

    def flush(self) -> None:
        """Check, log and report the steps since the last time: on a GPU one wait for all of them."""
        pending, self.pending = self.pending, []
        for record in pending:
            self.tell(record.step, self.check(record))

    def tell(self, step: int, terms: Mapping[str, float]) -> None:
        """Log, draw and report a step."""
        stage = self.stages[self.index]
        loss = sum(terms.values())
        if self.run and terms:
            record = {"stage": self.index, "name": stage.name, "step": step - 1, "loss": loss, "terms": terms}
            self.run.log(record)
        if self.snapshot and self.snapshot_due(step):
            path = self.snapshot(self.scene, f"{self.index:02d}-{stage.name}-{step:05d}")
            if self.report:
                self.report(Snapshot(path=path))
        done, eta_s = self.pace.after(self.index, step)
        if self.report:
            counts = {"step": step, "steps": stage.steps, "done": done, "total": self.pace.total}
            self.report(Stepped(stage=stage.name, loss=loss, terms=terms, eta_s=eta_s, scene=self.scene, **counts))

    def due(self) -> bool:
        """Return whether it is time for a checkpoint."""
        if not self.run:
            return False
        # A scene of gigabytes must not spend the run on saving itself.
        interval_s = max(self.run.interval_s, self.save_s / CHECKPOINT_SHARE)
        return time.monotonic() - self.saved_at >= interval_s

    def save(self) -> None:
        """Write a checkpoint, where there is a run folder."""
        self.flush()  # what is not finite must not become a checkpoint
        begun_at = time.monotonic()
        if self.run:
            tensors = {f"scene/{name}": value for name, value in self.scene.state().items()}
            numbers: dict[str, Any] = {}
            for index, state in self.optimizer.state_dict()["state"].items() if self.optimizer else ():
                for name, value in state.items():
                    (tensors if isinstance(value, Tensor) else numbers)[f"optimizer/{index}/{name}"] = value
            self.run.save(Checkpoint(self.index, self.step, tensors, numbers))
        self.saved_at = time.monotonic()
        self.save_s = self.saved_at - begun_at if self.run and self.run.interval_s else 0.0

    def resume(self) -> bool:
        """Go back to where the folder's last checkpoint stands; return False where it has none."""
        checkpoint = self.run.load() if self.run else None
        if self.run:
            self.run.forget_after(*((checkpoint.stage, checkpoint.step) if checkpoint else (0, 0)))
        if checkpoint is None:
            return False
        self.scene = self.restored(checkpoint)
        self.index = checkpoint.stage
        self.step = checkpoint.step
        self.prepare()
        if self.optimizer:
            # Parameters and learning rates are the new optimizer's own; only the moments are the checkpoint's.
            moments = _moments(checkpoint, self.optimizer)
            self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": moments})
        return True

    def restored(self, checkpoint: Checkpoint) -> Scene:
        """Return the scene of a checkpoint, which anybody may have edited.

        Raises:
            UserError: it is not one of this run's stages, or its tensors make no scene.
        """
        name = f"checkpoint after step {checkpoint.step} of stage {checkpoint.stage}"
        if checkpoint.stage >= len(self.stages) or checkpoint.step > self.stages[checkpoint.stage].steps:
            raise UserError(f"{name}: expected one within the {len(self.stages)} stages of this run; start it anew")
        try:
            scene = self.stages[checkpoint.stage].restore(checkpoint.scene)
        # What a constructor makes of tensors that are missing, too many, or of another shape or type.
        except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, RuntimeError) as error:
            raise UserError(f"{name}: its tensors make no scene ({error!s:.200}); start the run anew") from error
        before, after = _outline(checkpoint.scene), _outline(scene.state())
        wrong = sorted(tensor for tensor in {*before, *after} if before.get(tensor) != after.get(tensor))
        wrong += [tensor for tensor, value in checkpoint.scene.items() if bool(value.isnan().any())]
        if wrong:
            raise UserError(f"{name}: its tensors are no scene's ({', '.join(wrong)[:200]}); start the run anew")
        return scene

    def keep_last_good(self) -> Path | None:
        """Draw the last scene whose numbers are all finite: this one, or the last checkpoint's."""
        scene = self.scene
        if self.snapshot is None:
            return None
        # An update may have spoilt the scene before a loss showed it; a checkpoint was checked when it was written.
        if not all(torch.isfinite(value).all() for value in scene.state().values()):
            checkpoint = self.run.load() if self.run else None
            if checkpoint is None:
                return None
            scene = self.restored(checkpoint)
        return self.snapshot(scene, "last-good")


def _outline(state: Mapping[str, Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    """Return the shapes and types of tensors."""
    return {name: (value.shape, value.dtype) for name, value in state.items()}


def _moments(checkpoint: Checkpoint, optimizer: Optimizer) -> dict[int, dict[str, Any]]:
    """Return the state of each parameter's optimizer, as `load_state_dict` takes it.

    Raises:
        UserError: a moment is of no parameter, or has another shape than its parameter.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Any]] = {}
    for key, value in (below("optimizer/", checkpoint.tensors) | below("optimizer/", checkpoint.numbers)).items():
        index, _, name = key.partition("/")
        if not (index.isdecimal() and int(index) < len(parameters) and name):
            raise UserError(f"checkpoint: optimizer/{key:.80}: expected a moment of a parameter; start the run anew")
        shape = parameters[int(index)].shape
        # Compiled optimizers read moments by the parameter's shape, without a look at theirs.
        if isinstance(value, Tensor) and value.ndim and (value.shape != shape or bool(value.isnan().any())):
            raise UserError(
                f"checkpoint: optimizer/{key:.80}: expected finite numbers of shape {tuple(shape)}, got "
                f"{value.dtype} {tuple(value.shape)}; start the run anew"
            )
        if not isinstance(value, Tensor) and type(value) not in (int, float):
            raise UserError(
                f"checkpoint: optimizer/{key:.80}: expected a number, got {value!r:.40}; start the run anew"
            )
        state.setdefault(int(index), {})[name] = value
    return state
