"""The command of a method: parse, check, start or resume, draw, write, and how it ends."""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from runtime.command.method import Method, check_kind, checked, draw, read_inputs, request_of, with_copies, write_files
from runtime.command.outputs import check_outputs, digest_of, free_names
from runtime.command.parse import Options, Parsed, parse, selected
from runtime.command.placement import Placement, describe_choices
from runtime.command.program import program_name
from runtime.command.settings import from_json, to_json
from runtime.command.subcommands import choose
from runtime.command.threads import limit_spinning
from runtime.errors import UserError, printable
from runtime.files import replace_file

if TYPE_CHECKING:
    from runtime.engines.bundle import Bundle
    from runtime.loop.folder import RunFolder

C = TypeVar("C")


class Main(Protocol):
    """The main function of a method's package."""

    def __call__(self, arguments: list[str] | None = None) -> int:
        """Run a command line, by default the process's, and return the exit code."""
        ...


def main_of(*methods: Method[Any]) -> Main:
    """Return the main function of a package: of its one method, or with a subcommand for each.

    The function returns the exit code: 0; 1 where numbers were not finite or the disk was full; 128 and the signal's
    number where it was interrupted. It raises `UserError` for a mistake of the user's.
    """

    def main(arguments: list[str] | None = None) -> int:
        limit_spinning()
        words = sys.argv[1:] if arguments is None else list(arguments)
        method = methods[0]
        if len(methods) > 1:
            method = _subcommand(methods, words)
            words = words[1:]
        return _Command(method, words).main()

    return main


def _subcommand(methods: Sequence[Method[Any]], words: Sequence[str]) -> Method[Any]:
    """Return the method that the first word names; without a word, or for --help, print the list of them and exit."""
    package = f"runtime.{methods[0].name.split()[0]}"
    named = {method.name.split()[1]: method for method in methods}
    name = choose(package, {name: method.config for name, method in named.items()}, words)
    if name is None:
        raise SystemExit(0)
    return named[name]


@dataclass
class _Job(Generic[C]):
    """A request that is ready to run."""

    config: C
    bundle: "Bundle | None"
    out: Path
    options: Options


