"""A method as a value: what it is asked, the stages that draw it, and how its result is written.

    scene = draw(METHOD, Config(prompt="a red apple"), Bundle.load("icons"))

The command line, Python, servers, benchmarks and `python -m export verify` all call `draw`; none of them knows how a
method works. To add a method is to write such a value: there is no registry.
"""

import contextlib
import importlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from runtime.command.ranges import check_ranges, option_name
from runtime.command.settings import to_json
from runtime.errors import UserError
from runtime.files import read_ordinary

if TYPE_CHECKING:
    from runtime.engines.bundle import Bundle
    from runtime.loop.events import Event, Report
    from runtime.loop.folder import RunFolder
    from runtime.loop.optimize import Stage
    from runtime.loop.scene import Scene

C = TypeVar("C")

GREATEST_INPUT = 1 << 30
"""Greatest size of a file that a method reads, bytes."""


def later(module: str, name: str) -> Callable[..., Any]:
    """Return a function that imports another one when it is first called, so that --help need not load PyTorch."""

    def call(*arguments: Any, **options: Any) -> Any:
        return getattr(importlib.import_module(module), name)(*arguments, **options)

    call.__qualname__ = call.__name__ = name
    return call


@dataclass(frozen=True, kw_only=True)
class Method(Generic[C]):
    """What a method brings. The first five fields are all that most need."""

    name: str
    """What a user types behind `python -m runtime.`, and the key of a bundle's defaults: "lmconv complete"."""
    config: type[C]
    """Its options: a frozen dataclass with `seed`, `out` and, if it uses networks, `bundle`; ranges are annotations."""
    build: "Callable[..., list[Stage]]"
    """build(config, bundle, generator, *, run, report) -> the stages of the loop. `generator` is for draws before the
    loop, `run` (a RunFolder or None) keeps what a resumed run should not compute again, and `report` takes events and
    ends the build where the run is to stop."""
    write: "Callable[[C, Any, Scene, Path], list[Path]]"
    """write(config, bundle, scene, out) -> the files that it has written, `out` first."""
    kind: str | None = None
    """Kind of bundle that it needs; None: it needs no networks."""
    also: tuple[str, ...] = ()
    """Further kinds that do as well."""
    suffixes: Callable[[C], tuple[str, ...]] = lambda config: (".png",)
    """Suffixes of the files that `write` will write; the first is that of `out`."""
    stem: Callable[[C], str] = lambda config: "drawing"
    """Name of the files without suffix, and of the run folder, where `out` is not given."""
    default: Callable[[Mapping[str, str | None]], C] | None = None
    """Makes the configuration that options change, from the values of `selectors`: a named preset."""
    selectors: tuple[str, ...] = ()
    """Options that choose among presets and so decide the defaults of the others."""
    check: Callable[[C], C] = lambda config: config
    """Refuses options that do not go together; ranges are checked before it is called."""
    validate: Callable[[C, Any], None] = lambda config, bundle: None
    """Refuses, before anything is written, what the bundle or the inputs cannot do."""
    inputs: Callable[[C], Mapping[str, Path]] = lambda config: {}
    """Files that it reads, by the option that names each: a run keeps copies, so that a resumed one reads the same."""
    networks: Callable[[C, Any], Sequence[str]] = lambda config, bundle: ()
    """Graphs of the bundle that every run of a configuration asks for, in that order: a command makes their engines
    while it imports the rest."""
    snapshot: "Callable[[C, Any, Scene, Path], Path] | None" = None
    """snapshot(config, bundle, scene, path without suffix) writes a picture on the way and returns its path."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """All kinds of bundles that do; none where it needs no networks."""
        return () if self.kind is None else (self.kind, *self.also)


def checked(method: Method[C], config: C) -> C:
    """Return a configuration whose numbers are in range and whose options go together; else a `UserError`."""
    check_ranges(config)
    return method.check(config)


def check_kind(method: Method[Any], bundle: "Bundle | None") -> None:
    """Refuse a bundle of a kind that a method cannot use, or none where it needs one, with a `UserError`."""
    if method.kinds and (bundle is None or bundle.manifest.kind not in method.kinds):
        got = "none" if bundle is None else f"'{bundle.name}' for {bundle.manifest.kind}"
        raise UserError(f"{method.name}: expected a bundle for {' or '.join(method.kinds)}, got {got}")


def request_of(method: Method[C], config: C, bundle: "Bundle | None") -> dict[str, Any]:
    """Return what makes two requests the same: method, options, networks."""
    request: dict[str, Any] = {"method": method.name, "config": to_json(config)}
    return request if bundle is None else {**request, "bundle_sha256": bundle.digest}


def draw(
    method: Method[C],
    config: C,
    bundle: "Bundle | None" = None,
    *,
    run: "RunFolder | Path | None" = None,
    report: "Report | None" = None,
    stop: threading.Event | None = None,
) -> "Scene":
    """Return the scene that a method ends with.

    Args:
        method: such as `runtime.vectorfusion.METHOD`.
        config: its options.
        bundle: the frozen networks, where it needs some.
        run: folder that keeps checkpoints. A new one is made; one of the same request is resumed, and ends in the same
            bytes as a run that was never cut. None: nothing is kept.
        report: called with events, see `runtime.loop.events`.
        stop: ends the run between two steps once another thread sets it, with its state saved; by default Ctrl-C and
            SIGTERM do.

    Raises:
        UserError: an option is out of range, the bundle does not fit, or the folder holds something else.
        NotFiniteError: a loss or a gradient is not finite.
        StoppedRun: `stop` was set.
        InterruptedRun: so by a signal.
    """
    from runtime.loop.optimize import generator_of, optimize
    from runtime.loop.signals import raise_if_stopped, stop_on_signals
    from runtime.threads import one_torch_thread

    # Python users reach this without the command, which has checked already; checking twice is harmless.
    config = checked(method, config)
    check_kind(method, bundle)
    seed = getattr(config, "seed", 0)
    with contextlib.ExitStack() as stack:
        # For the same bytes on any number of cores; kernels and engines take all of them.
        stack.enter_context(one_torch_thread())
        event = stop or stack.enter_context(stop_on_signals())
        folder = stack.enter_context(_opened(run, method, config, bundle)) if isinstance(run, Path) else run

        def tell(happened: "Event") -> None:
            if report is not None:
                report(happened)
            # After the report, so that whoever stops on an event has seen it.
            raise_if_stopped(event, "sample", getattr(happened, "step", 0))

        # What the run reads must not change while it is interrupted.
        config = with_copies(method, config, folder)
        stages = method.build(config, bundle, generator_of(seed, 0, 0, "sample"), run=folder, report=tell)
        # A build without events, such as one that finds its sample stored, has not looked at the event yet.
        raise_if_stopped(event, stages[0].name, 0)
        snapshot = _snapshots(method, config, bundle, folder)
        return optimize(stages, seed=seed, run=folder, report=report, snapshot=snapshot, stop=event)


def write_files(method: Method[C], config: C, bundle: "Bundle | None", scene: "Scene", out: Path) -> list[Path]:
    """Write the files that show a scene, and return their paths; the same bytes on any number of cores, too."""
    from runtime.threads import one_torch_thread

    with one_torch_thread():
        return method.write(config, bundle, scene, out)


def _opened(path: Path, method: Method[C], config: C, bundle: "Bundle | None") -> "RunFolder":
    """Return the run folder at a path: a new one, or that of the same request."""
    from runtime.loop.folder import RunFolder, is_run, read_config

    request = request_of(method, config, bundle)
    if not is_run(path):
        return RunFolder.create(path, request, inputs=read_inputs(method, config))
    before = read_config(path)
    # Both sides went through `to_json`, so equal requests are equal JSON.
    if any(before.get(name) != value for name, value in request.items()):
        raise UserError(f"run folder '{path}' holds a run of another request; choose another folder")
    return RunFolder.reopen(path)


def read_inputs(method: Method[C], config: C) -> dict[str, bytes]:
    """Return the content of the files that a method reads, by option and name, for the run's own copies."""
    contents = {}
    for option, path in method.inputs(config).items():
        try:
            contents[f"{option}/{path.name}"] = read_ordinary(path, GREATEST_INPUT)
        except FileNotFoundError:
            raise UserError(f"{option_name(option)} {str(path)!r:.200}: expected a file, got none") from None
        except OSError as error:
            reason = error.strerror or error
            raise UserError(f"{option_name(option)} {str(path)!r:.200} cannot be read: {reason}") from error
    return contents


def with_copies(method: Method[C], config: C, run: "RunFolder | None") -> C:
    """Return a configuration that names the run's own copies of the files that it reads."""
    if run is None:
        return config
    copies = {
        option: type(getattr(config, option))(run.input(f"{option}/{path.name}"))
        for option, path in method.inputs(config).items()
    }
    return replace(config, **copies)  # pyright: ignore[reportArgumentType]


def _snapshots(
    method: Method[C], config: C, bundle: "Bundle | None", folder: "RunFolder | None"
) -> "Callable[[Scene, str], Path] | None":
    """Return what writes a picture of a scene into the run folder; None without a folder or such a function."""
    write = method.snapshot
    if write is None or folder is None:
        return None

    def snapshot(scene: "Scene", stem: str) -> Path:
        below = folder.path / ("" if stem == "last-good" else "snapshots")
        return write(config, bundle, scene, below / stem)

    return snapshot
