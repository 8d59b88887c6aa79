"""A real tritonserver on a repository of ours: networks, methods, and what happens when one of its processes is killed.

The environment of the server is made by a fixture, and where that can't be done the tests are skipped, with the reason.
"""

import json
import os
import queue
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from runtime.engines.bundle import Bundle
from serving.methods import Served, served_methods
from serving.repository import build_repository, check_repository, write_method
from serving.requests import parse_request
from serving.triton.configs import copy_name, model_name
from serving.triton.lanes import TritonLane
from serving.triton.remote import RemoteEngine, maker_of
from serving.triton.server import TritonServer
from tests.serving.conftest import ended, no_bundle, results, steps, until
from tests.serving.live import gateway
from tests.serving.test_pool import whole

grpc = pytest.importorskip("tritonclient.grpc")

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("triton")]


@pytest.fixture(scope="module")
def methods() -> dict[str, Served]:
    return served_methods(["tests.serving.toy", "runtime.lmconv"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, methods, environment: Path) -> Iterator[TritonServer]:
    folder = tmp_path_factory.mktemp("triton")
    build_repository(folder / "repository", [Bundle.load("mnist")], methods)
    shared = {"lmconv_sample_shared": methods["lmconv_sample"]}
    bundles = [Bundle.load("icons"), Bundle.load("mnist")]
    build_repository(folder / "repository", bundles, shared, networks="triton")
    _fewer(folder / "repository")
    write_method(folder / "repository", "toy", methods["toy"].home, jobs=2, networks="process")
    server = TritonServer(folder / "repository", folder / "work", environment, {"TGM_WORK": str(folder / "store")})
    server.start()
    yield server
    server.stop()
    assert not list(Path("/dev/shm").glob(f"{server.prefix}*"))


def _fewer(repository: Path) -> None:
    """Leave out what no test here needs: each model is a process that starts."""
    import shutil

    for name in ("icons_text_encoder", "icons_latent_encoder", "icons_latent_encoder_vjp", "icons_latent_decoder",
                 "icons_image_embedder", "lmconv_complete"):  # fmt: skip
        shutil.rmtree(repository / name)


@pytest.fixture
def client(server: TritonServer) -> Iterator[Any]:
    with grpc.InferenceServerClient(server.grpc) as client:
        yield client


def engine(server: TritonServer, role: str, *, shared: bool, bundle: str = "icons") -> RemoteEngine:
    spec = Bundle.load(bundle).specs[role]
    return maker_of(server.http if shared else server.grpc)(model_name(bundle, role), spec)


def denoiser_inputs(batch: int, seed: int = 0) -> tuple[torch.Tensor, ...]:
    draws = torch.Generator().manual_seed(seed)
    t = torch.randint(1000, (batch,), generator=draws)
    return torch.randn(batch, 4, 16, 16, generator=draws), t, torch.randn(batch, 17, 384, generator=draws)


# Networks


@pytest.mark.parametrize("shared", [True, False])
def test_a_network_gives_what_it_gives_in_process(server: TritonServer, shared: bool) -> None:
    ours = Bundle.load("icons", threads=1).engine("denoiser")
    theirs = engine(server, "denoiser", shared=shared)
    for batch in (1, 2, 5, 2):
        inputs = denoiser_inputs(batch)
        (expected,), (got,) = ours(*inputs), theirs(*inputs)
        assert got.shape == expected.shape
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
    bound = [torch.empty(2, 4, 16, 16)]
    inputs = denoiser_inputs(2)
    theirs.bind(inputs, bound)()
    torch.testing.assert_close(bound[0], theirs(*inputs)[0], rtol=0, atol=0)
    theirs.close()


def test_calls_of_several_jobs_are_batched(server: TritonServer, client) -> None:
    before = _executions(client)
    engines = [engine(server, "denoiser", shared=True) for _ in range(8)]
    inputs = [denoiser_inputs(2, seed) for seed in range(8)]
    alone = [engines[0](*each)[0] for each in inputs]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda pair: pair[0](*pair[1])[0], zip(engines, inputs, strict=True)))
    requests, executions = (now - then for now, then in zip(_executions(client), before, strict=True))
    assert requests == 16 and executions < 16
    for a, b in zip(alone, together, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    for each in engines:
        each.close()


def _executions(client) -> tuple[int, int]:
    (stats,) = client.get_inference_statistics("icons_denoiser").model_stats
    return stats.inference_stats.success.count, stats.execution_count


def test_malformed_requests_are_refused_and_the_server_lives(server: TritonServer, client) -> None:
    def value(name: str, array: np.ndarray, kind: str):
        given = grpc.InferInput(name, list(array.shape), kind)
        given.set_data_from_numpy(array)
        return given

    sample, context = np.zeros((1, 4, 16, 16), np.float32), np.zeros((1, 17, 384), np.float32)
    time_ = np.zeros((1, 1), np.int64)
    cases = [
        [value("sample", sample, "FP32")],
        [value("sample", sample[0], "FP32"), value("timestep", time_, "INT64"), value("context", context, "FP32")],
        [value("sample", sample, "FP32"), value("timestep", time_.astype(np.int32), "INT32"),
         value("context", context, "FP32")],
        [value("sample", sample, "FP32"), value("timestep", time_, "INT64"), value("context", context[:, :9], "FP32")],
        [value("sample", np.zeros((300, 4, 16, 16), np.float32), "FP32")],
    ]  # fmt: skip
    for case in cases:
        with pytest.raises(Exception, match="icons_denoiser"):
            client.infer("icons_denoiser", case)
    assert client.is_server_ready() and client.is_model_ready("icons_denoiser")


# Methods


def stream(client, model: str, document: object, each=lambda kind, data: None) -> tuple[dict, list[bytes]] | str:
    """Return the manifest and the files of a request, or the error."""
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    request = grpc.InferInput("REQUEST", [1], "BYTES")
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    request.set_data_from_numpy(np.array([text], dtype=np.object_))
    client.async_stream_infer(model, [request], enable_empty_final_response=True)
    try:
        while True:
            result, error = answers.get(timeout=60)
            if error is not None:
                return str(error)
            if result.get_response().parameters["triton_final_response"].bool_param:
                continue
            kind, data = (result.as_numpy(name)[0].decode() for name in ("KIND", "DATA"))
            if kind == "done":
                return json.loads(data), list(result.as_numpy("CONTENT"))
            each(kind, json.loads(data))
    finally:
        client.stop_stream(cancel_requests=True)


def toy(methods, **options: object):
    return parse_request({"method": "toy", "options": options}, methods, no_bundle)


def test_a_method_draws_to_the_bytes_of_the_command(client, methods, tmp_path: Path) -> None:
    seen: list[str] = []
    options = {"seed": 3, "steps": 30, "pause_s": 0.02, "picture": None}
    drawn = stream(client, "toy", {"options": {"seed": 3, "steps": 30, "pause_s": 0.02}}, lambda k, _: seen.append(k))
    assert isinstance(drawn, tuple), drawn
    assert {"step", "preview", "note"} <= set(seen)
    files = {output["name"]: content for output, content in zip(drawn[0]["outputs"], drawn[1], strict=True)}
    assert files == whole(toy(methods, **options), tmp_path / "whole")


@pytest.mark.parametrize(
    ("document", "message"),
    [(b"{", "REQUEST"), (b"[]", "REQUEST"), ({"options": {"steps": 0}}, "--steps: expected 1 to 100000"),
     ({"options": {"picture": "/etc/passwd"}}, "--picture: expected a file that you send"),
     ({"options": {}, "job": "../x"}, "job: expected"),
     ({"files": {"picture": {"name": "a", "base64": "?"}}}, "base64"),
     ({"options": {"die": "nan" * 1000}, "files": 3}, "files: expected an object")],
)  # fmt: skip
def test_a_wrong_request_is_refused_in_the_commands_words(client, document: object, message: str) -> None:
    assert message in str(stream(client, "toy", document))


def test_a_file_comes_with_the_request(client) -> None:
    files = {"picture": {"name": "a.png", "base64": "MTIzNDU="}}
    drawn = stream(client, "toy", {"options": {"steps": 2}, "files": files})
    assert isinstance(drawn, tuple), drawn
    assert min(map(float, drawn[1][1].split())) > 10, "five bytes a step"


def test_who_goes_away_ends_the_run_and_may_come_back(client, methods, tmp_path: Path) -> None:
    options = {"seed": 4, "steps": 120, "pause_s": 0.03}
    reached: list[int] = []

    def leave(kind: str, data: dict) -> None:
        if kind == "step":
            reached.append(data["done"])
            if data["done"] >= 5:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stream(client, "toy", {"options": options}, leave)
    resumed: list[int] = []
    drawn = stream(client, "toy", {"options": options}, lambda k, d: resumed.append(d["done"]) if k == "step" else None)
    assert isinstance(drawn, tuple), drawn
    assert resumed[0] >= reached[-1]
    assert dict(zip(("toy.svg", "toy.txt"), drawn[1], strict=True)) == whole(toy(methods, **options), tmp_path / "w")


def test_networks_of_the_server_draw_the_same_digits(client) -> None:
    document = {"options": {"count": 2, "seed": 5}}
    alone, shared = (stream(client, model, document) for model in ("lmconv_sample", "lmconv_sample_shared"))
    assert isinstance(alone, tuple) and isinstance(shared, tuple), (alone, shared)
    assert alone[1] == shared[1]
    assert shared[0]["bundle"]["triton"] == "this server"


def test_a_killed_network_is_loaded_again_and_the_job_that_calls_it_draws_the_same_digits(server, tmp_path) -> None:
    method = served_methods(["runtime.lmconv"])["lmconv_sample"]
    lane = TritonLane("triton", server, {method.home: "lmconv_sample_shared"}, ["mnist_step"])
    with gateway(tmp_path / "store", modules=("runtime.lmconv",), use=[lane]) as (running, client):
        document = {"method": "lmconv_sample", "options": {"count": 2, "seed": 6}}
        name = client.post("/v1/jobs", json=document).json()["id"]
        until(lambda: steps(running.service.jobs, name) >= 20)
        (killed,) = server.stubs("mnist_step")
        os.kill(killed, signal.SIGKILL)
        assert ended(running.service.jobs, name, 60.0).message is None
        assert killed not in server.stubs("mnist_step") and server.dead(["mnist_step"]) == []
        events = [event.kind for event in running.service.jobs.store.events(0, name)]
        assert events.count("running") == 1, "the job itself goes on"
        folder = Path(server.variables["TGM_WORK"]) / "jobs" / name / "run" / "result"
        (drawn,) = [path.read_bytes() for path in sorted(folder.iterdir())]
    with grpc.InferenceServerClient(server.grpc) as own:
        alone = stream(own, "lmconv_sample", {"options": {"count": 2, "seed": 6}})
    assert isinstance(alone, tuple) and alone[1] == [drawn]


# The gateway before it


@pytest.fixture
def front(server: TritonServer, methods, tmp_path: Path) -> Iterator[Any]:
    store = Path(server.variables["TGM_WORK"])
    there = {method.home: name for name, method in methods.items() if (server.repository / name).is_dir()}
    lane = TritonLane("triton", server, there)
    with gateway(store, modules=("tests.serving.toy",), use=[lane]) as pair:
        yield pair


def test_killed_processes_and_servers_end_in_the_same_bytes(server, front, methods, tmp_path: Path) -> None:
    running, client = front
    options = {"seed": 6, "steps": 150, "pause_s": 0.03}
    name = client.post("/v1/jobs", json={"method": "toy", "options": options}).json()["id"]
    jobs = running.service.jobs
    until(lambda: steps(jobs, name) >= 10)
    os.kill(server.stubs("toy")[0], signal.SIGKILL)
    until(lambda: len([e for e in jobs.store.events(0, name) if e.kind == "running"]) == 2)
    until(lambda: steps(jobs, name) >= 60)
    starts = server.starts
    psutil.Process(server.process.pid).kill()
    assert ended(jobs, name, 120.0).message is None
    assert server.starts == starts + 1
    assert results(jobs.store, name) == whole(toy(methods, **options), tmp_path / "whole")
    reasons = [event.data["reason"] for event in jobs.store.events(0, name) if event.data.get("reason")]
    assert "has died; loaded again" in reasons[0] and len(reasons) == 2


def test_one_of_two_killed_processes_resumes_and_the_other_does_not_notice(server, methods, tmp_path: Path) -> None:
    home = methods["toy"].home
    lanes = [TritonLane(f"triton-{n}", server, {home: copy_name("toy", n)}) for n in (1, 2)]
    store = Path(server.variables["TGM_WORK"])
    with gateway(store, modules=("tests.serving.toy",), use=lanes) as (running, client):
        jobs = running.service.jobs
        options = [{"seed": seed, "steps": 150, "pause_s": 0.05} for seed in (21, 22)]
        names = [client.post("/v1/jobs", json={"method": "toy", "options": each}).json()["id"] for each in options]
        until(lambda: all(steps(jobs, name) >= 10 for name in names))
        assert len({*server.stubs("toy"), *server.stubs("toy-2")}) == 2
        killed, began = server.stubs("toy-2")[0], time.monotonic()
        os.kill(killed, signal.SIGKILL)
        begun = {name: [] for name in names}

        def count() -> int:
            for name in names:
                begun[name] = [event for event in jobs.store.events(0, name) if event.kind == "running"]
            return sum(map(len, begun.values()))

        until(lambda: count() == 3, 30.0)
        print(f"resumed {time.monotonic() - began:.1f} s after the kill")
        for name, each in zip(names, options, strict=True):
            assert ended(jobs, name).message is None
            assert results(jobs.store, name) == whole(toy(methods, **each), tmp_path / name)
        assert count() == 3, "the job beside it went on"
        assert killed not in server.stubs("toy-2") and server.dead(["toy", "toy-2", "toy-3"]) == ["toy-3"]


def test_a_dead_process_is_found_by_the_probe(server, front) -> None:
    _, client = front
    assert client.post("/v1/health/probe").json()["probes"]["toy"]["ok"]
    os.kill(server.stubs("toy")[0], signal.SIGKILL)
    assert server.call("GET", "/v2/models/toy/ready") == 200, "Triton itself does not know"
    probed = client.post("/v1/health/probe").json()
    assert probed["ready"] and probed["probes"]["toy"]["ok"] and server.stubs("toy")


def test_a_dead_process_is_replaced_though_nobody_asks(server, front) -> None:
    _, client = front
    assert client.get("/v1/health/ready").status_code == 200
    os.kill(server.stubs("toy")[0], signal.SIGKILL)
    answer = client.get("/v1/health/ready")
    assert answer.status_code == 503 and answer.json()["missing"] == ["toy"], "readiness says the truth"
    until(lambda: client.get("/v1/health/ready").status_code == 200, 60.0)
    assert server.stubs("toy")


def test_cancel_through_the_gateway(server, front) -> None:
    running, client = front
    document = {"method": "toy", "options": {"seed": 7, "steps": 5000, "pause_s": 0.02}}
    name = client.post("/v1/jobs", json=document).json()["id"]
    until(lambda: steps(running.service.jobs, name) >= 3)
    client.post(f"/v1/jobs/{name}/cancel")
    assert ended(running.service.jobs, name, 10.0).state == "cancelled"
    quick = client.post("/v1/jobs", json={"method": "toy", "options": {"seed": 8}}).json()["id"]
    assert ended(running.service.jobs, quick, 20.0).state == "done"


# Lifecycle


def test_load_and_unload_at_once(server: TritonServer, client) -> None:
    def turn(number: int) -> None:
        for verb in ("unload", "load") * 2:
            server.call("POST", f"/v2/repository/models/icons_text_embedder/{verb}")

    threads = [threading.Thread(target=turn, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    until(lambda: server.call("POST", "/v2/repository/models/icons_text_embedder/load") == 200, 30.0)
    until(lambda: client.is_model_ready("icons_text_embedder"), 30.0)
    assert client.is_server_ready()


def test_another_version_can_be_asked_for(server: TritonServer, client) -> None:
    import shutil

    name = "icons_text_embedder"
    folder = server.repository / name
    (version,) = (path.name for path in folder.iterdir() if path.is_dir())
    shutil.copytree(folder / version, folder / "7")
    config = {
        **client.get_model_config(name, as_json=True)["config"],
        "version_policy": {"specific": {"versions": [7]}},
    }
    client.load_model(name, config=json.dumps(config))
    until(lambda: client.is_model_ready(name, "7"), 10.0)
    client.unload_model(name)
    until(lambda: not client.is_model_ready(name, "7"), 10.0)
    until(lambda: server.call("POST", f"/v2/repository/models/{name}/load") == 200, 30.0)
    until(lambda: client.is_model_ready(name, version), 30.0)
    shutil.rmtree(folder / "7")


def test_a_wrong_checksum_is_found_before_anything_starts(server: TritonServer) -> None:
    (model,) = (server.repository / "icons_text_embedder").glob("*/model.onnx")
    content = model.read_bytes()
    model.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert "is not what its spec says (SHA-256)" in check_repository(server.repository)[0]
    model.write_bytes(content)
    assert check_repository(server.repository) == []


def test_huge_bodies_do_not_end_it(server: TritonServer, client) -> None:
    drawn = stream(
        client, "toy", {"options": {"steps": 1}, "files": {"picture": {"name": "a", "base64": "A" * (8 << 20)}}}
    )
    assert isinstance(drawn, tuple | str)
    began = time.monotonic()
    until(client.is_server_ready, 10.0)
    assert time.monotonic() - began < 10.0
