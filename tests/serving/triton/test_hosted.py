"""A method inside tritonserver, with a stand-in for what Triton's python backend gives a model."""

import base64
import importlib
import json
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from runtime.command.method import draw
from runtime.errors import UserError
from runtime.loop.signals import StoppedRun
from serving.triton.hosted import WORK, Host
from tests.serving import toy

HOME = "tests.serving.toy:METHOD"


class TritonError(Exception):
    CANCELLED, INVALID_ARG = "cancelled", "invalid"

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class Sender:
    """What a model sends its responses by; the client goes after a number of them."""

    def __init__(self, leaves_after: int = 1000) -> None:
        self.responses: list[Any] = []
        self.finals = 0
        self.leaves_after = leaves_after

    def is_cancelled(self) -> bool:
        return len(self.responses) >= self.leaves_after

    def send(self, response: Any = None, flags: int = 0) -> None:
        self.finals += flags
        if response is not None:
            self.responses.append(response)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setenv(WORK, str(tmp_path / "work"))
    return Host({"home": HOME})


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the model as Triton makes it."""
    monkeypatch.setenv(WORK, str(tmp_path / "work"))
    backend = SimpleNamespace(
        TRITONSERVER_RESPONSE_COMPLETE_FINAL=1,
        TritonError=TritonError,
        Tensor=lambda name, values: SimpleNamespace(name=name, values=values),
        InferenceResponse=lambda tensors=(), error=None: SimpleNamespace(
            error=error, **{tensor.name: tensor.values for tensor in tensors}
        ),
        get_input_tensor_by_name=lambda request, name: SimpleNamespace(as_numpy=lambda: np.array([request[name]])),
    )
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", backend)
    monkeypatch.delitem(sys.modules, "serving.models.model", raising=False)
    made = importlib.import_module("serving.models.model").TritonPythonModel()
    parameters = {"home": {"string_value": HOME}, "networks": {"string_value": "process"}}
    made.initialize({"model_config": json.dumps({"parameters": parameters})})
    monkeypatch.delitem(sys.modules, "serving.models.model", raising=False)
    return made


def request_of(**document: Any) -> dict[str, bytes]:
    return {"REQUEST": json.dumps(document).encode()}


def test_a_request_ends_in_the_bytes_of_the_plain_call(model: Any, tmp_path: Path) -> None:
    sender = Sender()
    model.draw(request_of(options={"text": "x", "seed": 4}), sender)
    config = toy.Config(text="x", seed=4)
    toy.write(config, None, draw(toy.METHOD, config), tmp_path / "toy.svg")  # pyright: ignore[reportArgumentType]
    last = sender.responses[-1]
    assert last.KIND[0] == "done"
    names = [output["name"] for output in json.loads(last.DATA[0])["outputs"]]
    assert dict(zip(names, last.CONTENT, strict=True)) == {
        name: (tmp_path / name).read_bytes() for name in ("toy.svg", "toy.txt")
    }
    assert {response.KIND[0] for response in sender.responses} >= {"step", "done"}
    assert sender.finals == 1


def test_who_goes_ends_the_run_and_the_same_request_resumes_it(model: Any) -> None:
    document = request_of(options={"steps": 40, "pause_s": 0.02, "seed": 1})
    gone, back, whole = Sender(leaves_after=1), Sender(), Sender()
    model.draw(document, gone)
    assert gone.responses[-1].error.code == TritonError.CANCELLED
    assert gone.finals == 1
    model.draw(document, back)
    # Another name of a job has a folder of its own, so this run begins anew.
    model.draw(request_of(options={"steps": 40, "seed": 1}, job="whole"), whole)
    assert list(back.responses[-1].CONTENT) == list(whole.responses[-1].CONTENT)
    first = next(json.loads(response.DATA[0]) for response in back.responses if response.KIND[0] == "step")
    assert first["done"] > 1


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b"{", "REQUEST: expected a JSON object"),
        (b'{"options": {"seed": 1}, "options": {}}', "the key 'options' appears twice"),
        (b"[1]", "expected a JSON object, got list"),
        (b'{"files": 1}', "files: expected an object"),
        (b'{"files": {"picture": {"name": "a.png"}}}', "expected 'name' and 'base64'"),
        (b'{"files": {"picture": {"name": "a.png", "base64": "?"}}}', "expected base64"),
        (b'{"job": "../up"}', "job: expected 1 to 64 letters"),
        (b'{"options": {"seed": -1}}', "seed"),
        (b'{"options": {"colour": "red"}}', "colour"),
    ],
)
def test_what_is_no_request_is_an_error_in_words(model: Any, document: bytes, message: str) -> None:
    sender = Sender()
    model.draw({"REQUEST": document}, sender)
    (response,) = sender.responses
    assert response.error.code == TritonError.INVALID_ARG
    assert message in str(response.error)
    assert sender.finals == 1


def test_a_request_of_more_than_a_mebibyte_is_parsed_as_strictly(host: Host) -> None:
    picture = base64.b64encode(bytes(2 << 20)).decode()
    files = {"picture": {"name": "zero.png", "base64": picture}}
    task = host.task_of(json.dumps({"files": files, "threads": 2}).encode())
    assert Path(task.files["picture"]).stat().st_size == 2 << 20
    assert task.threads == 2
    with pytest.raises(UserError, match="the key 'job' appears twice"):
        host.task_of(f'{{"job": "a", "job": "b", "pad": "{picture}"}}'.encode())


def test_the_threads_of_a_request_are_a_whole_number_or_one(host: Host) -> None:
    assert [host.task_of(json.dumps({"threads": n}).encode()).threads for n in (3, 0, 1025, True, "4", 2.0)] == [
        3,
        *[1] * 5,
    ]


def test_a_stopped_draw_says_so(host: Host) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(StoppedRun):
        host.draw(b'{"options": {"steps": 50}}', lambda kind, data, content: None, stop, lambda: False)
