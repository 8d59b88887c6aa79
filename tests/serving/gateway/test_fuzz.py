"""Malformed requests, made by a seed: each is refused in words, none ends the server or shows its insides."""

import copy
import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.serving.live import gateway

SCRAPS: list[Any] = [
    None, True, False, 0, -1, 2**63, 10**40, 1.5, 1e308, "", "a", "\0", "../../etc/passwd", "\ud800", "é" * 300, [], {},
    [[[]]], {"name": "a", "sha256": "0" * 64}, {"name": 1}, [2**60, 4], "NaN", "toy", {"": {}},
]  # fmt: skip
"""Values that stand where others are expected."""

GOOD = {"method": "toy", "options": {"text": "x", "steps": 1, "seed": 0, "limits": [0, 1], "picture": None}}
PATHS = (
    "/v1/jobs",
    "/v1/jobs/x",
    "/v1/jobs/x/cancel",
    "/v1/jobs/%00",
    "/v1/files",
    "/v1/events",
    "/studio/%2e%2e",
    "/v1",
)


def body_of(chance: random.Random) -> bytes:
    """Return a request of which something is wrong, more often than not."""
    document = json.loads(json.dumps(GOOD))
    for _ in range(chance.randint(1, 3)):
        place = (
            chance.choice([document, document["options"]]) if isinstance(document.get("options"), dict) else document
        )
        name = chance.choice([*place, "id", "priority", "deadline_s", "webhook", "out", "bundle", "\0"])
        place[name] = copy.deepcopy(chance.choice(SCRAPS))
    text = bytearray(json.dumps(document).encode())
    for _ in range(chance.choice([0, 0, 1, 4])):
        text[chance.randrange(len(text))] = chance.randrange(256)
    return bytes(text[: chance.randint(0, len(text))]) if chance.random() < 0.2 else bytes(text)


@pytest.mark.parametrize("count", [150, pytest.param(10_000, marks=pytest.mark.slow)])
def test_malformed_requests(tmp_path: Path, count: int) -> None:
    chance = random.Random(0)
    seen: dict[int, int] = {}
    with gateway(tmp_path / "store", lanes=0) as (_, client):
        for _ in range(count):
            usual = chance.random() < 0.8
            verb = "POST" if usual else chance.choice(["GET", "PUT", "POST", "DELETE", "PATCH"])
            path = "/v1/jobs" if usual else chance.choice(PATHS[:-3] if verb == "GET" else PATHS)
            if verb == "GET" and path == "/v1/events":
                continue  # a stream without end
            kind = "application/json" if chance.random() < 0.95 else chance.choice(["text/plain", "", "a/b; c"])
            response = client.request(verb, path, content=body_of(chance), headers={"content-type": kind})
            seen[response.status_code] = seen.get(response.status_code, 0) + 1
            assert response.status_code < 500 or response.status_code == 503, (response.status_code, response.text)
            if response.status_code >= 400:
                message = response.json()["error"]
                assert "Traceback" not in message and len(message) < 900
        assert client.get("/v1/health/live").status_code == 200
    assert seen[422] > count / 10 and seen[400] > count / 50, seen
