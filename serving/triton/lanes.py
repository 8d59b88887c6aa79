"""A lane that lets a Triton server do jobs: a stream to the method's model, and a way back where its process dies.

Triton says nothing when the process of a decoupled model is killed, and still calls it ready. So the lane looks for
the process itself, and has the model loaded again; the job resumes from its run folder, which both sides see.
"""

import base64
import json
import logging
import queue
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from serving.lanes import Report
from serving.triton.server import Triton
from serving.work import Task

_LOG = logging.getLogger("serving")

LOOK_S = 0.5
"""Seconds of silence after which the lane looks whether the process is there."""

SILENT_S = 900.0
"""Seconds of silence after which a process that is there counts as dead: no step takes so long."""


class TritonLane:
    """A stream to a server.

    Args:
        name: for logs.
        server: started where it does not run.
        model_of: name of the model by the home of its method.
        networks: models of networks that those call, where each is a process of the server.
    """

    def __init__(self, name: str, server: Triton, model_of: Mapping[str, str], networks: Sequence[str] = ()) -> None:
        self.name, self.server, self.model_of, self.networks = name, server, model_of, networks
        self._client: Any = None

    def run(self, task: Task) -> Iterator[Report]:
        """Do a job; see `serving.lanes.Lane.run`."""
        import tritonclient.grpc as client
        from tritonclient.utils import InferenceServerException

        self.server.start()
        model, answers = self.model_of[task.home], queue.SimpleQueue()
        # A stream is of one job: to end it is to cancel that job and no other.
        self._client = client.InferenceServerClient(self.server.grpc)
        try:
            self._client.start_stream(lambda result, error: answers.put((result, error)))
            request = client.InferInput("REQUEST", [1], "BYTES")
            request.set_data_from_numpy(np.array([request_of(task)], dtype=np.object_))
            self._client.async_stream_infer(model, [request], enable_empty_final_response=True)
            yield from self._reports(model, answers)
        except InferenceServerException as error:
            yield "died", {"reason": f"tritonserver: {error}"[:300]}
        finally:
            stream, self._client = self._client, None
            if stream is not None:
                stream.stop_stream(cancel_requests=True)
                stream.close()

    def _reports(self, model: str, answers: "queue.SimpleQueue[tuple[Any, Any]]") -> Iterator[Report]:
        """Yield what the model reports, to the end or to its death."""
        silent_s = 0.0
        while True:
            try:
                result, error = answers.get(timeout=LOOK_S)
            except queue.Empty:
                silent_s += LOOK_S
                if not self.server.stubs(model) or silent_s > SILENT_S:
                    yield "died", {"reason": self._revive(model, silent_s > SILENT_S)}
                    return
                # The job itself waits for a network that has died, and makes its call again.
                self._load(self.server.dead(self.networks))
                continue
            silent_s = 0.0
            if error is not None:
                yield self._end(model, str(error))
                return
            if result.get_response().parameters["triton_final_response"].bool_param:
                continue
            kind, data = (result.as_numpy(name)[0].decode() for name in ("KIND", "DATA"))
            yield kind, json.loads(data)
            if kind == "done":
                return

    def _end(self, model: str, message: str) -> Report:
        """Return what an error of the server means."""
        if "stopped after step" in message or "CANCELLED" in message.upper():
            return "stopped", {}
        # The connection goes a moment before the process is gone, so its end alone says that the server has died.
        if "StatusCode.UNAVAILABLE" in message or not self.server.alive():
            return "died", {"reason": f"tritonserver has ended: {message}"[:300]}
        if not self.server.stubs(model):
            return "died", {"reason": self._revive(model)}
        # The status stands in brackets before what the method says.
        return "failed", {"message": message.partition("] ")[2] or message}

    def _revive(self, model: str, silent: bool = False) -> str:
        """Have a model loaded again whose process has died, or has been silent for long; return what happened."""
        if not self.server.alive():
            return "tritonserver has ended"
        loaded = self.server.reload(model, alive=silent)
        return f"the process of model '{model}' has died" + ("; loaded again" if loaded else "; it does not load")

    def stop(self) -> None:
        """Let the job end between two steps: the model sees that its client has gone."""
        stream = self._client
        if stream is not None:
            # The answers that the run still gives, its end among them, are wanted: only the request is cancelled.
            stream.stop_stream(cancel_requests=True)

    def kill(self) -> None:
        """Give the stream up."""
        self.stop()

    def missing(self) -> list[str]:
        """Return the models whose process has died, which Triton itself goes on calling ready."""
        if not self.server.alive():
            return ["tritonserver"]
        return self.server.dead([*self.model_of.values(), *self.networks])

    def heal(self) -> None:
        """Start the server again if it has died, and load models whose process has."""
        self.server.start()
        self._load(self.missing())

    def _load(self, models: Sequence[str]) -> None:
        for model in models:
            _LOG.warning("model %s: its process has died; it is loaded again", model)
            self.server.reload(model)

    def close(self) -> None:
        """End; the server is whoever's that made it."""


def request_of(task: Task) -> bytes:
    """Return a job as the model of its method takes it."""
    options = {name: value for name, value in task.request["options"].items() if name not in task.request["files"]}
    options.pop("out", None)
    files = {
        option: {"name": file["name"], "base64": base64.b64encode(Path(task.files[option]).read_bytes()).decode()}
        for option, file in task.request["files"].items()
    }
    document = {"options": options, "files": files, "job": task.job, "threads": task.threads}
    return json.dumps(document).encode()
