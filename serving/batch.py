"""Many requests at once: on the cores of this machine, or on a Ray cluster; what is done already is skipped.

drawings/a-red-apple-1f0c2b7a.svg       results, each beside those of other requests
drawings/results.jsonl                  a line a job, in the order in which they ended
drawings/runs/1f0c2b7a.../              run folders: a job that was interrupted resumes, wherever it runs next
"""

import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_type_hints

from runtime.command.ranges import option_name
from runtime.engines.strict_json import parse_value
from runtime.errors import UserError
from runtime.files import read_ordinary, replace_file
from serving.archives import content_of
from serving.bundles import Offers
from serving.lanes import Lane
from serving.methods import UNSERVED, Served, find, is_file
from serving.requests import Request, parse_request
from serving.work import Task, perform

RESULTS = "results.jsonl"
"""A line of JSON for each job that has ended."""

GREATEST_FILE = 1 << 28
"""Greatest size of a file of requests, bytes."""

_BEGINNING = b'{"id": "'
"""Of each of its lines."""

DEATHS = 4
"""How often the process of a job may die before the job counts as failed."""


@dataclass(frozen=True)
class Row:
    """One request of a batch."""

    number: int
    """Line in the file, from 1."""
    request: Request
    files: Mapping[str, str]
    """Where the files that it reads lie."""

    @property
    def name(self) -> str:
        """Its id: equal requests are one job."""
        return self.request.key[:24]


def read_rows(file: Path, served: Mapping[str, Served], offers: Offers, method: str, seeds: Sequence[int]) -> list[Row]:
    """Return the requests in a file: a prompt a line, or, in a .jsonl file, a JSON object a line.

    Args:
        file: each object has `options` and perhaps `method`; options that take a file give its path, from the folder
            of this file on.
        served: the methods.
        offers: the bundles.
        method: of the lines that name none.
        seeds: a job each for every line that names no seed.

    Raises:
        UserError: naming the line that cannot be used.
    """
    try:
        lines = read_ordinary(file, GREATEST_FILE).decode("utf-8").splitlines()
    except UnicodeDecodeError:
        raise UserError(f"'{file}': expected a text file of prompts or of JSON, got bytes that are no UTF-8") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"'{file}': expected a text file of prompts or of JSON, got none: {reason}") from None
    rows: dict[str, Row] = {}
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.startswith("#"):
            try:
                for row in _rows_of(line.strip(), number, file, served, offers, method, seeds):
                    rows.setdefault(row.name, row)
            except UserError as error:
                raise UserError(f"'{file}', line {number}: {error}") from None
    if not rows:
        raise UserError(f"'{file}': expected at least one prompt, got none")
    return list(rows.values())


def _rows_of(
    line: str, number: int, file: Path, served: Mapping[str, Served], offers: Offers, method: str, seeds: Sequence[int]
) -> Iterator[Row]:
    """Yield the requests of a line, one a seed."""
    document: Any = {"options": {"prompt": line}}
    if file.suffix == ".jsonl":
        try:
            document = parse_value(line.encode())
        except ValueError as error:
            raise UserError(f"expected a JSON object, got something else ({error})") from None
    if not isinstance(document, dict) or not isinstance(document.get("options", {}), dict):
        raise UserError("expected a JSON object with 'options', got something else")
    chosen = find(served, document.get("method", method))
    options = dict(document.get("options", {}))
    paths = _with_files(options, chosen, file.parent)
    takes_seed = "seed" in get_type_hints(chosen.method.config) and "seed" not in options
    for seed in seeds if takes_seed else [None]:
        asked = options if seed is None else {**options, "seed": seed}
        request = parse_request(
            {"method": chosen.name, "options": asked}, served, offers.digest_of, defaults=offers.defaults_of
        )
        yield Row(number, request, paths)