class _Command(Generic[C]):
    """One call of a method's command."""

    def __init__(self, method: Method[C], words: Sequence[str]) -> None:
        self.method = method
        self.words = words
        self.program = program_name(f"runtime.{method.name}")
        self.code = 0

    def main(self) -> int:
        early = selected(self.method, self.words)
        if getattr(early, "list_bundles", False):
            print(printable(_bundle_list()))
            return 0
        try:
            if early.resume:
                self.resume(early)
            else:
                self.start(early)
        except KeyboardInterrupt:
            print("stopped before the run began", file=sys.stderr)
            return 128 + signal.SIGINT
        return self.code

    def start(self, early: Any) -> None:
        """Begin a run, or resume that of the same request: everything is checked before anything is written."""
        defaults = {}
        if self.method.kind is not None and not early.help:
            defaults = _defaults(early.bundle or vars(self.method.config)["bundle"], self.method.name)
        parsed = parse(self.method, self.words, early=early, defaults=defaults)
        # Mistakes in the options are named before those in the bundle, whose every file is hashed first.
        config = checked(self.method, parsed.config)
        placement = parsed.placement
        bundle = self.load(config, placement.device, placement.backend, placement)
        job = self.job(config, bundle, parsed.options)
        inputs = read_inputs(self.method, job.config)
        if bundle is not None:
            bundle.make_ahead(self.method.networks(job.config, bundle))
        self.method.validate(job.config, bundle)
        from runtime.loop.folder import RunFolder

        folder = self.place(job, placement)
        if folder.exists() and any(folder.iterdir()):
            # On the backends that the run began with: others would end in other bytes.
            self.reopen(folder, job, placement)
            return
        request = {**request_of(self.method, job.config, bundle), **self.placed(placement, bundle)}
        with self.ending(folder), RunFolder.create(folder, request, inputs=inputs) as run:
            self.work(job, run)

    def resume(self, early: Any) -> None:
        """Resume the run in a folder."""
        from runtime.loop.folder import read_config

        folder = early.resume
        recorded = read_config(folder)
        if recorded.get("method") != self.method.name:
            raise UserError(f"--resume '{folder}': the run is of another command ({recorded.get('method')!r:.60})")
        where = f"'{folder / 'config.json'}'"
        stored = from_json(self.method.config, recorded.get("config"), where)
        placement = from_json(Placement, recorded.get("placement"), where) if self.method.kind else Placement()
        parsed = parse(self.method, self.words, early=early, stored=stored, placement=placement)
        config = checked(self.method, parsed.config)
        self.refuse_changes(folder, stored, placement, parsed)
        self.reopen(folder, self.job(config, None, parsed.options), placement)

    def reopen(self, folder: Path, job: _Job[C], placement: Placement) -> None:
        """Resume the run in a folder, on the device and backends that it began with."""
        from runtime.loop.folder import RunFolder, read_config

        recorded = read_config(folder)
        device, backends = "cpu", {}
        if self.method.kind is not None:
            device, backends = _ran_on(recorded, f"'{folder / 'config.json'}'")
        bundle = self.load(job.config, device, backends, placement)
        if bundle is not None and bundle.digest != recorded.get("bundle_sha256"):
            raise UserError(
                f"--resume '{folder}': bundle '{bundle.name}' is not the one that the run began with (SHA-256 of "
                "bundle.json); put that one back or start a new run"
            )
        with self.ending(folder), RunFolder.reopen(folder) as run:
            self.work(replace(job, bundle=bundle), run)

    def refuse_changes(self, folder: Path, stored: C, placement: Placement, parsed: Parsed[C]) -> None:
        """Refuse options that differ from those of the run that is resumed."""
        before = {**to_json(stored), **vars(placement)}
        now = {**to_json(parsed.config), **vars(parsed.placement)}
        # Where the result goes does not change what it is.
        changed = [name for name in before if now[name] != before[name] and name != "out"]
        if changed:
            options = ", ".join(f"{name} {before[name]!r}" for name in changed)
            raise UserError(f"--resume '{folder}': the run has {options}; leave these options out, or start a new run")

    def load(self, config: Any, device: str, backend: Any, placement: Placement) -> "Bundle | None":
        """Return the bundle that a configuration names, of the kind that the method needs."""
        if self.method.kind is None:
            return None
        from runtime.engines.bundle.kinds import class_for

        kind = class_for(self.method.kinds)
        bundle = kind.load(config.bundle, device=device, backend=backend, compile=placement.compile)
        check_kind(self.method, bundle)
        return bundle

    def job(self, config: Any, bundle: "Bundle | None", options: Options) -> _Job[Any]:
        """Return the request with the file that it will write, which can be written."""
        suffixes = self.method.suffixes(config)
        out = config.out or Path(f"{self.method.stem(config)}{suffixes[0]}")
        check_outputs(out, suffixes, self.method.inputs(config).values(), force=options.force)
        return _Job(replace(config, out=out.absolute()), bundle, out, options)

    def place(self, job: _Job[C], placement: Placement) -> Path:
        """Return the run folder of a request: that of the same request, or the first free name."""
        from runtime.loop.folder import is_run, read_config

        request = request_of(self.method, job.config, job.bundle)
        if job.bundle is not None:
            request["placement"] = vars(placement)
        for folder in free_names(job.out.stem):
            # `RunFolder.create` refuses a folder that another process takes between this look and its own.
            if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
                return folder
            if job.options.again or not is_run(folder):
                continue
            with contextlib.suppress(UserError):  # a run of another version is somebody's, but not this request's
                recorded = read_config(folder)
                if all(recorded.get(name) == value for name, value in request.items()):
                    return folder
        raise AssertionError("free_names is endless")

    def placed(self, placement: Placement, bundle: "Bundle | None") -> dict[str, object]:
        """Return where the networks run and what runs each, for config.json; printed where the user left it open."""
        if bundle is None:
            return {}
        choices = bundle.choices()
        if placement.backend == "auto":
            for line in describe_choices(choices):
                print(line, file=sys.stderr)
        ran_on = {"device": bundle.device, "networks": {name: str(choice) for name, choice in choices.items()}}
        return {"placement": vars(placement), "ran_on": ran_on}

    @contextlib.contextmanager
    def ending(self, folder: Path) -> Iterator[None]:
        """Set the exit code of a run by how the block ends, and say on stderr how to resume it.

        Signals wait through the whole block, imports too: sampling and the loop stop between steps.
        """
        from runtime.loop.signals import InterruptedRun, stop_on_signals

        again = f"{self.program} --resume {folder}"
        try:
            with stop_on_signals():
                yield
        # Codes of the shell: 130 for SIGINT, 143 for SIGTERM.
        except KeyboardInterrupt as stop:
            self.code = 128 + (stop.signal_number if isinstance(stop, InterruptedRun) else signal.SIGINT)
            print(f"{str(stop) or 'stopped'}; resume with: {again}", file=sys.stderr)
        except FloatingPointError as error:
            self.code = 1
            print(f"error: {printable(str(error))}; another --seed or a lower learning rate may do", file=sys.stderr)
        except BrokenPipeError:
            raise  # `run_main` ends quietly where the reader of the output has gone
        except OSError as error:  # such as a full disk: what was saved before is whole
            self.code = 1
            print(f"error: {printable(str(error))}; once that is mended, resume with: {again}", file=sys.stderr)

    def work(self, job: _Job[C], run: "RunFolder") -> None:
        """Do the run, or the rest of it, and write its files."""
        from runtime.loop.folder import result_of
        from runtime.loop.progress import ProgressBar

        before = result_of(run.path) or {}
        files = [job.out.with_suffix(suffix).absolute() for suffix in self.method.suffixes(job.config)]
        if not job.options.resume and all(f.is_file() and digest_of(f) == before.get(f) for f in files):
            verb = "is" if len(files) == 1 else "are"
            print(f"{_names(files)} {verb} drawn already by the run in {run.path}{os.sep}; --again draws anew")
            return
        with ProgressBar(quiet=job.options.quiet) as bar:
            scene = draw(self.method, job.config, job.bundle, run=run, report=bar)
        run.plot()
        # First into the run folder, then the note of what was written, then to where it was asked for: a process that
        # is killed anywhere between finds files of its own there, and may replace them when it resumes.
        results = run.path / "result"
        results.mkdir(exist_ok=True)
        config = with_copies(self.method, job.config, run)
        copies = write_files(self.method, config, job.bundle, scene, results / job.out.name)
        written = [job.out.with_name(file.name) for file in copies]
        # Entries of earlier calls with another --out stay: those files are this run's, too.
        digests = {file.absolute(): digest_of(own) for file, own in zip(written, copies, strict=True)}
        run.finish({**before, **digests})
        for file, own in zip(written, copies, strict=True):
            replace_file(file, own.read_bytes())
        print(f"drew {_names(written)}; the run is in {run.path}{os.sep}")


