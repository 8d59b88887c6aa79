import json
import math
import os
import signal
import threading
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from runtime import files
from runtime.loop import folder as runs
from runtime.loop.events import Event, Snapshot, Stepped
from runtime.loop.folder import RunFolder
from runtime.loop.optimize import CHECK_EVERY, NotFiniteError, Stage, generator_of, largest_magnitude, optimize
from runtime.loop.scene import Scene
from runtime.loop.signals import InterruptedRun, StoppedRun, stop_on_signals


class Dots(Scene):
    """Points that a stage moves; the smallest scene there is."""

    def __init__(self, dots: Tensor) -> None:
        super().__init__()
        self.dots = nn.Parameter(dots.clone())


def stepped(report):
    """Return a callback that passes on steps only."""
    return lambda event: report(event) if isinstance(event, Stepped) else None


def noisy_stage(name: str, steps: int, **options) -> Stage:
    """Return a stage that draws in all of its functions, and whose `after` reorders parameter and moments."""

    def begin(before: Dots | None, generator: torch.Generator) -> Dots:
        new = torch.randn(3, generator=generator)
        return Dots(new if before is None else torch.cat([before.dots.detach(), new]))

    def loss(scene: Dots, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        aim = torch.randn(scene.dots.shape, generator=generator)
        return {"near": (scene.dots - aim).square().sum(), "small": 0.1 * scene.dots.abs().sum()}

    def after(scene: Dots, optimizer: torch.optim.Optimizer, step: int, generator: torch.Generator) -> None:
        if step % 3 == 2:
            order = torch.randperm(len(scene.dots), generator=generator)
            scene.dots.copy_(scene.dots[order])
            for moment in ("exp_avg", "exp_avg_sq"):
                values = optimizer.state[scene.dots][moment]
                values.copy_(values[order])
                values[-1] = 0.0

    defaults = {
        "begin": begin,
        "restore": Dots.from_state,
        "loss": loss,
        "after": after,
        "optimizer": lambda scene: torch.optim.Adam([scene.dots], lr=0.1, betas=(0.9, 0.9), eps=1e-6),
        "lr_factor": lambda step: 1.0 / (1 + step),
    }
    return Stage(name=name, steps=steps, **{**defaults, **options})


STAGES = [noisy_stage("first", 7), noisy_stage("second", 0), noisy_stage("third", 5)]


def snapshots_into(folder: Path):
    def snapshot(scene: Dots, stem: str) -> Path:
        file = folder / f"{stem}.txt"
        file.write_text(repr(scene.dots.tolist()))
        return file

    return snapshot


def run_in(folder: Path, **options) -> Tensor:
    """Return the dots that a run in a folder ends with; go on with what is there."""
    if (folder / "config.json").is_file():
        opened = RunFolder.reopen(folder, interval_s=0.0)
    else:
        opened = RunFolder.create(folder, {}, interval_s=0.0)
    options = {"seed": 3, "snapshot": snapshots_into(folder / "snapshots"), **options}
    with opened as run:
        return optimize(options.pop("stages", STAGES), run=run, **options).dots.detach()


def test_steps_by_hand() -> None:
    stage = Stage(
        name="square",
        steps=3,
        begin=lambda before, generator: Dots(torch.tensor([1.0])),
        restore=Dots.from_state,
        optimizer=lambda scene: torch.optim.SGD([scene.dots], lr=0.25),
        loss=lambda scene, step, generator: {"square": scene.dots.square().sum()},
        lr_factor=lambda step: [1.0, 2.0, 0.5][step],
    )
    # x <- x - 2 x rate / 4: 1 -> 0.5 -> 0 (factor 1 - 0.5 * 2) -> 0
    assert optimize([stage], seed=0).dots.item() == 0.0
    values: list[float] = []
    optimize([stage], seed=0, report=stepped(lambda p: values.append(p.loss)))
    assert values == [1.0, 0.25, 0.0]


def test_same_seed_same_numbers_other_seed_others() -> None:
    def end(seed: int) -> Tensor:
        return optimize(STAGES, seed=seed).dots.detach()

    assert torch.equal(end(1), end(1)) and not torch.equal(end(1), end(2))
    assert end(1).shape == (9,)


def test_generators_differ_by_each_argument() -> None:
    draws = {
        torch.rand(4, generator=generator_of(*arguments)).sum().item()
        for arguments in [
            (0, 0, 0, "loss"),
            (1, 0, 0, "loss"),
            (0, 1, 0, "loss"),
            (0, 0, 1, "loss"),
            (0, 0, 0, "after"),
        ]
    }
    assert len(draws) == 5
    assert torch.equal(
        torch.rand(4, generator=generator_of(2**63 - 1, 2, 3, "x")),
        torch.rand(4, generator=generator_of(2**63 - 1, 2, 3, "x")),
    )


def test_report_counts_stages_and_time() -> None:
    told: list[Stepped] = []
    optimize(STAGES, seed=0, report=stepped(told.append))
    assert [(p.stage, p.step, p.done) for p in told] == [("first", i, i) for i in range(1, 8)] + [
        ("third", i, 7 + i) for i in range(1, 6)
    ]
    assert all(p.total == 12 and set(p.terms) == {"near", "small"} for p in told)
    # A stage's first step tells nothing of its pace.
    assert [index for index, p in enumerate(told) if math.isnan(p.eta_s)] == [0, 7]
    assert all(p.eta_s > 0.0 for p in told[1:-1] if not math.isnan(p.eta_s)) and told[-1].eta_s == 0.0
    assert told[0].loss == pytest.approx(sum(told[0].terms.values()))


class KilledError(BaseException):
    """What a test raises in place of a kill: nothing of the loop catches it."""


@pytest.mark.parametrize("half", ["before", "after"])
def test_a_kill_at_any_write_ends_in_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, half: str) -> None:
    whole = run_in(tmp_path / "whole")
    replace, writes = os.replace, 0

    def deadly(source: str, target: Path) -> None:
        nonlocal writes
        writes += 1
        if writes == stop_at and half == "before":
            raise KilledError
        replace(source, target)
        if writes == stop_at:
            raise KilledError

    monkeypatch.setattr(files.os, "replace", deadly)
    monkeypatch.setattr(files.os, "fsync", lambda number: None)  # no power is cut here, and it takes seconds
    kills = 0
    for stop_at in range(1, 40):
        folder, writes = tmp_path / f"{half}-{stop_at}", 0
        try:
            run_in(folder)
        except KilledError:
            kills += 1
        writes = 1_000
        assert torch.equal(run_in(folder), whole)
        assert tree(folder) == tree(tmp_path / "whole")
    assert kills > 24  # the folder, its config, 12 steps' and the last checkpoint's two files


