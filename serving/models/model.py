"""One model for every method: unpack a request, draw, pack what happens. Triton's python backend runs it, decoupled.

REQUEST is JSON: `{"options": {...}, "files": {option: {"name": ..., "base64": ...}}, "job": id}`; only the options are
needed. Each response has KIND (step, preview, note, done), DATA (JSON) and CONTENT (the files). A client that cancels
ends the run between two steps; the same request again resumes it.
"""

import json
import threading

import numpy as np
import triton_python_backend_utils as pb  # pyright: ignore[reportMissingImports]

from runtime.errors import UserError
from runtime.loop.signals import StoppedRun
from serving.triton.hosted import Host

FINAL = pb.TRITONSERVER_RESPONSE_COMPLETE_FINAL


class TritonPythonModel:
    """The entry that Triton looks for."""

    def initialize(self, args: dict[str, str]) -> None:
        """Import the method that the configuration names."""
        parameters = json.loads(args["model_config"])["parameters"]
        self.host = Host({name: value["string_value"] for name, value in parameters.items()}, pb)

    def execute(self, requests: list) -> None:
        """Do requests one after the other; each instance of the model is a process of its own."""
        for request in requests:
            self.draw(request, request.get_response_sender())

    def draw(self, request, sender) -> None:
        """Draw, and send what happens."""
        stop = threading.Event()

        def send(kind: str, data: dict, content: list[bytes]) -> None:
            if sender.is_cancelled():
                stop.set()
            values = {"KIND": [kind], "DATA": [json.dumps(data)], "CONTENT": content}
            tensors = [pb.Tensor(name, np.array(value, dtype=np.object_)) for name, value in values.items()]
            sender.send(pb.InferenceResponse(tensors))

        try:
            document = pb.get_input_tensor_by_name(request, "REQUEST").as_numpy()[0]
            self.host.draw(document, send, stop, sender.is_cancelled)
            sender.send(flags=FINAL)
        except StoppedRun as stopped:
            error = pb.TritonError(str(stopped), pb.TritonError.CANCELLED)
            sender.send(pb.InferenceResponse(error=error), flags=FINAL)
        except (UserError, FloatingPointError, OSError) as problem:
            error = pb.TritonError(str(problem), pb.TritonError.INVALID_ARG)
            sender.send(pb.InferenceResponse(error=error), flags=FINAL)
