"""The command of `runtime.vectorfusion`: options, files, run folder, and how it ends."""

import argparse
import contextlib
import math
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from runtime import __version__
from runtime.command.placement import Machine, describe_choices
from runtime.command.threads import limit_spinning
from runtime.engines.strict_json import check_fields
from runtime.errors import UserError
from runtime.files import try_writing
from runtime.vectorfusion.config import Config, check, file_name, from_json, settings_of, to_json, with_defaults

if TYPE_CHECKING:
    from runtime.engines.bundle import DiffusionBundle
    from runtime.loop.folder import RunFolder
    from runtime.loop.optimize import Scene

PROGRAM = "python -m runtime.vectorfusion"
RUNS = Path("runs")
"""Folder of the run folders."""

HERE = Machine()
"""What runs the networks where the user leaves it open."""

PNG_SIDE = 512
"""Least side of the PNG in pixels; it is a whole multiple of the canvas."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """Draw what a prompt says: an SVG, its PNG, and a run folder."""

    config: tyro.conf.OmitArgPrefixes[Config]
    machine: tyro.conf.OmitArgPrefixes[Machine] = HERE
    resume: Path | None = None
    """Run folder, such as runs/a-red-apple, whose run goes on; its own options hold, only --out may be changed."""
    list_bundles: tyro.conf.FlagCreatePairsOff[bool] = False
    """Show the installed bundles and end."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code: 0, 1 where numbers ran away, 130 where it was interrupted.

    Raises:
        UserError: for a mistake of the user's.
    """
    limit_spinning()
    arguments = sys.argv[1:] if arguments is None else arguments
    early = _early(arguments)
    if early.list_bundles:
        print(_bundle_list())
        return 0
    if early.help:
        _parse(arguments, settings_of(early.preset, early.route))
    try:
        return _resume(arguments, early.resume) if early.resume else _start(arguments, early)
    except KeyboardInterrupt:
        print("stopped before the run began", file=sys.stderr)
        return 130


def _early(arguments: list[str]) -> argparse.Namespace:
    """Return the options on which the others' defaults depend."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("--list-bundles", "--list_bundles", action="store_true")
    parser.add_argument("--preset", default="icon")
    parser.add_argument("--route")
    parser.add_argument("--bundle", default="icons")
    parser.add_argument("--resume", type=Path)
    try:
        return parser.parse_known_args(arguments)[0]
    except argparse.ArgumentError as error:
        raise UserError(f"{error}; {PROGRAM} --help lists the options") from error


def _parse(arguments: list[str], default: Config, machine: Machine = HERE) -> tuple[Config, Machine]:
    """Return what a command line says; tyro ends the process with code 2 on one that is none."""
    command = tyro.cli(Command, prog=PROGRAM, args=arguments, default=Command(config=default, machine=machine))
    return command.config, command.machine


def _bundle_list() -> str:
    """Return a line for each installed bundle."""
    from runtime.engines.bundle import installed_bundles

    found = [f"{b.name}  {b.size / 2**20:.1f} MiB  {b.problem or b.licence}  {b.folder}" for b in installed_bundles()]
    return "\n".join(found) or "no bundle is installed"


def _start(arguments: list[str], early: argparse.Namespace) -> int:
    """Begin a run: everything is checked before anything is written."""
    from runtime.engines.bundle import DiffusionBundle
    from runtime.loop.folder import RunFolder

    default = settings_of(early.preset, early.route)
    parsed, machine = _parse(arguments, default)
    parsed = check(parsed)  # mistakes in the options are told before those in the bundle
    bundle = DiffusionBundle.load(
        parsed.bundle, device=machine.device, backend=machine.backend, compile=machine.compile
    )
    config = check(_parse(arguments, with_defaults(default, bundle.defaults("vectorfusion"), bundle.name))[0])
    svg = _output(config)
    start = _read_start(config, bundle)
    _try_parts(config, bundle)
    config = replace(config, out=svg.absolute())
    known = {"method": "vectorfusion", "bundle_sha256": bundle.digest, "config": to_json(config)}
    known |= {"machine": machine.to_json(), "ran_on": _tell_backends(bundle, machine)}
    folder = RUNS / svg.stem
    files = {} if start is None else {"init.svg": start}
    with _interruptible(folder) as code, RunFolder.create(folder, known, files=files) as run:
        _work(config, bundle, run)
    return code[0]


