"""Tables end to end on a tiny bundle: drawn once, judged once, resumed, refused where the judge is the guide."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from benchmarks.tables import jobs, measure
from benchmarks.tables.definitions import TABLES, Published, Row, Table, clip
from benchmarks.tables.jobs import draw_all, drawing_of, is_done, job_of, picture_of
from benchmarks.tables.judges import AestheticsHead, EncoderJudge, load_judge
from benchmarks.tables.measure import Config, jobs_of, judge_all, judges_of, stored_rows
from benchmarks.tables.records import Record
from benchmarks.tables.report import Judged, aesthetics_lines, consistency_lines, label
from runtime.engines.bundle import DiffusionBundle
from runtime.errors import UserError
from runtime.guidance import samples
from runtime.pictures import read_png
from tests.bundles import make_tiny_bundle

CAPTIONS = ["a red apple", "a cat", "a blue house"]

SMALL = Table(
    "Small",
    (
        Row("raster", "raster", {"samples": 2}, clip(90.0, 24.0, 90.0, 28.0)),
        Row("traced", "vectorfusion", {"samples": 2, "steps": 0, "paths": 2}, clip(40.0, 24.0, 40.0, 28.0)),
        Row("scratch", "vectorfusion", {"route": "scratch", "steps": 1, "paths": 2}, clip(89.0, 24.0, 89.0, 28.0)),
    ),
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a bundle that draws and one of other networks."""
    root = tmp_path_factory.mktemp("bundles")
    return make_tiny_bundle(root / "tiny"), make_tiny_bundle(root / "judge", name="judge", seed=1)


@pytest.fixture(scope="module")
def bundle(folders: tuple[Path, Path]) -> DiffusionBundle:
    return DiffusionBundle.load(folders[0])


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sample with two calls of the denoiser."""
    monkeypatch.setattr(samples, "SAMPLER_STEPS", 2)


@pytest.fixture
def in_place(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Draw in this process, and tell what was drawn."""
    drawn: list[str] = []

    def draw(todo, out, workers):
        for job in {job.key: job for job in todo}.values():
            problem = ""
            if not is_done(job, out):
                for name in ("drawings", "samples", "runs"):
                    (out / name).mkdir(parents=True, exist_ok=True)
                problem = jobs.draw_job(job, out)
                drawn.append(job.key)
            yield job, problem

    monkeypatch.setattr(measure, "draw_all", draw)
    return drawn


def test_what_is_stored_is_neither_drawn_nor_judged_again(
    bundle: DiffusionBundle, folders: tuple[Path, Path], tmp_path: Path, in_place: list[str]
) -> None:
    config = Config(bundle=str(folders[0]), out=tmp_path)
    rows = jobs_of(config, SMALL, CAPTIONS[:2], bundle)
    every = [job for row in rows for job in row]
    judge = load_judge(str(folders[1]), bundle)
    assert judge_all(config, every[:4], [judge], CAPTIONS) == []
    assert len(in_place) == 4
    # Both rows of a caption have the one sample, and a run folder that is done is gone.
    assert len(list((tmp_path / "samples").iterdir())) == 2 and list((tmp_path / "runs").iterdir()) == []
    before = (tmp_path / "records.jsonl").read_text()
    assert judge_all(config, every, [judge], CAPTIONS) == []
    assert len(in_place) == 6
    text = (tmp_path / "records.jsonl").read_text()
    assert text.startswith(before) and len(text.splitlines()) == 6
    fields = {"job", "prompt", "method", "samples", "seed", "sha256", "judge", "captions", "similarity"}
    lines = [json.loads(line) for line in text.splitlines()]
    assert all(set(line) == fields and len(line["similarity"]) == len(CAPTIONS) for line in lines)
    assert [line["samples"] for line in lines] == [2, 2, 2, 2, None, None]
    judged = stored_rows(config, SMALL, rows, judge, CAPTIONS)
    assert [len(row.records) for row in judged] == [2, 2, 2]
    picture = read_png(picture_of(every[0], tmp_path))
    assert judged[0].records["a red apple"].similarity == judge(picture, CAPTIONS)
    # A drawing that was changed since is not the one that was judged.
    drawing_of(rows[2][0], tmp_path).write_text("<svg/>")
    assert [len(row.records) for row in stored_rows(config, SMALL, rows, judge, CAPTIONS)] == [2, 2, 1]


