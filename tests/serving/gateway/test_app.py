"""The gateway over real connections; jobs are done in this process."""

import hashlib
import json
import re
import socket
import time
from pathlib import Path

import httpx
import pytest

from serving.client import Client
from serving.gateway.access import Token
from tests.serving.conftest import until
from tests.serving.live import events, gateway

SECRETS = {"ann": "a long secret", "bob": "another one"}
TOKENS = tuple(Token(name, hashlib.sha256(secret.encode()).hexdigest(), 1) for name, secret in SECRETS.items())


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory):
    with gateway(tmp_path_factory.mktemp("live") / "store") as (server, client):
        yield server, client


@pytest.fixture
def client(live) -> httpx.Client:
    return live[1]


def submit(client: httpx.Client, **options: object) -> dict:
    response = client.post("/v1/jobs", json={"method": "toy", "options": options})
    assert response.status_code in (200, 201), response.text
    return response.json()


def finished(client: httpx.Client, name: str) -> dict:
    return until(lambda: (job := client.get(f"/v1/jobs/{name}").json())["state"] in ("done", "failed") and job)


def test_a_job_from_submission_to_its_files(client: httpx.Client) -> None:
    job = submit(client, text="x", seed=1)
    assert job["options"]["count"] == 5 and job["state"] in ("queued", "running")
    done = finished(client, job["id"])
    assert done["state"] == "done" and done["done"] == done["total"] == 10
    assert [output["name"] for output in done["outputs"]] == ["toy.svg", "toy.txt"]
    assert done["command"] == "python -m runtime.toy x --seed 1"
    for output in done["outputs"]:
        response = client.get(f"/v1/jobs/{job['id']}/files/{output['name']}")
        assert hashlib.sha256(response.content).hexdigest() == output["sha256"]
        assert "sandbox" in response.headers["content-security-policy"]
        assert response.headers["x-content-type-options"] == "nosniff"
    manifest = client.get(f"/v1/jobs/{job['id']}/manifest").json()
    assert manifest["seed"] == 1 and manifest["outputs"] == done["outputs"]
    assert client.get(f"/v1/jobs/{job['id']}/preview").status_code == 200
    listed = client.get("/v1/jobs").json()
    assert job["id"] in [other["id"] for other in listed["jobs"]] and listed["last_event"] > 0


def test_the_same_again_is_there_at_once(client: httpx.Client) -> None:
    first = client.post("/v1/jobs", json={"method": "toy", "options": {"seed": 2}})
    assert first.status_code == 201
    finished(client, first.json()["id"])
    again = client.post("/v1/jobs", json={"method": "toy", "options": {"seed": 2, "shape": "bars"}})
    assert again.status_code == 200 and again.json()["state"] == "done"


def test_ids_of_ones_own(client: httpx.Client) -> None:
    body = {"method": "toy", "options": {"seed": 3}}
    assert client.put("/v1/jobs/my-job_1", json=body).status_code == 201
    assert client.put("/v1/jobs/my-job_1", json=body).status_code == 200
    taken = client.put("/v1/jobs/my-job_1", json={"method": "toy", "options": {"seed": 4}})
    assert taken.status_code == 409 and "taken by another request" in taken.json()["error"]
    assert client.put("/v1/jobs/not%20plain", json=body).status_code == 422


def test_a_client_that_comes_back_gets_all_it_missed(client: httpx.Client) -> None:
    job = submit(client, seed=5, steps=40, pause_s=0.02)
    begun = events(client, f"/v1/jobs/{job['id']}/events", most=3)
    rest = events(client, f"/v1/jobs/{job['id']}/events", after=begun[-1]["n"])
    whole = events(client, f"/v1/jobs/{job['id']}/events")
    numbers = [event["n"] for event in begun + rest]
    assert numbers == sorted(set(numbers))
    assert [e["n"] for e in whole if e["kind"] != "preview"] == [
        e["n"] for e in begun + rest if e["kind"] != "preview"
    ], "all but previews that later ones have replaced"
    assert whole[0]["kind"] == "queued" and whole[-1]["kind"] == "done"
    assert len([event for event in whole if event["kind"] == "preview"]) == 1


def test_cancel_queued_and_running(client: httpx.Client) -> None:
    running = submit(client, seed=6, steps=5000, pause_s=0.02)["id"]
    queued = submit(client, seed=7, steps=5000)["id"]
    until(lambda: client.get(f"/v1/jobs/{running}").json()["done"] >= 1)
    described = client.get(f"/v1/jobs/{queued}").json()
    assert described["state"] == "queued" and described["position"] == 0
    assert client.get(f"/v1/jobs/{running}").json()["stage"] == "draw"
    assert client.post(f"/v1/jobs/{queued}/cancel").json()["state"] == "cancelled"
    client.post(f"/v1/jobs/{running}/cancel")
    until(lambda: client.get(f"/v1/jobs/{running}").json()["state"] == "cancelled", 10.0)
    assert client.post(f"/v1/jobs/{running}/retry").json()["state"] in ("queued", "running")
    client.post(f"/v1/jobs/{running}/cancel")
    until(lambda: client.get(f"/v1/jobs/{running}").json()["state"] == "cancelled", 10.0)
    assert client.delete(f"/v1/jobs/{running}").status_code == 204
    assert client.get(f"/v1/jobs/{running}").status_code == 404