def _resume(arguments: list[str], folder: Path) -> int:
    """Go on with the run in a folder."""
    from runtime.engines.bundle import DiffusionBundle
    from runtime.loop.folder import RunFolder, read_config

    known = read_config(folder)
    if known.get("method") != "vectorfusion":
        raise UserError(f"--resume '{folder}': the run is of another command ({known.get('method')})")
    where = f"'{folder / 'config.json'}'"
    stored = from_json(known.get("config", {}), where)
    machine = Machine.from_json(known.get("machine", HERE.to_json()), where)
    config, asked = _parse(arguments, stored, machine)
    config, before, now = check(config), {**vars(stored), **vars(machine)}, {**vars(config), **vars(asked)}
    changed = [name for name in before if now[name] != before[name] and name != "out"]
    if changed:
        options = ", ".join(f"{name} {before[name]!r}" for name in changed)
        raise UserError(f"--resume '{folder}': the run has {options}; leave these options out, or start a new run")
    device, backends = _ran_on(known, where)
    bundle = DiffusionBundle.load(config.bundle, device=device, backend=backends, compile=machine.compile)
    if bundle.digest != known.get("bundle_sha256"):
        raise UserError(
            f"--resume '{folder}': bundle '{bundle.name}' is not the one that the run began with (SHA-256 of "
            "bundle.json); put that one back or start a new run"
        )
    config = replace(config, out=_output(config).absolute())
    with _interruptible(folder) as code, RunFolder.reopen(folder) as run:
        _work(config, bundle, run)
    return code[0]


def _tell_backends(bundle: "DiffusionBundle", machine: Machine) -> dict[str, object]:
    """Return where the networks run and what runs each, for config.json; told where the user left it open."""
    choices = bundle.choices()
    if machine.backend == "auto":
        for line in describe_choices(choices):
            print(line, file=sys.stderr)
    return {"device": bundle.device, "networks": {name: str(choice) for name, choice in choices.items()}}


def _ran_on(known: Mapping[str, Any], where: str) -> tuple[str, dict[str, str]]:
    """Return device and backends of a run that goes on: those that it began with, whatever was verified since."""
    from runtime.engines.backends.choice import Choice

    first = {"device": "cpu", "networks": {}}  # what runs had before they said so
    ran_on = check_fields(known.get("ran_on", first), f"{where}: ran_on", {"device": str, "networks": dict})
    for backend in ran_on["networks"].values():
        Choice.from_text(backend, ran_on["device"])
    return ran_on["device"], ran_on["networks"]


def _output(config: Config) -> Path:
    """Return the SVG file to write.

    Raises:
        UserError: where it can't be written, or holds what this program has not written and --out does not name it.
    """
    svg = config.out or Path(f"{file_name(config.prompt)}.svg")
    if svg.suffix != ".svg":
        raise UserError(f"--out: expected the name of an SVG file, ending in .svg, got '{svg}'")
    if not svg.parent.is_dir():
        raise UserError(f"--out '{svg}': folder '{svg.parent}' does not exist; make it, or choose another")
    for file in (svg, svg.with_suffix(".png")):
        if file.is_dir():
            raise UserError(f"--out '{svg}': '{file}' is a folder; choose another name")
        try_writing(file)
        if config.out is None and file.exists() and not _ours(svg):
            raise UserError(f"'{file}' exists and is not of this program; move it, or name it with --out {svg}")
    return svg


def _ours(svg: Path) -> bool:
    """Return whether an SVG file carries this program's metadata near its beginning."""
    from runtime.vector.svg import METADATA_NAMESPACE

    if not svg.is_file():
        return False
    with svg.open("rb") as file:
        return METADATA_NAMESPACE.encode() in file.read(4096)


def _read_start(config: Config, bundle: "DiffusionBundle") -> bytes | None:
    """Return the SVG file to start from, which can be read; None where there is none."""
    if config.init is None:
        return None
    from runtime.vector.svg import read_svg

    read_svg(config.init, size=(bundle.image_size, bundle.image_size))
    return config.init.read_bytes()