def _with_files(options: dict[str, Any], served: Served, folder: Path) -> dict[str, str]:
    """Replace the paths in options by what stands for their files, and return where these are, by option."""
    paths = {}
    hints = get_type_hints(served.method.config, include_extras=True)
    for name, value in list(options.items()):
        text = isinstance(value, str) and value and name not in UNSERVED
        # A text may be the name of a region or a file: the command, too, takes it for a file where there is one.
        if not text or name not in hints or not (is_file(hints[name]) or (folder / value).is_file()):
            continue
        if not is_file(hints[name]) and Path(value).suffix == "":
            continue
        path = folder / value
        if not path.exists():
            raise UserError(f"{option_name(name)} '{path}': expected a file, got none")
        sent, content = content_of(path)
        options[name] = {"name": sent, "sha256": hashlib.sha256(content).hexdigest()}
        paths[name] = str(path.absolute())
    return paths


def _free_name(out: Path, name: Path, key: str, content: bytes) -> str:
    """Return the name of a file that holds a content already, or that is free: one that was changed since stays."""
    number = 1
    while True:
        again = "" if number == 1 else f"-{number}"
        file = f"{name.stem}-{key}{again}{name.suffix}"
        if not (out / file).exists() or ((out / file).is_file() and (out / file).read_bytes() == content):
            return file
        number += 1


def _end_last_line(log: Path) -> None:
    """End a line that a kill has cut in half, so that the next one begins at its beginning."""
    if log.is_file() and (content := log.read_bytes()) and not content.endswith(b"\n"):
        with log.open("ab") as stream:
            stream.write(b"\n")


def _refuse_foreign(log: Path) -> None:
    """Refuse a log that no batch has written: lines would be added to it.

    Raises:
        UserError: naming it.
    """
    if log.is_dir():
        raise UserError(f"'{log}' is a folder; choose another --out")
    if log.is_file():
        with log.open("rb") as stream:
            first = stream.readline(1 << 20)
        # A kill may have left the beginning of one line alone.
        if first and not first.startswith(_BEGINNING[: len(first)]):
            raise UserError(f"'{log}' exists, and no batch has written it; choose another --out")


def finished_rows(out: Path) -> dict[str, dict[str, Any]]:
    """Return the lines of jobs that are done, by id, whose files are there as they were written."""
    done = {}
    if (out / RESULTS).is_file():
        for line in (out / RESULTS).read_text("utf-8", "replace").splitlines():
            try:
                entry = parse_value(line.encode())
                whole = entry["state"] == "done" and all(
                    hashlib.sha256(read_ordinary(out / Path(file["file"]).name, 1 << 32)).hexdigest() == file["sha256"]
                    for file in entry["outputs"]
                )
            except (ValueError, KeyError, TypeError, OSError):
                continue  # cut in half by a kill, or its files were deleted
            if whole:
                done[entry["id"]] = entry
    return done


