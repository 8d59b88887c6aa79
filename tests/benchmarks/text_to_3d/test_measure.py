"""The command on a tiny bundle: drawn once, judged once, resumed, printed."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from torch import Tensor

from benchmarks.text_to_3d import jobs as jobs_module
from benchmarks.text_to_3d.definitions import PROMPTS, Row
from benchmarks.text_to_3d.jobs import draw_job, facts_of, field_of, is_done, job_of, scene_of, views_of
from benchmarks.text_to_3d.measure import Config, common, jobs_of, judge_stored, rows_of, stored_row
from benchmarks.text_to_3d.records import read_facts
from benchmarks.text_to_3d.sheet import write_sheet
from runtime.engines.bundle import DiffusionBundle
from runtime.errors import UserError
from runtime.field.fields.residual import ResidualField
from runtime.pictures import read_png
from tests.bundles import make_tiny_bundle

SMALL = {"steps": 1, "render": 8, "crops": 1, "tau_steps": 0, "width": 4, "wide": 4, "samples": 2, "looks": 2}


class Judge:
    """Takes every view for the second prompt, seen from the side."""

    name = "second"

    def __init__(self) -> None:
        self.calls = 0

    def similarities(self, pictures: Tensor, captions: list[str]) -> list[list[float]]:
        self.calls += 1
        return [[float(i == 1) for i in range(len(captions))]] * len(pictures)

    def sides(self, pictures: Tensor, prompt: str) -> list[int]:
        return [1] * len(pictures)


@pytest.fixture(scope="module")
def row(tmp_path_factory: pytest.TempPathFactory) -> Row:
    bundle = make_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")
    return Row("small", "dreamfields", SMALL, bundle=str(bundle))


def redness(images: Tensor) -> Tensor:
    """Return a guide's likings: the tiny bundle's encoder has no gradients."""
    return images[:, 0].mean((1, 2))


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Extract the surface of a network on few nodes; a formula guides, and takes short texts alone."""

    def guide(self: DiffusionBundle, text: str, gradients: str) -> Callable[[Tensor], Tensor]:
        if len(text) > 100:
            raise UserError("too many tokens")
        return redness

    monkeypatch.setattr("runtime.field.fields.residual.NODES", 9)
    monkeypatch.setattr(DiffusionBundle, "guide", guide)


def drawn(row: Row, out: Path, prompts: int = 2) -> dict[str, jobs_module.Job]:
    """Draw a row in this process; return its jobs."""
    own = jobs_of(Config(prompts=prompts), row)
    (out / "objects").mkdir(parents=True, exist_ok=True)
    assert [draw_job(job, out) for job in own.values()] == [""] * prompts
    return own


def test_an_object_is_kept_with_its_views_and_its_shape(row: Row, tmp_path: Path) -> None:
    (job, _) = drawn(row, tmp_path).values()
    assert is_done(job, tmp_path) and read_png(views_of(job, tmp_path)).shape == (3, 512, 1024)
    facts = json.loads(facts_of(job, tmp_path).read_text())
    assert facts["prompt"] == PROMPTS[0].text and facts["method"] == "dreamfields" and len(facts["sha256"]) == 64
    assert facts["cpu_s"] >= 0 and set(facts["shape"]) > {"hull_share", "largest_piece"}
    scene = scene_of(job, tmp_path)
    assert isinstance(scene, ResidualField)
    field, again = field_of(job, tmp_path).read_bytes(), tmp_path / "again"
    (again / "objects").mkdir(parents=True)
    assert draw_job(job, again) == "" and field_of(job, again).read_bytes() == field


def test_what_is_judged_is_not_judged_again_unless_it_changed(row: Row, tmp_path: Path) -> None:
    own, judge, config = drawn(row, tmp_path), Judge(), Config(out=tmp_path, prompts=2)
    judge_stored(config, list(own.values()), judge)  # pyright: ignore[reportArgumentType]
    assert judge.calls == 4 and len((tmp_path / "records.jsonl").read_text().splitlines()) == 2
    judge_stored(config, list(own.values()), judge)  # pyright: ignore[reportArgumentType]
    assert judge.calls == 4
    found = stored_row(config, row, own, judge)  # pyright: ignore[reportArgumentType]
    assert set(found.records) == {prompt.text for prompt in PROMPTS[:2]}
    assert len(found.records[PROMPTS[0].text].colour) == 16
    # An object that was drawn anew is another one.
    facts = read_facts(facts_of(own[PROMPTS[0].text], tmp_path))
    assert facts is not None
    facts_of(own[PROMPTS[0].text], tmp_path).write_text(json.dumps(facts | {"sha256": "other"}))
    less = stored_row(config, row, own, judge)  # pyright: ignore[reportArgumentType]
    assert set(less.records) == {PROMPTS[1].text}
    assert [set(one.records) for one in common([found, less])] == [{PROMPTS[1].text}] * 2


def test_a_sheet_has_two_lines_a_prompt(row: Row, tmp_path: Path) -> None:
    own = drawn(row, tmp_path, prompts=1)
    waiting = jobs_of(Config(prompts=1, seed=1), row)
    write_sheet(tmp_path / "sheet.png", [row, row], [own, waiting], tmp_path)
    sheet = read_png(tmp_path / "sheet.png")
    assert sheet.shape == (3, 2 * 46 - 2, 16 * 46 - 2)
    assert bool((sheet[:, :, 8 * 46 :] > 0.99).all()) and bool((sheet[:, :, : 8 * 46] < 0.9).any())
    write_sheet(tmp_path / "none.png", [row], [waiting], tmp_path)
    assert not (tmp_path / "none.png").exists()


def test_rows_are_chosen_by_name() -> None:
    assert [row.name for row in rows_of(Config(only="lift"))] == ["lift"]
    assert len(rows_of(Config(only="DreamFusion"))) == 3 and len(rows_of(Config(table="4.1"))) == 9
    with pytest.raises(UserError, match="expected a part of a row's name"):
        rows_of(Config(only="magic"))


def test_a_shortened_trial_shortens_dream_fields_alone() -> None:
    lift, dream = rows_of(Config())[0], rows_of(Config())[-2]
    config = Config(steps=100, prompts=1)
    (job,) = jobs_of(config, dream).values()
    assert (job.config.steps, job.config.tau_steps) == (100, 50)
    assert jobs_of(config, lift) == jobs_of(Config(prompts=1), lift)


def test_a_prompt_that_is_too_long_is_left_out(row: Row, tmp_path: Path) -> None:
    (tmp_path / "objects").mkdir()
    job = job_of(row, "cat " * 40)
    assert "token" in draw_job(job, tmp_path) and not is_done(job, tmp_path)