def tree(folder: Path) -> dict[str, bytes]:
    """Return the files of a run folder that a user looks at."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name[0] != "."}


def test_a_run_killed_many_times_ends_in_the_same_bytes(tmp_path: Path) -> None:
    whole = run_in(tmp_path / "whole")

    def dying(at: int):
        def report(progress: Stepped) -> None:
            if progress.done == at:
                raise KilledError

        return report

    for at in (1, 3, 6, 7, 8, 11, 12):
        with pytest.raises(KilledError):
            run_in(tmp_path / "cut", report=stepped(dying(at)))
    assert torch.equal(run_in(tmp_path / "cut"), whole)
    assert tree(tmp_path / "cut") == tree(tmp_path / "whole")


def test_without_checkpoints_a_resumed_run_begins_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "INTERVAL_S", 1_000.0)
    with RunFolder.create(tmp_path / "run", {}) as run, pytest.raises(KilledError):

        def report(progress: Stepped) -> None:
            if progress.done == 9:
                raise KilledError

        optimize(STAGES, seed=3, run=run, report=stepped(report))
    assert not list((tmp_path / "run").glob("checkpoint*"))
    assert torch.equal(run_in(tmp_path / "run"), optimize(STAGES, seed=3).dots.detach())


def test_resuming_a_finished_run_takes_no_step(tmp_path: Path) -> None:
    whole = run_in(tmp_path / "run")
    told: list[Stepped] = []
    assert torch.equal(run_in(tmp_path / "run", report=stepped(told.append)), whole)
    assert told == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_stops_between_steps(tmp_path: Path, number: signal.Signals) -> None:
    def report(progress: Stepped) -> None:
        if progress.done == 9:
            signal.raise_signal(number)

    before = signal.getsignal(number)
    with pytest.raises(InterruptedRun, match="step 2 of stage 'third'") as caught:
        run_in(tmp_path / "cut", report=stepped(report))
    assert caught.value.signal_number == number
    assert signal.getsignal(number) is before
    note = json.loads((tmp_path / "cut" / "checkpoint.json").read_text())
    assert (note["stage"], note["step"]) == (2, 2)
    assert torch.equal(run_in(tmp_path / "cut"), run_in(tmp_path / "whole"))


def test_a_second_signal_is_not_waited_for() -> None:
    def report(progress: Stepped) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as caught:
        optimize(STAGES, seed=0, report=stepped(report))
    assert not isinstance(caught.value, InterruptedRun)


def test_within_another_deferral_signals_are_shared() -> None:
    before = signal.getsignal(signal.SIGINT)
    with stop_on_signals() as outer:
        with stop_on_signals() as inner:
            assert inner is outer
        signal.raise_signal(signal.SIGTERM)  # the inner block's end has not given the handlers back
        with pytest.raises(InterruptedRun, match="step 1 of stage 'first'") as caught:
            optimize(STAGES, seed=0)
        assert caught.value.signal_number == signal.SIGTERM == outer.number and outer.is_set()
    assert signal.getsignal(signal.SIGINT) is before


def test_works_outside_the_main_thread() -> None:
    ends: list[Tensor] = []
    thread = threading.Thread(target=lambda: ends.append(optimize(STAGES, seed=0).dots.detach()))
    thread.start()
    thread.join()
    assert torch.equal(ends[0], optimize(STAGES, seed=0).dots.detach())


def failing_stage(bad: float, where: str) -> Stage:
    def loss(scene: Dots, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        fine = scene.dots.square().sum()
        if step < 4:
            return {"fine": fine}
        if where == "loss":
            return {"fine": fine, "bad": fine * bad}
        return {"fine": (scene.dots * 0.0).sum().sqrt()}  # value 0, gradient 0 * infinity

    return noisy_stage("third", 6, loss=loss, after=None)


@pytest.mark.parametrize("special", [math.nan, math.inf, -math.inf, -9.0, 9.0])
@pytest.mark.parametrize("shape", [(1,), (7, 5, 3)])
def test_the_largest_magnitude_is_the_norm_of_order_infinity(special: float, shape: tuple[int, ...]) -> None:
    numbers = torch.rand(shape, generator=torch.Generator().manual_seed(0)) - 0.5
    numbers.view(-1)[-1] = special
    largest, norm = largest_magnitude(numbers).item(), torch.linalg.vector_norm(numbers, math.inf).item()
    assert largest == norm or (math.isnan(largest) and math.isnan(norm))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_with_the_last_good_drawing(tmp_path: Path, bad: float) -> None:
    stages = [*STAGES[:2], failing_stage(bad, "loss")]
    with pytest.raises(NotFiniteError, match=r"loss 'bad'.*step 4 of stage 'third'.*last-good") as caught:
        run_in(tmp_path / "run", stages=stages)
    assert caught.value.last_good is not None
    note = json.loads((tmp_path / "run" / "checkpoint.json").read_text())
    assert (note["stage"], note["step"]) == (2, 4)
    good = torch.tensor(json.loads(caught.value.last_good.read_text()))
    assert good.shape == (9,) and good.isfinite().all()


def test_a_gradient_that_is_not_finite_stops_too(tmp_path: Path) -> None:
    with pytest.raises(NotFiniteError, match=r"gradient of 'dots'.*step 4 of stage 'third'"):
        run_in(tmp_path / "run", stages=[*STAGES[:2], failing_stage(0.0, "gradient")])


def test_a_scene_that_is_not_finite_is_not_called_good(tmp_path: Path) -> None:
    def after(scene: Dots, optimizer: torch.optim.Optimizer, step: int, generator: torch.Generator) -> None:
        if step == 3:
            scene.dots.fill_(float("nan"))

    def report(progress: Stepped) -> None:
        if progress.done == 3:
            signal.raise_signal(signal.SIGINT)  # a checkpoint of step 3, then none for long

    stages = [noisy_stage("only", 6, after=after)]
    with pytest.raises(InterruptedRun):
        run_in(tmp_path / "run", stages=stages, report=stepped(report))
    run = RunFolder.reopen(tmp_path / "run", interval_s=1_000.0)
    snapshot = snapshots_into(tmp_path / "run")
    with run, pytest.raises(NotFiniteError, match="step 4") as caught:
        optimize(stages, seed=3, run=run, snapshot=snapshot)
    assert caught.value.last_good is not None
    assert torch.tensor(json.loads(caught.value.last_good.read_text())).isfinite().all()


def test_snapshots_are_evenly_spaced_and_the_last_is_the_end(tmp_path: Path) -> None:
    end = run_in(tmp_path / "run", stages=[noisy_stage("only", 10, snapshots=4)])
    files = sorted((tmp_path / "run" / "snapshots").iterdir())
    assert [file.stem for file in files] == [f"00-only-{step:05d}" for step in (3, 5, 8, 10)]
    assert files[-1].read_text() == repr(end.tolist())


def test_no_stage_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        optimize([], seed=0)


def test_an_event_stops_between_steps_and_the_run_resumes(tmp_path: Path) -> None:
    stop = threading.Event()

    def report(progress: Stepped) -> None:
        if progress.done == 9:
            stop.set()

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(StoppedRun, match="step 2 of stage 'third'"):
        run_in(tmp_path / "cut", report=stepped(report), stop=stop)
    assert signal.getsignal(signal.SIGINT) is before
    note = json.loads((tmp_path / "cut" / "checkpoint.json").read_text())
    assert (note["stage"], note["step"]) == (2, 2)
    assert torch.equal(run_in(tmp_path / "cut"), run_in(tmp_path / "whole"))


def test_snapshots_are_reported(tmp_path: Path) -> None:
    events: list[Event] = []
    run_in(tmp_path / "run", stages=[noisy_stage("only", 10, snapshots=2)], report=events.append)
    kinds = ["snapshot" if isinstance(event, Snapshot) else event.step for event in events]
    assert kinds == [1, 2, 3, 4, "snapshot", 5, 6, 7, 8, 9, "snapshot", 10]
    names = [event.path.name for event in events if isinstance(event, Snapshot)]
    assert names == ["00-only-00005.txt", "00-only-00010.txt"]


class Counter(Scene):
    """A scene that is sampled, not optimized: a number for each step, drawn in its turn."""

    def __init__(self, drawn: Tensor) -> None:
        super().__init__()
        self.register_buffer("drawn", drawn.clone())


def sampling_stage(steps: int) -> Stage:
    def advance(scene: Counter, step: int, generator: torch.Generator) -> None:
        scene.drawn[step] = torch.rand((), generator=generator) + (scene.drawn[step - 1] if step else 0.0)

    return Stage(
        name="sampling", steps=steps, begin=lambda before, generator: Counter(torch.zeros(steps)),
        restore=Counter.from_state, advance=advance, snapshots=0,
    )  # fmt: skip


def test_a_stage_that_samples_needs_no_loss_and_resumes(tmp_path: Path) -> None:
    def killed(progress: Stepped) -> None:
        if progress.done == 5:
            raise KilledError

    stages = [sampling_stage(8)]
    steps: list[Stepped] = []
    whole = optimize(stages, seed=3, report=stepped(steps.append))
    assert [step.loss for step in steps] == [0.0] * 8 and all(not step.terms for step in steps)
    expected = torch.stack([torch.rand((), generator=generator_of(3, 0, step, "advance")) for step in range(8)])
    torch.testing.assert_close(whole.drawn, expected.cumsum(0))
    with RunFolder.create(tmp_path / "cut", {}, interval_s=0.0) as run, pytest.raises(KilledError):
        optimize(stages, seed=3, run=run, report=stepped(killed))
    with RunFolder.reopen(tmp_path / "cut") as run:
        assert torch.equal(optimize(stages, seed=3, run=run).drawn, whole.drawn)
        assert run.losses() == []


def test_the_interval_grows_with_what_a_checkpoint_costs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    saved: list[float] = []
    plain = RunFolder.save

    def slow_save(self: RunFolder, checkpoint) -> None:
        saved.append(clock[0])
        clock[0] += 3.0  # of which the run may spend a twentieth: the next one after 60 s
        plain(self, checkpoint)

    def loss(scene: Dots, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        clock[0] += 1.0
        return {"near": scene.dots.square().sum()}

    monkeypatch.setattr("runtime.loop.optimize.time.monotonic", lambda: clock[0])
    monkeypatch.setattr(RunFolder, "save", slow_save)
    with RunFolder.create(tmp_path / "run", {}, interval_s=2.0) as run:
        optimize([noisy_stage("only", 140, loss=loss, after=None)], seed=0, run=run)
    assert saved == [2.0, 65.0, 128.0, 149.0]  # the last one is the end's


def test_on_a_gpu_numbers_are_read_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers that claim to be on a GPU: the loop looks at them every `CHECK_EVERY` steps, and at the stage's end."""
    from runtime.loop import optimize as module

    reads: list[int] = []

    class Far:
        device = torch.device("cuda")

        def __init__(self, numbers: Tensor) -> None:
            self.numbers = numbers

        def tolist(self) -> list[float]:
            reads.append(1)
            return self.numbers.tolist()

    plain = module._Loop.measure

    def measure(self: object, terms: object) -> object:
        record = plain(self, terms)
        far = object.__new__(module._Record)  # its constructor is checked, and takes tensors only
        vars(far).update(vars(record) | {"numbers": Far(record.numbers)})
        return far

    monkeypatch.setattr(module._Loop, "measure", measure)
    at: list[tuple[int, int]] = []
    stage = noisy_stage("only", CHECK_EVERY + 4)
    optimize([stage], seed=3, report=stepped(lambda p: at.append((p.step, len(reads)))))
    assert [step for step, _ in at] == list(range(1, CHECK_EVERY + 5))  # every step is reported, in order
    with pytest.raises(NotFiniteError, match="step 4 of stage 'third'"):
        optimize([*STAGES[:2], failing_stage(float("nan"), "loss")], seed=3)