def _try_parts(config: Config, bundle: "DiffusionBundle") -> None:
    """Raise `UserError` where a part can't do what is asked: prompt too long, no such gradients or rasterizer."""
    import torch

    from runtime.guidance.schedule import Schedule
    from runtime.vector.paths import random_circles
    from runtime.vector.raster import rasterize
    from runtime.vectorfusion.stages import styled_prompt

    Schedule.of(bundle.schedule)
    styled_prompt(config.prompt, bundle)
    bundle.latent_encoder(gradients=config.gradients)
    if config.init is None and config.route == "trace" and config.samples > 1:
        bundle.scorer()
    rasterize(random_circles(1, size=(8, 8), generator=torch.Generator()), backend=config.rasterizer)


@contextlib.contextmanager
def _interruptible(folder: Path) -> Iterator[list[int]]:
    """Yield a list with the exit code of a run: 0, or that of how the block ended, which is told on stderr.

    Signals are deferred through the whole of it, imports too: sampling and the loop stop between steps.
    """
    from runtime.loop.optimize import InterruptedRun, deferred_signals

    code = [0]
    try:
        with deferred_signals():
            yield code
    except KeyboardInterrupt as stop:
        code[0] = 128 + (stop.signal_number if isinstance(stop, InterruptedRun) else signal.SIGINT)
        print(f"{str(stop) or 'stopped'}; go on with: {PROGRAM} --resume {folder}", file=sys.stderr)
    except FloatingPointError as error:
        code[0] = 1
        print(f"error: {error}; another --seed or a lower --rate may do", file=sys.stderr)
    except OSError as error:  # such as a full disk: what was saved before is whole
        code[0] = 1
        print(f"error: {error}; once that is mended, go on with: {PROGRAM} --resume {folder}", file=sys.stderr)


def _work(config: Config, bundle: "DiffusionBundle", run: "RunFolder") -> None:
    """Do the run, or the rest of it, and write its drawing."""
    import torch

    from runtime.pictures import write_png
    from runtime.vector.raster import rasterize
    from runtime.vector.svg import write_svg
    from runtime.vectorfusion.stages import without_unused

    assert config.out is not None
    svg, png = config.out, config.out.with_suffix(".png")
    drawing = without_unused(_optimize(config, bundle, run).drawing().detach())
    factor = math.ceil(PNG_SIDE / min(drawing.size))
    with torch.no_grad():
        picture = rasterize(drawing, (drawing.size[0] * factor, drawing.size[1] * factor), backend=config.rasterizer)
    write_svg(svg, drawing, metadata=metadata_of(config, bundle))
    write_png(png, picture[0])
    print(f"drew {_shown(svg)} and {_shown(png)}; the run is in {run.path}{os.sep}")


def _optimize(config: Config, bundle: "DiffusionBundle", run: "RunFolder") -> "Scene":
    """Return the scene with which the run ends."""
    from runtime.loop.optimize import InterruptedRun, deferred_signals, generator_of, optimize
    from runtime.loop.progress import ProgressBar
    from runtime.vector.scene import VectorScene
    from runtime.vector.svg import read_svg, write_svg
    from runtime.vectorfusion.stages import build

    def snapshot(scene: "Scene", stem: str) -> Path:
        file = run.path / ("snapshots" if stem != "last-good" else "") / f"{stem}.svg"
        write_svg(file, scene.drawing(), metadata=metadata_of(config, bundle))
        return file

    drawing = None
    if config.init is not None:
        drawing = read_svg(run.path / "init.svg", size=(bundle.image_size, bundle.image_size))
    restore: Callable = partial(VectorScene.from_state, backend=config.rasterizer)
    with ProgressBar() as bar:
        draws = generator_of(config.seed, 0, 0, "sample")
        with deferred_signals() as caught:

            def note(stage: str, done: int, total: int) -> None:
                bar.note(stage, done, total)
                if caught:
                    raise InterruptedRun(caught[0], stage, done)

            stages = build(config, bundle, draws, folder=run.path, drawing=drawing, report=note)
            if caught:
                raise InterruptedRun(caught[0], stages[0].name, 0)
        scene = optimize(stages, seed=config.seed, restore=restore, run=run, report=bar, snapshot=snapshot)
    run.plot()
    return scene


def metadata_of(config: Config, bundle: "DiffusionBundle") -> dict[str, str]:
    """Return what an SVG says of its making; equal runs say the same."""
    names = ("prompt", "preset", "route", "seed", "steps", "omega")
    made = {"generator": f"tgm {__version__}", "bundle": f"{bundle.name} {bundle.digest[:12]}"}
    return {name: str(getattr(config, name)) for name in names} | made


def _shown(path: Path) -> Path:
    """Return a path as short as it can be written from here."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