def test_a_job_that_was_killed_resumes_to_the_same_bytes(bundle: DiffusionBundle, tmp_path: Path) -> None:
    job = job_of(SMALL.rows[1], "a cat", 0, bundle)
    contents = []
    for name, left in (("whole", False), ("again", True)):
        out = tmp_path / name
        for folder in ("drawings", "samples", "runs"):
            (out / folder).mkdir(parents=True)
        if left:  # as a kill between the sample and the first step leaves it
            sample = jobs._sample(job, bundle, out)
            jobs._with_sample(jobs.vectorfusion.METHOD, job.config, bundle, out / "runs" / job.key, sample)
        assert jobs.draw_job(job, out) == ""
        contents.append(drawing_of(job, out).read_bytes())
    assert contents[0] == contents[1]


def test_a_row_may_start_from_another_ones_drawing(bundle: DiffusionBundle, tmp_path: Path) -> None:
    for folder in ("drawings", "samples", "runs"):
        (tmp_path / folder).mkdir()
    options = {"route": "scratch", "steps": 1, "paths": 3, "lr": 0.0}
    row = Row("refined", "vectorfusion", options, Published(), start={"samples": 1, "steps": 0, "paths": 2})
    job = job_of(row, "a cat", 0, bundle)
    assert job.start is not None and (job.samples, job.start.config.samples) == (1, 1)
    assert jobs.draw_job(job, tmp_path) == ""
    assert is_done(job.start, tmp_path) and is_done(job, tmp_path)
    assert drawing_of(job, tmp_path).read_text().count("<path") == drawing_of(job.start, tmp_path).read_text().count(
        "<path"
    )


def test_jobs_run_in_processes_and_a_caption_that_is_too_long_is_left_out(
    bundle: DiffusionBundle, tmp_path: Path
) -> None:
    row = Row("scratch", "vectorfusion", {"route": "scratch", "steps": 1, "paths": 2}, Published())
    todo = [job_of(row, caption, 0, bundle) for caption in ("a cat", "cat " * 40)]
    ended = {job.config.prompt: problem for job, problem in draw_all([*todo, todo[0]], tmp_path, 1)}
    assert len(ended) == 2 and ended["a cat"] == ""
    assert "token" in ended[("cat " * 40).strip()]
    assert [problem for _, problem in draw_all(todo[:1], tmp_path, 1)] == [""]


def test_the_guide_is_no_judge(folders: tuple[Path, Path], bundle: DiffusionBundle, tmp_path: Path) -> None:
    copy = make_tiny_bundle(tmp_path / "copy", name="other-name")
    for folder in (folders[0], copy):
        with pytest.raises(UserError, match="expected another image encoder than that of the bundle 'tiny'"):
            load_judge(str(folder), bundle)
    assert load_judge(str(folders[1]), bundle).name.startswith("judge ")
    with pytest.raises(UserError, match=r"expected the file evaluator\.safetensors"):
        load_judge(f"icons:{tmp_path / 'missing.safetensors'}", bundle)
    with pytest.raises(UserError, match="--judge: expected BUNDLE"):
        judges_of(Config(), bundle)
    with pytest.raises(UserError, match=r"--table 11\.8: expected --aesthetics"):
        judges_of(Config(table="11.8", judge=(str(folders[1]),)), bundle)