def _defaults(bundle: str, method: str) -> dict[str, Any]:
    """Return a bundle's own values of a method's options; none where it cannot be read, which loading it will say."""
    from runtime.engines.bundle import manifest_of

    try:
        return dict(manifest_of(bundle).defaults.get(method, {}))
    except UserError:
        return {}


def _ran_on(recorded: dict[str, Any], where: str) -> tuple[str, dict[str, str]]:
    """Return device and backends of a run that is resumed: those that it began with, whatever was verified since."""
    from runtime.engines.backends.table import Choice
    from runtime.engines.strict_json import check_fields

    ran_on = check_fields(recorded.get("ran_on"), f"{where}: ran_on", {"device": str, "networks": dict})
    for backend in ran_on["networks"].values():
        Choice.from_text(backend, ran_on["device"])
    return ran_on["device"], ran_on["networks"]


def _bundle_list() -> str:
    """Return a line for each installed bundle."""
    from runtime.engines.bundle import installed_bundles

    lines = [f"{b.name}  {b.size / 2**20:.1f} MiB  {b.problem or b.licence}  {b.folder}" for b in installed_bundles()]
    return "\n".join(lines) or "no bundle is installed"


def _names(files: Any) -> str:
    """Return the names of files in words, each as short as it can be written from here."""
    shown = [printable(str(_shown(Path(file)))) for file in files]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _shown(path: Path) -> Path:
    try:
        return path.absolute().relative_to(Path.cwd())
    except ValueError:
        return path
