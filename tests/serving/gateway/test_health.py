"""Probes, and what readiness says before, between and after them."""

import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest

from runtime.field.captures.read import read_capture
from serving import pool
from serving.bundles import Offers
from serving.gateway.health import Health, Probe, grey_capture, probe_request
from serving.gateway.metrics import Metrics
from serving.gateway.service import Service
from serving.jobs import Jobs
from serving.methods import served_methods
from serving.pool import Placed, Pool
from serving.store import Store
from tests.serving.conftest import until
from tests.serving.live import ThreadLane


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    served, store = served_methods(), Store(tmp_path / "store")
    jobs = Jobs(store)
    yield Service(jobs, Pool(jobs, served, [], Placed()), served, Offers(), Metrics(str))
    store.close()


def test_each_method_that_can_be_done_has_a_smallest_request(service) -> None:
    health = Health(service)
    assert {"vectorfusion", "vectorize", "nerf", "lift", "dreamfusion", "ddpm_codec"} <= set(health.methods())
    del service.offers.by_name["pixelnerf"]
    assert "pixelnerf" not in health.methods(), "no bundle for it"
    for name in health.methods():
        values = probe_request(service.served[name], service).values
        assert values.get("steps", 1) <= 2, name


def test_the_capture_of_a_probe_can_be_read(tmp_path: Path) -> None:
    zipfile.ZipFile(BytesIO(grey_capture())).extractall(tmp_path)
    assert len(read_capture(tmp_path).cameras) == 4


def test_nothing_is_ready_before_the_first_round(service, monkeypatch: pytest.MonkeyPatch) -> None:
    health = Health(service)
    assert health.ready()[0], "nobody has asked for probes"
    rounds: list[str] = []

    def probe(name: str, priority: int) -> Probe:
        rounds.append(name)
        health.probes[name] = Probe(name != "lift" or rounds.count("lift") > 1, 0.0, 0.0)
        return health.probes[name]

    monkeypatch.setattr(health, "probe", probe)
    health.watching = True
    assert not health.ready()[0]
    health.watch(0.2)
    until(lambda: len(rounds) >= len(health.methods()))
    assert not health.ready()[0], "one of them failed"
    until(lambda: health.ready()[0], 10.0)
    health.closing.set()


class Broken(ThreadLane):
    """A lane whose process is dead until it is healed."""

    dead = True

    def missing(self) -> list[str]:
        return ["model"] if self.dead else []

    def heal(self) -> None:
        self.dead = False


def test_what_is_missing_is_replaced_while_nothing_runs(service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "HEAL_EVERY", 1)
    service.pool.lanes = [Broken()]
    health = Health(service)
    ready, details = health.ready()
    assert not ready and details["missing"] == ["model"]
    service.pool.start()
    until(lambda: health.ready()[0])
    service.pool.drain()


def test_a_lane_that_has_a_job_is_left_alone_and_one_beside_it_is_healed(service, monkeypatch) -> None:
    monkeypatch.setattr(pool, "HEAL_EVERY", 1)
    busy, idle = Broken(), Broken()
    service.pool.lanes = [busy, idle]
    assert Health(service).ready()[1]["missing"] == ["model"], "two lanes of one model miss it once"
    service.pool.running["job"] = busy
    service.pool.start()
    until(lambda: not idle.dead)
    assert busy.dead, "it sees for itself"
    del service.pool.running["job"]
    until(lambda: not busy.dead)
    service.pool.drain()
