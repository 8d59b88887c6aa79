"""A method inside tritonserver: what `models/model.py` leaves to the package, so that it stays unpack, draw, pack."""

import base64
import binascii
import hashlib
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.command.method import Method
from runtime.engines.strict_json import parse_object
from runtime.errors import UserError
from runtime.files import replace_file
from serving.bundles import Offers
from serving.methods import Served, method_at
from serving.previews import Previews
from serving.requests import parse_request
from serving.work import Task, perform

if TYPE_CHECKING:
    from runtime.engines.bundle import Bundle

WORK = "TGM_WORK"
"""Environment variable of the folder of jobs; a run that is cut resumes from there."""

BUNDLES = "TGM_BUNDLES"
"""Environment variable of folders of bundles, with the system's separator between them."""

THREADS = "TGM_THREADS"
"""Environment variable of the threads of a job."""

GREATEST_MESSAGE = 2**31 - 1
"""Bytes of a request, its files among them: no message of gRPC is larger."""

POLL_S = 0.1
"""Seconds between two looks at whether the client still wants its drawing."""

Send = Callable[[str, dict[str, Any], list[bytes]], None]


class Host:
    """A method that Triton offers.

    Args:
        parameters: of the model's configuration: `home`, and `networks`, which is process or triton.
        backend: module of Triton's python backend, for networks that the server runs.
    """

    def __init__(self, parameters: Mapping[str, str], backend: Any = None) -> None:
        self.home, self.networks, self.backend = parameters["home"], parameters.get("networks", "process"), backend
        method = method_at(self.home)
        name = method.name.replace(" ", "_").replace("-", "_")
        self.served = {name: Served(name, self.home, method)}
        self.name = name
        self.offers = Offers([folder for folder in os.environ.get(BUNDLES, "").split(os.pathsep) if folder])
        self.work = Path(os.environ.get(WORK, "work")).absolute()

    def draw(self, text: bytes, send: Send, stop: threading.Event, cancelled: Callable[[], bool]) -> None:
        """Draw what a request asks for, and send what happens.

        Args:
            text: JSON of the request.
            send: takes kind, data and content of a response.
            stop: set to end the run between two steps.
            cancelled: whether the client has gone.

        Raises:
            UserError: the request cannot be done.
            StoppedRun: the client has gone; the same request resumes the run.
        """
        task = self.task_of(text)
        folder = Path(task.folder) / "preview"

        def report(kind: str, data: dict[str, Any]) -> None:
            content = [(folder / data["file"]).read_bytes()] if kind == "preview" else []
            send(kind, data, content)

        ended = threading.Event()
        # Between two reports there may be a minute: who has gone must not keep the lane that long.
        watch = threading.Thread(target=_watch, args=(stop, ended, cancelled), daemon=True)
        watch.start()
        try:
            load = self.load if self.networks == "triton" else None
            manifest = perform(task, report=Previews(folder, report), stop=stop, load=load)
        finally:
            ended.set()
            watch.join()
        results = Path(task.folder) / "run" / "result"
        send("done", manifest, [(results / output["name"]).read_bytes() for output in manifest["outputs"]])

    def task_of(self, text: bytes) -> Task:
        """Return what a request asks for, its files written into the folder of jobs.

        Raises:
            UserError: it is not JSON, or something in it cannot be used.
        """
        document = parse_object(text, "REQUEST", limit=GREATEST_MESSAGE)
        files = document.get("files", {})
        options = dict(document.get("options", {})) if isinstance(document.get("options", {}), dict) else {}
        paths = {}
        if not isinstance(files, dict):
            raise UserError("files: expected an object, got something else")
        for option, file in files.items():
            content = _decode(option, file)
            digest = hashlib.sha256(content).hexdigest()
            path = self.work / "files" / digest
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.is_file():
                replace_file(path, content)
            options[option] = {"name": file["name"], "sha256": digest}
            paths[option] = str(path)
        request = parse_request(
            {"method": self.name, "options": options}, self.served, self.offers.digest_of,
            defaults=self.offers.defaults_of,
        )  # fmt: skip
        job = document.get("job", request.key[:24])
        if not isinstance(job, str) or not job.replace("-", "").replace("_", "").isalnum() or len(job) > 64:
            raise UserError(f"job: expected 1 to 64 letters, digits, '-' and '_', got {job!r:.80}")
        threads = document.get("threads", int(os.environ.get(THREADS, "1")))
        return Task(
            job=job,
            home=self.home,
            request=request.to_json(),
            folder=str(self.work / "jobs" / job),
            files=paths,
            threads=threads if type(threads) is int and 1 <= threads <= 1024 else 1,
            bundle=str(self.offers.folders().get(str(request.values.get("bundle")), "")),
            networks="this server" if self.networks == "triton" else "",
        )

    def load(self, task: Task, method: Method[Any], name: str) -> "Bundle":
        """Return a bundle whose networks the server runs, for all jobs together."""
        from serving.triton.remote import bls_maker, remote_bundle

        return remote_bundle(task, method, name, "bls", bls_maker(self.backend))


def _watch(stop: threading.Event, ended: threading.Event, cancelled: Callable[[], bool]) -> None:
    while not ended.wait(POLL_S):
        if cancelled():
            stop.set()
            return


def _decode(option: str, file: object) -> bytes:
    """Return the content of a file that a request carries."""
    if not isinstance(file, dict) or not isinstance(file.get("name"), str) or not isinstance(file.get("base64"), str):
        raise UserError(f"files: {option!r:.40}: expected 'name' and 'base64', got {file!r:.60}")
    try:
        return base64.b64decode(file["base64"], validate=True)
    except (binascii.Error, ValueError):
        raise UserError(f"files: {option!r:.40}: expected base64, got something else") from None
