"""`python -m serving submit`: ask a running server to draw."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import tyro
from annotated_types import Interval

from runtime.command.seeds import parse_seeds
from runtime.errors import UserError, printable
from runtime.files import read_ordinary, replace_file
from serving.methods import Served, find, is_file, served_methods, texts_or_files


@dataclass(frozen=True, kw_only=True)
class Submit:
    """Ask a running server to draw; with --wait, wait and write the files.

    python -m serving submit "a red apple" --preset icon --seeds 0-3 --wait
    python -m serving submit photo.png --method vectorize --set paths=32
    python -m serving submit capture/ --method nerf --set views=8 --wait
    """

    subject: tyro.conf.Positional[str] = ""
    """What the method's own command takes first: a prompt, a picture's file, a folder of photos."""
    method: str = "vectorfusion"
    """What draws."""
    preset: str | None = None
    """Named settings of the method."""
    seeds: str = "0"
    """A seed, a range or a list: 0, 0-3, 1,5,9. One job each."""
    set: tuple[str, ...] = ()
    """Other options of the method, as NAME=VALUE; NAME=@FILE sends a file, or a folder as an archive."""
    priority: Annotated[int, Interval(ge=-10, le=10)] = 0
    """Higher ones go first; a minute of waiting counts as a point."""
    wait: tyro.conf.FlagCreatePairsOff[bool] = False
    """Wait for the end, and write the files."""
    out: Path = Path()
    """Folder of the files."""
    server: str = "http://localhost:8765"
    """Address of the server; its token, where it wants one, is in the environment: TGM_TOKEN."""


def run_submit(options: Submit) -> int:
    """Submit, and wait if asked; return the exit code: 1 where a job has failed."""
    from serving.client import Client

    served = find(served_methods(), options.method)
    if options.wait and not options.out.is_dir():
        raise UserError(f"--out '{options.out}': expected a folder, got none; make it first")
    with Client(options.server) as client:
        given = given_options(options, served, client)
        jobs = []
        for seed in seeds_of(options, served):
            with_seed = given if seed is None else {**given, "seed": seed}
            job = client.submit({"method": served.name, "options": with_seed, "priority": options.priority})
            jobs.append(job)
            print(f"{job['id']}  {job['state']}  {options.server.rstrip('/')}/job/{job['id']}", flush=True)
        return max((_wait(client, job["id"], options.out) for job in jobs), default=0) if options.wait else 0


def seeds_of(options: Submit, served: Served) -> Sequence[int | None]:
    """Return the seeds of a command line, a job each; of a method that draws nothing by chance a single None."""
    seeds = parse_seeds(options.seeds)
    if "seed" in get_type_hints(served.method.config):
        return seeds
    if seeds != [0]:
        raise UserError(f"--seeds: {served.name} draws nothing by chance: expected none, got {options.seeds!r:.40}")
    return [None]


def given_options(options: Submit, served: Served, client: Any) -> dict[str, Any]:
    """Return the method's options that a command line gives, its files sent."""
    hints = get_type_hints(served.method.config, include_extras=True)
    given: dict[str, Any] = {}
    if options.subject:
        first = next((name for name, hint in hints.items() if is_positional(hint)), None)
        if first is None:
            raise UserError(f"{served.name}: takes no {options.subject!r:.40}; give its options with --set NAME=VALUE")
        # As the method's own command does: what may be a picture or words is a picture where there is such a file.
        sent = is_file(hints[first]) or (first in texts_or_files(served.method) and Path(options.subject).is_file())
        given[first] = client.send(Path(options.subject)) if sent else options.subject
    if options.preset is not None:
        given["preset"] = options.preset
    for entry in options.set:
        name, equals, text = entry.partition("=")
        name = name.replace("-", "_")
        if not equals or name not in hints:
            raise UserError(f"--set: expected NAME=VALUE with an option of {served.name}, got {entry!r:.60}")
        given[name] = client.send(Path(text[1:])) if text.startswith("@") else value_of(text)
    return given


def is_positional(hint: Any) -> bool:
    """Return whether the method's command takes an option without its name."""
    return get_origin(hint) is Annotated and tyro.conf.Positional in get_args(hint)[1:]


def value_of(text: str) -> Any:
    """Return a value as JSON has it, or the text itself: 3, true, [1, 2], top."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _holds(file: Path, content: bytes) -> bool:
    try:
        return read_ordinary(file, len(content)) == content
    except OSError:  # no file, or a longer one
        return False


def _wait(client: Any, job: str, out: Path) -> int:
    """Follow a job to its end and write its files; return 0, or 1 where it has none."""
    for event in client.events(job):
        if event["kind"] == "step" and sys.stderr.isatty():
            print(f"\r{job}  {event['stage']} {event['step']}/{event['steps']}   ", end="", file=sys.stderr)
    ended = client.call("GET", f"/v1/jobs/{job}")
    if ended["state"] != "done":
        print(f"error: job {job}: {ended['state']}: {printable(ended['message'] or '')}", file=sys.stderr)
        return 1
    names, seed = [], ended["options"].get("seed", 0)
    for output in ended["outputs"]:
        # Several seeds have files of one name; the server may be anybody's, and no answer of it names a folder.
        file = out / f"{Path(output['name']).stem}-{seed if isinstance(seed, int) else 0}{Path(output['name']).suffix}"
        content = client.fetch(job, output["name"])
        if file.exists() and not _holds(file, content):
            raise UserError(f"'{file}' exists and is something else; choose another folder with --out")
        replace_file(file, content)
        names.append(str(file))
    print(printable(f"drew {', '.join(names)}"), flush=True)
    return 0
