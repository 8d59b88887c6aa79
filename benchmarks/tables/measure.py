"""The command: draw what is missing, judge it, store it, print the table."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from annotated_types import Interval

import benchmarks.tables
from benchmarks.consistency.captions import read_captions
from benchmarks.environment import describe_environment
from benchmarks.tables.definitions import TABLES, Table
from benchmarks.tables.jobs import Job, draw_all, job_of, picture_of, sha256_of
from benchmarks.tables.judges import AestheticsHead, Judge, load_judge
from benchmarks.tables.records import Record, Records, captions_digest
from benchmarks.tables.report import Judged, aesthetics_lines, consistency_lines, label
from runtime.command.options import parse_options
from runtime.command.ranges import check_ranges
from runtime.errors import UserError

if TYPE_CHECKING:
    from runtime.engines.bundle import DiffusionBundle


@dataclass(frozen=True, kw_only=True)
class Config:
    """Which table, of which captions, drawn and judged by what."""

    table: Literal["6.1", "11.2", "11.3", "11.4", "11.5", "11.6", "11.7", "11.8"] = "6.1"
    """Number of the thesis' table."""
    bundle: str = "icons"
    """Bundle that draws."""
    judge: tuple[str, ...] = ()
    """Judges, BUNDLE or BUNDLE:HEADS.safetensors; none of them may be the image encoder of the bundle that draws."""
    aesthetics: str = ""
    """BUNDLE:HEAD.safetensors of table 11.8: CLIP ViT-L/14 and the aesthetics head."""
    captions: Path | None = None
    """Text file, a caption a line, among which each drawing has to find its own; by default benchmarks/captions.txt."""
    prompts: Annotated[int, Interval(ge=1, le=100_000)] = 128
    """Captions that are drawn, from the first; all others still count as wrong answers."""
    rows: str = ""
    """Draw and judge only the rows whose name contains this."""
    seed: Annotated[int, Interval(ge=0, le=2**63 - 1)] = 0
    """Seed of every drawing."""
    clipdraw_steps: Annotated[int, Interval(ge=0, le=100_000)] = 0
    """Steps of CLIPDraw's rows in a shortened trial; 0: the method's own."""
    out: Path = Path("runs/tables")
    """Folder of drawings and records; all tables may share it."""
    workers: Annotated[int, Interval(ge=0, le=1024)] = 0
    """Processes side by side; 0: one a core."""
    stored: tyro.conf.FlagCreatePairsOff[bool] = False
    """Draw and judge nothing: print what is stored."""


def jobs_of(config: Config, table: Table, captions: Sequence[str], bundle: "DiffusionBundle") -> list[list[Job]]:
    """Return the jobs of each row, in the order of the captions."""
    changes = {"clipdraw": {"steps": config.clipdraw_steps}} if config.clipdraw_steps else {}
    return [
        [job_of(row, caption, config.seed, bundle, changes.get(row.method)) for caption in captions]
        for row in table.rows
        if config.rows in label(row)
    ]


def judge_all(config: Config, jobs: Sequence[Job], judges: Sequence[Judge], captions: Sequence[str]) -> list[str]:
    """Draw and judge what is not stored; return a line for each caption that cannot be drawn."""
    from runtime.pictures import read_png

    records, digest = Records(config.out / "records.jsonl"), captions_digest(captions)
    left_out, total = [], len({job.key for job in jobs})
    workers = config.workers or len(os.sched_getaffinity(0))
    for done, (job, problem) in enumerate(draw_all(jobs, config.out, workers), 1):
        if problem:
            left_out.append(f"{job.config.prompt!r} by {job.method} is left out: {problem}")
            continue
        sha256 = sha256_of(job, config.out)
        for judge in judges:
            if records.find(job.key, sha256, judge.name, digest) is None:
                similarity = judge(read_png(picture_of(job, config.out)), captions)
                records.add(_record(job, sha256, judge.name, digest, similarity))
        print(f"{done}/{total} {job.method}: {job.config.prompt}", file=sys.stderr)
    return left_out


def _record(job: Job, sha256: str, judge: str, captions: str, similarity: list[float]) -> Record:
    named: dict[str, Any] = {"prompt": job.config.prompt, "method": job.method, "seed": job.config.seed}
    return Record(
        job=job.key,
        samples=job.samples,
        sha256=sha256,
        judge=judge,
        captions=captions,
        similarity=similarity,
        **named,
    )


def stored_rows(
    config: Config, table: Table, jobs: Sequence[Sequence[Job]], judge: Judge, captions: Sequence[str]
) -> list[Judged]:
    """Return a judge's results of each row, as far as they are stored and the drawing is still the same."""
    records, digest = Records(config.out / "records.jsonl"), captions_digest(captions)
    rows = [row for row in table.rows if config.rows in label(row)]
    judged = []
    for row, own in zip(rows, jobs, strict=True):
        by_caption = {}
        for job in own:
            if picture_of(job, config.out).is_file():
                record = records.find(job.key, sha256_of(job, config.out), judge.name, digest)
                by_caption |= {} if record is None else {job.config.prompt: record}
        judged.append(Judged(row, by_caption))
    return judged


def main() -> None:
    """Draw, judge, print."""
    from runtime.engines.bundle import DiffusionBundle

    config = parse_options(Config, "benchmarks.tables", description=benchmarks.tables.__doc__)
    check_ranges(config)
    captions, table = read_captions(config.captions), TABLES[config.table]
    bundle = DiffusionBundle.load(config.bundle)
    judges = judges_of(config, bundle)
    jobs = jobs_of(config, table, captions[: config.prompts], bundle)
    if not jobs:
        raise UserError(f"--rows '{config.rows}': expected a part of a row's name, such as '{label(table.rows[0])}'")
    left_out: list[str] = []
    if not config.stored:
        config.out.mkdir(parents=True, exist_ok=True)
        # Caption by caption: a run that is cut short has whole captions, which rows are compared on.
        order = [job for caption in zip(*jobs, strict=True) for job in caption]
        left_out = judge_all(config, order, judges, captions)
    print(describe_environment())
    for judge in judges:
        print(f"\nTable {config.table}: {table.title}. {table.note}\nJudge: {judge.name}\n")
        judged = stored_rows(config, table, jobs, judge, captions)
        lines = aesthetics_lines(judged) if config.table == "11.8" else consistency_lines(table, judged, captions)
        print("\n".join(lines))
    for line in left_out:
        print(line)


def judges_of(config: Config, bundle: "DiffusionBundle") -> list[Judge]:
    """Return the judges of a table.

    Raises:
        UserError: there is none, or one is what guides the drawings.
    """
    if config.table == "11.8":
        if not config.aesthetics:
            raise UserError("--table 11.8: expected --aesthetics BUNDLE:HEAD.safetensors, got none")
        return [AestheticsHead(config.aesthetics)]
    if not config.judge:
        raise UserError(
            "--judge: expected BUNDLE, or BUNDLE:HEADS.safetensors such as "
            "icons:runs/consistency/evaluator.safetensors, got none"
        )
    return [load_judge(text, bundle) for text in config.judge]