def test_files_are_sent_first(client: httpx.Client) -> None:
    sent = client.post("/v1/files", content=b"12345").json()
    assert sent == {"sha256": hashlib.sha256(b"12345").hexdigest(), "size": 5}
    job = submit(client, picture={"name": "a.png", "sha256": sent["sha256"]})
    assert finished(client, job["id"])["state"] == "done"
    assert client.get(f"/v1/jobs/{job['id']}/inputs/picture").content == b"12345"
    refused = client.post("/v1/jobs", json={"method": "toy", "options": {"picture": {"name": "a", "sha256": "0" * 64}}})
    assert refused.status_code == 422 and "was sent" in refused.json()["error"]


MALFORMED = [
    ("POST", "/v1/jobs", {"content": b"{", "headers": {"content-type": "application/json"}}, 400),
    ("POST", "/v1/jobs", {"content": b"[" * 100_000, "headers": {"content-type": "application/json"}}, 400),
    ("POST", "/v1/jobs", {"content": b'{"a":NaN}', "headers": {"content-type": "application/json"}}, 400),
    ("POST", "/v1/jobs", {"content": b'{"a":1,"a":2}', "headers": {"content-type": "application/json"}}, 400),
    ("POST", "/v1/jobs", {"content": b'{"method":"\\ud800"}', "headers": {"content-type": "application/json"}}, 400),
    ("POST", "/v1/jobs", {"content": b" " * 300_000, "headers": {"content-type": "application/json"}}, 413),
    ("POST", "/v1/jobs", {"content": b"{}", "headers": {"content-type": "text/plain"}}, 415),
    ("POST", "/v1/jobs", {"json": {"method": "none"}}, 422),
    ("POST", "/v1/jobs", {"json": {"method": "toy", "options": {"steps": 10**400}}}, 422),
    ("POST", "/v1/jobs", {"json": {"method": "toy", "priority": 11}}, 422),
    ("POST", "/v1/jobs", {"json": {"method": "toy", "deadline_s": 0}}, 422),
    ("POST", "/v1/jobs", {"json": {"method": "toy", "webhook": "http://169.254.169.254/"}}, 422),
    ("POST", "/v1/jobs", {"json": {"method": "toy", "shape": [2**60, 4]}}, 422),
    ("POST", "/v1/files", {"content": b"x" * (2 << 20)}, 413),
    ("POST", "/v1/files", {"content": b""}, 422),
    ("GET", "/v1/jobs/none", {}, 404),
    ("GET", "/v1/jobs?limit=many", {}, 422),
    ("GET", "/v1/jobs/none/events", {}, 404),
    ("GET", "/v1/events?after=x", {}, 400),
    ("GET", "/v1/nothing", {}, 404),
    ("PATCH", "/v1/jobs", {}, 405),
    ("GET", "/studio/..%2fstore.py", {}, 404),
    ("GET", "/v1/jobs/none/files/..%2f..%2fjobs.sqlite", {}, 404),
]


@pytest.mark.parametrize("case", range(len(MALFORMED)))
def test_malformed_requests_are_refused_in_a_line(client: httpx.Client, case: int) -> None:
    verb, path, options, status = MALFORMED[case]
    response = client.request(verb, path, **options)
    assert response.status_code == status, response.text
    message = response.json()["error"]
    assert ": " in message and len(message) < 600 and "Traceback" not in message and "\n" not in message


def test_only_its_own_page_and_names_are_answered(live) -> None:
    server, client = live
    for headers, status in [
        ({"host": "evil.example"}, 421),
        ({"host": f"evil.example:{server.port}"}, 421),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"origin": server.url}, 200),
        ({"host": f"127.0.0.1:{server.port}"}, 200),
    ]:
        assert client.get("/v1/jobs", headers=headers).status_code == status, headers


