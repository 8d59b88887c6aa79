from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from runtime.loop.events import Note, Sampled, Stepped
from serving.previews import Previews
from tests.serving import toy


class Fake:
    """A clock, and what was sent."""

    def __init__(self) -> None:
        self.now = 100.0
        self.sent: list[tuple[str, dict[str, Any]]] = []

    def __call__(self) -> float:
        return self.now

    def send(self, kind: str, data: dict[str, Any]) -> None:
        self.sent.append((kind, data))

    def kinds(self, kind: str) -> list[dict[str, Any]]:
        return [data for k, data in self.sent if k == kind]


def stepped(done: int, total: int = 100, eta_s: float = 1.0) -> Stepped:
    scene = toy.Bars(torch.ones(2) * done)
    return Stepped(
        stage="draw",
        step=done,
        steps=total,
        loss=0.5,
        terms={"a": 0.5},
        done=done,
        total=total,
        eta_s=eta_s,
        scene=scene,
    )


def test_steps_and_previews_come_not_too_often(tmp_path: Path) -> None:
    fake = Fake()
    previews = Previews(tmp_path / "preview", fake.send, fake)
    for done in range(1, 101):
        fake.now += 0.05
        previews(stepped(done), toy.METHOD, toy.Config(), None)
    steps = fake.kinds("step")
    assert 20 <= len(steps) <= 27  # 5 s at one in 0.2 s, the first and the last
    assert steps[0]["done"] == 1 and steps[-1]["done"] == 100
    assert 9 <= len(fake.kinds("preview")) <= 11  # one in half a second
    files = sorted(path.name for path in (tmp_path / "preview").iterdir())
    assert len(files) == 2 and fake.kinds("preview")[-1]["file"] == files[-1]
    assert (tmp_path / "preview" / files[-1]).read_text().startswith("<svg")


def test_the_previews_of_a_resumed_run_come_after_those_before(tmp_path: Path) -> None:
    for attempt in range(2):
        fake = Fake()
        previews = Previews(tmp_path / "preview", fake.send, fake)
        for done in range(1, 7):
            fake.now += 1.0
            previews(stepped(done + 10 * attempt), toy.METHOD, toy.Config(), None)
            last = fake.kinds("preview")[-1]["file"]
            assert (tmp_path / "preview" / last).is_file(), "what was reported is there"
    assert last == "000012.svg"


def test_slow_previews_come_more_rarely(tmp_path: Path) -> None:
    fake = Fake()

    def slow(config: object, bundle: object, scene: object, stem: Path) -> Path:
        fake.now += 1.0
        stem.with_suffix(".svg").write_text("<svg/>")
        return stem.with_suffix(".svg")

    method = replace(toy.METHOD, snapshot=slow)
    previews = Previews(tmp_path / "preview", fake.send, fake)
    for done in range(1, 100):
        fake.now += 1.0
        previews(stepped(done), method, toy.Config(), None)
    assert 5 <= len(fake.kinds("preview")) <= 6  # a twentieth of 104 s


def test_a_preview_that_fails_costs_no_run(tmp_path: Path) -> None:
    fake = Fake()

    def broken(*_: object) -> Path:
        raise RuntimeError("no")

    previews = Previews(tmp_path / "preview", fake.send, fake)
    for done in range(1, 10):
        fake.now += 1.0
        previews(stepped(done), replace(toy.METHOD, snapshot=broken), toy.Config(), None)
    assert fake.kinds("note") == [{"text": "no previews: RuntimeError: no"}]
    assert len(fake.kinds("step")) == 9


def test_an_eta_that_is_not_known_is_null(tmp_path: Path) -> None:
    fake = Fake()
    previews = Previews(tmp_path / "preview", fake.send, fake)
    previews(stepped(1, eta_s=float("nan")), toy.METHOD, toy.Config(), None)
    previews(Note("scaled"), toy.METHOD, toy.Config(), None)
    assert fake.kinds("step")[0]["eta_s"] is None
    assert fake.kinds("note") == [{"text": "scaled"}]


def test_samples_are_a_sheet(tmp_path: Path) -> None:
    from runtime.pictures import read_png

    fake = Fake()
    previews = Previews(tmp_path / "preview", fake.send, fake)
    event = Sampled(step=1, steps=2, preview=lambda: torch.zeros(8, 3, 4, 4))
    previews(event, toy.METHOD, toy.Config(), None)
    sheet = read_png(tmp_path / "preview" / fake.kinds("preview")[0]["file"])
    assert tuple(sheet.shape) == (3, 12, 12) and sheet[:, 8:, 8:].min() == 1  # three rows of three, the last one blank