def test_an_encoder_judges_by_the_cosine_and_shortens_what_is_too_long(folders: tuple[Path, Path]) -> None:
    judge = EncoderJudge(DiffusionBundle.load(folders[1]))
    picture = torch.rand(3, 128, 128, generator=torch.Generator().manual_seed(0))
    long = "a red apple and a cat and a dog and a fire truck and a rocket"
    cosines = judge(picture, ["a red apple", long])
    expected = judge.bundle.scorer()(picture[None], ["a red apple", "a red apple and a cat and a dog and a fire truck"])
    assert cosines[0] == pytest.approx(expected[0, 0].item(), abs=1e-5)
    shorter = ["a red apple and a cat and a dog and a fire truck and a", long.rsplit(" ", 2)[0]]
    assert any(cosines[1] == pytest.approx(judge(picture, [text])[0], abs=1e-6) for text in shorter)


def test_the_aesthetics_head_is_its_layers_one_after_another(folders: tuple[Path, Path], tmp_path: Path) -> None:
    draws = torch.Generator().manual_seed(0)
    tensors = {"layers.10.weight": torch.randn(1, 4, generator=draws), "layers.10.bias": torch.zeros(1)}
    tensors |= {"layers.2.weight": torch.randn(4, 8, generator=draws), "layers.2.bias": torch.ones(4)}
    save_file(tensors, tmp_path / "head.safetensors")
    head = AestheticsHead(f"{folders[1]}:{tmp_path / 'head.safetensors'}")
    picture = torch.rand(3, 128, 128, generator=draws)
    x = functional.normalize(head.bundle.image_encoder("none")(picture[None]))
    expected = tensors["layers.10.weight"] @ (tensors["layers.2.weight"] @ x[0] + 1)
    assert head(picture, [])[0] == pytest.approx(expected.item(), rel=1e-4)
    save_file({"layers.0.weight": torch.ones(1, 5), "layers.0.bias": torch.zeros(1)}, tmp_path / "wrong.safetensors")
    with pytest.raises(UserError, match="expected linear layers from 8 numbers to one"):
        AestheticsHead(f"{folders[1]}:{tmp_path / 'wrong.safetensors'}")


def row_of(row: Row, hits: list[bool]) -> Judged:
    """Return a row whose drawings hit their caption or the next one."""
    records = {}
    for i, hit in enumerate(hits):
        similarity = [0.1] * len(hits)
        similarity[i if hit else (i + 1) % len(hits)] = 0.3
        values = {"job": "j", "prompt": f"c{i}", "method": "raster", "samples": 1, "seed": 0, "sha256": "s"}
        records[f"c{i}"] = Record(**values, judge="h", captions="c", similarity=similarity)
    return Judged(row, records)


def test_the_table_says_which_orders_hold() -> None:
    first, second, third = (
        replace(SMALL.rows[i], published=clip(share, 24.0, share, 28.0))
        for i, share in ((0, 90.0), (1, 40.0), (2, 89.0))
    )
    judged = [row_of(first, [True] * 8), row_of(second, [True] * 2 + [False] * 6), row_of(third, [False] * 8)]
    lines = list(consistency_lines(replace(SMALL, rows=(first, second, third)), judged, [f"c{i}" for i in range(8)]))
    assert lines[2].startswith("| raster, K = 2 | 8/8 | 100.0 ± 0.0 | 30.0 ± 0.0 | 90.0, 24.0 | 90.0, 28.0 |")
    assert "| 2/8 | 25.0 ± 15.3 | 15.0 ± 3.3 |" in lines[3]
    orders = [line for line in lines if line.startswith("- ")]
    # The first and the third are 1 % apart in print, which says nothing.
    assert len(orders) == 2
    assert orders[0].endswith("thesis +50.0, +50.0; here 8 to 2 of 8, p = 0.031: holds")
    assert orders[1].endswith("thesis +49.0, +49.0; here 0 to 2 of 8, p = 0.5: is reversed")


def test_aesthetics_are_means_and_deviations() -> None:
    row = TABLES["11.8"].rows[0]
    base = row_of(row, [True, True])
    scores = {name: replace(one, similarity=[4.0 if name == "c0" else 6.0]) for name, one in base.records.items()}
    lines = list(aesthetics_lines([Judged(row, scores)]))
    assert lines[2] == f"| {label(row)} | 2 | 5.00 ± 1.41 | 4.10 ± 0.81 |"