class Batch:
    """A folder of results, and what is still to be done.

    Args:
        out: the folder, which is made.
        rows: the requests.
        served: the methods.
        offers: the bundles.
        threads: of a job.
        note: takes a line for whoever waits.
    """

    def __init__(
        self,
        out: Path,
        rows: Sequence[Row],
        served: Mapping[str, Served],
        offers: Offers,
        *,
        threads: int = 1,
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        _refuse_foreign(out / RESULTS)
        try:
            (out / "runs").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"--out '{out}' cannot be written: {error.strerror}; choose another folder") from error
        self.out, self.rows, self.served, self.offers, self.threads, self.note = (
            out,
            rows,
            served,
            offers,
            threads,
            note,
        )
        _end_last_line(out / RESULTS)
        done = finished_rows(out)
        self.left = [row for row in rows if row.name not in done]
        self.skipped = len(rows) - len(self.left)
        self.failed = 0
        self._access = threading.Lock()

    def task_of(self, row: Row) -> Task:
        """Return a request as a worker takes it."""
        return Task(
            job=row.name,
            home=self.served[row.request.method].home,
            request=row.request.to_json(),
            folder=str((self.out / "runs" / row.name).absolute()),
            files=dict(row.files),
            threads=self.threads,
            bundle=str(self.offers.folders().get(str(row.request.values.get("bundle")), "")),
        )

    def finish(self, row: Row, state: str, manifest: Mapping[str, Any], message: str = "", worker: str = "") -> None:
        """Bring a job's files into the folder and write its line; from any thread."""
        outputs = []
        for output in manifest.get("outputs", []):
            source = self.out / "runs" / row.name / "run" / "result" / output["name"]
            content = source.read_bytes()
            file = _free_name(self.out, Path(output["name"]), row.name[:8], content)
            replace_file(self.out / file, content)
            outputs.append({"file": file, "sha256": output["sha256"], "size": output["size"]})
        entry = {
            "id": row.name, "line": row.number, "state": state, "method": row.request.method,
            "options": dict(row.request.values), "outputs": outputs, "message": message,
            "seconds": manifest.get("seconds"), "worker": worker, "versions": manifest.get("versions", {}),
        }  # fmt: skip
        with self._access:
            self.failed += state != "done"
            with (self.out / RESULTS).open("a", encoding="utf-8") as log:
                log.write(json.dumps(entry) + "\n")
        if state == "done":
            # The manifest and the result are in the line and the folder; checkpoints are of no more use.
            shutil.rmtree(self.out / "runs" / row.name, ignore_errors=True)
        names = ", ".join(output["file"] for output in outputs) or message
        self.note(f"line {row.number}: {state}: {names}")

    def run_on_lanes(self, lanes: Sequence[Lane], stop: threading.Event) -> None:
        """Do what is left on lanes, until it is done or `stop` is set; then runs save their state."""
        waiting, access = list(self.left), threading.Lock()

        def work(lane: Lane) -> None:
            while not stop.is_set():
                with access:
                    if not waiting:
                        return
                    row = waiting.pop(0)
                self._do(lane, row, stop)

        threads = [threading.Thread(target=work, args=(lane,), daemon=True) for lane in lanes]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            if stop.wait(0.2):
                for lane in lanes:
                    lane.stop()
                for thread in threads:
                    thread.join(60.0)
                return

    def _do(self, lane: Lane, row: Row, stop: threading.Event) -> None:
        """Do one request; where its process dies, again, from its run folder."""
        began = time.monotonic()
        for _ in range(DEATHS):
            for kind, data in lane.run(self.task_of(row)):
                if kind == "done":
                    seconds = round(time.monotonic() - began, 3)
                    self.finish(row, "done", {**data, "seconds": seconds}, worker=lane.name)
                    return
                if kind == "failed":
                    self.finish(row, "failed", {}, data["message"], lane.name)
                    return
                if kind == "stopped":
                    return
                if stop.is_set():
                    lane.stop()
        self.finish(row, "failed", {}, f"its process has died {DEATHS} times", lane.name)


def draw_on_ray(task: Mapping[str, Any]) -> dict[str, Any]:
    """Do a job in a process of a Ray cluster, and return its manifest or why it failed; a task of Ray."""
    began = time.monotonic()
    try:
        manifest = perform(Task(**task), report=lambda *_: None, stop=threading.Event())
    except (UserError, FloatingPointError, OSError) as error:
        return {"failed": str(error), "worker": f"{os.uname().nodename}:{os.getpid()}"}
    return {**manifest, "seconds": round(time.monotonic() - began, 3), "worker": f"{os.uname().nodename}:{os.getpid()}"}


def run_on_ray(batch: Batch, ray: Any) -> None:
    """Do what is left on a Ray cluster; a task whose node dies resumes elsewhere, from the run folder that all share.

    Args:
        batch: whose folder every node sees under the same path.
        ray: the module, connected.
    """
    # Retries are what a killed node costs: each resumes where the last checkpoint stands.
    remote = ray.remote(num_cpus=max(1, batch.threads), max_retries=-1)(draw_on_ray)
    waiting = {remote.remote(asdict(batch.task_of(row))): row for row in batch.left}
    while waiting:
        (ready, *_), _ = ray.wait(list(waiting), num_returns=1)
        row = waiting.pop(ready)
        try:
            result = ray.get(ready)
        except ray.exceptions.RayError as error:
            batch.finish(row, "failed", {}, f"Ray: {type(error).__name__}")
            continue
        if "failed" in result:
            batch.finish(row, "failed", {}, result["failed"], result["worker"])
        else:
            batch.finish(row, "done", result, worker=result["worker"])
