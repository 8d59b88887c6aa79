import hashlib
import json
import threading
from pathlib import Path

import pytest

from runtime.command.method import draw
from runtime.engines.backends import trt_driver
from runtime.engines.backends.graphs import graph_of
from runtime.engines.backends.plans import write_plan
from runtime.engines.backends.table import Choice
from runtime.engines.bundle import Bundle
from runtime.errors import UserError
from runtime.loop.signals import StoppedRun
from serving.work import Task, clients_words, describe_file, media_type, perform, plans_of
from tests.bundles import make_tiny_bundle
from tests.serving import toy


def task_of(request, folder: Path, **files: str) -> Task:
    return Task(job="j", home="tests.serving.toy:METHOD", request=request.to_json(), folder=str(folder), files=files)


def ignore(*_: object) -> None:
    pass


def test_a_job_ends_in_the_bytes_of_the_plain_call(ask, tmp_path: Path) -> None:
    manifest = perform(task_of(ask(text="x", seed=4), tmp_path / "job"), report=ignore, stop=threading.Event())
    config = toy.Config(text="x", seed=4)
    toy.write(config, None, draw(toy.METHOD, config), tmp_path / "toy.svg")  # pyright: ignore[reportArgumentType]
    names = [output["name"] for output in manifest["outputs"]]
    assert names == ["toy.svg", "toy.txt"]
    for name in names:
        assert (tmp_path / "job" / "run" / "result" / name).read_bytes() == (tmp_path / name).read_bytes()
    assert manifest["outputs"][0] == describe_file(tmp_path / "toy.svg")
    assert manifest["seed"] == 4 and manifest["versions"]["tgm"] and json.loads(json.dumps(manifest)) == manifest


def test_a_stopped_job_resumes_to_the_same_bytes(ask, tmp_path: Path) -> None:
    request, stop = ask(seed=1, steps=9), threading.Event()

    def stop_at(event: object, *_: object) -> None:
        if getattr(event, "done", 0) == 4:
            stop.set()

    with pytest.raises(StoppedRun):
        perform(task_of(request, tmp_path / "cut"), report=stop_at, stop=stop)
    for folder in ("cut", "whole"):
        perform(task_of(request, tmp_path / folder), report=ignore, stop=threading.Event())
    results = [sorted((tmp_path / folder / "run" / "result").iterdir()) for folder in ("cut", "whole")]
    for a, b in zip(*results, strict=True):
        assert a.read_bytes() == b.read_bytes()


def test_files_are_checked_and_have_their_names(ask, tmp_path: Path) -> None:
    content = tmp_path / "content"
    content.write_bytes(b"12345")
    digest = hashlib.sha256(b"12345").hexdigest()
    request = ask(picture={"name": "photo.png", "sha256": digest})
    perform(task_of(request, tmp_path / "job", picture=str(content)), report=ignore, stop=threading.Event())
    assert (tmp_path / "job" / "run" / "inputs" / "picture" / "photo.png").read_bytes() == b"12345"
    content.write_bytes(b"other")
    with pytest.raises(UserError, match="not what was sent"):
        perform(task_of(request, tmp_path / "other", picture=str(content)), report=ignore, stop=threading.Event())


def test_errors_name_files_as_the_client_does(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    path = folder / "sent" / "picture" / "notes.txt"
    for error in (UserError(f"'{path}' is not a picture"), FileNotFoundError(2, "No such file", str(path))):
        with pytest.raises(UserError, match=r"'notes\.txt'") as caught, clients_words(folder):
            raise error
        assert str(tmp_path) not in str(caught.value)
    with pytest.raises(UserError, match=r"^'run/state' is damaged$"), clients_words(folder):
        raise UserError(f"'{folder / 'run' / 'state'}' is damaged")
    with pytest.raises(UserError, match="as they are, /elsewhere"), clients_words(folder):
        raise UserError("other words stay as they are, /elsewhere")


def test_what_a_file_is_depends_on_its_name_alone() -> None:
    names = ("a.svg", "a.png", "a.glb", "a.mp4", "a.json", "a.ddpm", "a")
    expected = ["image/svg+xml", "image/png", "model/gltf-binary", "video/mp4", "application/json"]
    assert [media_type(name) for name in names] == [*expected, *["application/octet-stream"] * 2]


def test_a_manifest_names_the_plan_that_ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = Bundle.load(make_tiny_bundle(tmp_path / "tiny"))
    graph = graph_of(bundle, "denoiser")
    key = graph.key("tensorrt", "10.1", "sm89", "fp16")
    write_plan(graph.plans, key, b"native code")
    monkeypatch.setattr(trt_driver, "_keys", lambda *_: [key])
    choices = {"denoiser": Choice("tensorrt", "cuda", "fp16"), "latent_encoder": Choice("ort", "cpu")}
    assert plans_of(bundle, choices) == {"denoiser": hashlib.sha256(b"native code").hexdigest()}
    assert plans_of(bundle, bundle.choices()) == {}


def test_the_run_of_another_version_begins_anew(ask, tmp_path: Path) -> None:
    request = ask(seed=2)
    perform(task_of(request, tmp_path / "job"), report=ignore, stop=threading.Event())
    file = tmp_path / "job" / "run" / "config.json"
    before = json.loads(file.read_text())
    file.write_text(json.dumps({**before, "version": "0.0.1"}))
    perform(task_of(request, tmp_path / "job"), report=ignore, stop=threading.Event())
    assert json.loads(file.read_text()) == before