def test_the_page_loads_nothing_from_elsewhere(client: httpx.Client) -> None:
    page = client.get("/")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    folder = Path(__file__).parents[3] / "serving" / "studio"
    for path in folder.iterdir():
        assert client.get(f"/studio/{path.name}").status_code == 200
        text = path.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|innerHTML|eval\(|style=", text), path.name
    assert client.get("/job/some-id").text == page.text


def test_the_description_of_the_server(client: httpx.Client) -> None:
    document = client.get("/v1/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    body = document["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]["application/json"]["schema"]["oneOf"]
    assert [schema["title"] for schema in body] == ["toy"]
    assert body[0]["properties"]["options"]["properties"]["steps"]["maximum"] == 100_000
    methods = client.get("/v1/methods").json()["methods"]
    assert methods[0]["name"] == "toy" and methods[0]["selectors"] == ["shape"]


def test_health_is_a_job_that_was_done(live, client: httpx.Client) -> None:
    probed = client.post("/v1/health/probe").json()
    assert probed["ready"] and probed["probes"]["toy"]["ok"]
    assert client.get("/v1/health/ready").json()["ready"]
    assert not [job for job in client.get("/v1/jobs").json()["jobs"] if job["id"].startswith("probe")]
    with live[0].health.round:
        assert client.post("/v1/health/probe").status_code == 503, "one round at a time"


def test_metrics(client: httpx.Client) -> None:
    # A job of its own: other tests may run in another process.
    finished(client, submit(client, seed=77, steps=30, pause_s=0.02)["id"])
    text = client.get("/metrics").text
    assert re.search(r'tgm_jobs_ended_total\{method="toy",state="done"\} [1-9]', text)
    assert re.search(r'tgm_stage_seconds_bucket\{method="toy",stage="queue",le="\+Inf"\} [1-9]', text)
    assert 'tgm_step_seconds_count{method="toy"}' in text
    for line in text.splitlines():
        assert re.fullmatch(r"# TYPE \w+ \w+|\w+(\{[^}]*\})? [-+0-9.e]+", line), line


def test_logs_hold_no_prompt(live) -> None:
    server, client = live
    finished(client, submit(client, text="a very secret prompt")["id"])
    lines = (server.store.folder / "server.log").read_text().splitlines()
    assert lines and all(json.loads(line)["event"] for line in lines)
    assert "secret prompt" not in "".join(lines)


def test_slow_and_vanishing_clients_hold_nothing_up(live) -> None:
    server, client = live
    job = submit(client, seed=11, steps=30, pause_s=0.02)["id"]
    held = []
    for text in (
        b"POST /v1/jobs HTTP/1.1\r\nHost: localhost:%d\r\nContent-Type: application/json\r\n"
        b"Content-Length: 100\r\n\r\n{",
        b"GET /v1/jobs/%s/events HTTP/1.1\r\nHost: localhost:%%d\r\n\r\n" % job.encode(),
        b"GET /v1/events HTTP/1.1\r\nHost: localhost:%d\r\n\r\n",
        b"GET ",
    ):
        held.append(socket.create_connection(("localhost", server.port)))
        held[-1].sendall(text % server.port if b"%d" in text else text)
    held[1].close()
    held[2].close()
    began = time.monotonic()
    assert client.get("/v1/health/live").status_code == 200
    assert finished(client, job)["state"] == "done"
    assert time.monotonic() - began < 20.0
    for connection in held:
        connection.close()
    until(lambda: "tgm_event_streams 0" in client.get("/metrics").text, 20.0)


def test_tokens_quota_and_whose_jobs(tmp_path: Path) -> None:
    with gateway(tmp_path / "store", tokens=TOKENS) as (server, client):
        assert client.get("/").status_code == 200, "the page asks for a token"
        assert client.get("/v1/health/ready").json() == {"ready": True}
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {SECRETS['ann']}"}):
            refused = client.get("/v1/jobs", headers=headers)
            assert refused.status_code == 401 and "bearer token" in refused.json()["error"]
        ann, bob = (Client(server.url, secret) for secret in SECRETS.values())
        document = {"method": "toy", "options": {"steps": 5000, "pause_s": 0.01}}
        job = ann.submit(document)
        with pytest.raises(ValueError, match="quota: 1 of your jobs"):
            ann.submit({"method": "toy", "options": {"seed": 9}})
        assert bob.call("GET", "/v1/jobs")["jobs"] == []
        with pytest.raises(ValueError, match="none of this id"):
            bob.call("GET", f"/v1/jobs/{job['id']}")
        assert bob.submit(document)["id"] != job["id"]
        with pytest.raises(ValueError, match="none of this id"):
            bob.call("POST", f"/v1/jobs/{job['id']}/cancel")
        ann.call("POST", f"/v1/jobs/{job['id']}/cancel")
        for one in (ann, bob):
            one.http.close()


def test_a_full_queue_says_when_to_come_back(tmp_path: Path) -> None:
    with gateway(tmp_path / "store", queue=1) as (_, client):
        running = submit(client, steps=5000, pause_s=0.01)["id"]
        until(lambda: client.get(f"/v1/jobs/{running}").json()["state"] == "running")
        submit(client, seed=1)
        full = client.post("/v1/jobs", json={"method": "toy", "options": {"seed": 2}})
        assert full.status_code == 503 and full.headers["retry-after"] and "queue: 1 jobs wait" in full.json()["error"]
