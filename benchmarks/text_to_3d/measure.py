"""The command: draw what is missing, judge it, store it, print the table."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from annotated_types import Interval

import benchmarks.text_to_3d
from benchmarks.environment import describe_environment
from benchmarks.tables.records import Records, captions_digest
from benchmarks.text_to_3d.definitions import PROMPTS, TABLES, Row
from benchmarks.text_to_3d.jobs import Job, draw_all, facts_of, job_of, views_of
from benchmarks.text_to_3d.records import Record, Row3d, read_facts
from benchmarks.text_to_3d.report import lines_of
from runtime.command.options import parse_options
from runtime.command.ranges import Count, Seed
from runtime.errors import UserError

if TYPE_CHECKING:
    from benchmarks.text_to_3d.judge import Judge


@dataclass(frozen=True, kw_only=True)
class Config:
    """Which rows, of which prompts, drawn and judged by what."""

    table: Literal["rows", "4.1", "4.2"] = "rows"
    """rows: methods; 4.1 and 4.2: the thesis' tables of Dream Fields' priors."""
    out: Path = Path("runs/text_to_3d")
    """Folder of objects and records; all tables may share it."""
    judge: Path | None = None
    """Safetensors file of the judge, which is trained where it is missing; none: draw only."""
    data: Path | None = None
    """Folder of the set of objects: for the judge's training and the row of real objects."""
    icons: Path | None = None
    """Archive of train.data.icons, for the judge's training and the row of real icons."""
    only: str = ""
    """Draw and judge only the row of this name, or rows whose name contains it where none has it."""
    prompts: Annotated[int, Interval(ge=1, le=len(PROMPTS))] = len(PROMPTS)
    """Prompts that are drawn, from the first; all others still count as wrong answers."""
    common: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print figures of those prompts only that all rows have."""
    steps: Annotated[int, Interval(ge=0, le=1_000_000)] = 0
    """Steps of Dream Fields' rows in a shortened trial, tau rising over the first half; 0: the method's own."""
    seed: Seed = 0
    """Seed of every drawing."""
    workers: Count = 1
    """Processes side by side."""
    stored: tyro.conf.FlagCreatePairsOff[bool] = False
    """Draw and judge nothing: print what is stored."""
    sheet: Path | None = None
    """PNG of all that is drawn, a line a prompt and row, from 8 azimuths."""


def rows_of(config: Config) -> list[Row]:
    """Return the rows that are asked for.

    Raises:
        UserError: there is none.
    """
    rows = TABLES[config.table].rows
    chosen = [row for row in rows if row.name == config.only] or [row for row in rows if config.only in row.name]
    if not chosen:
        raise UserError(f"--only '{config.only}': expected a part of a row's name, such as '{rows[0].name}'")
    return chosen


def jobs_of(config: Config, row: Row) -> dict[str, Job]:
    """Return a row's jobs by prompt."""
    change: Mapping[str, Any] = {}
    if config.steps and row.method == "dreamfields":
        change = {"steps": config.steps, "tau_steps": config.steps // 2}
    return {prompt.text: job_of(row, prompt.text, config.seed, change) for prompt in PROMPTS[: config.prompts]}


def judge_stored(config: Config, jobs: Sequence[Job], judge: "Judge") -> None:
    """Judge what is drawn and has no record yet."""
    from benchmarks.text_to_3d.views import read_views

    records = Records(config.out / "records.jsonl", Record)
    captions = [prompt.text for prompt in PROMPTS]
    for job in {job.key: job for job in jobs}.values():
        facts = read_facts(facts_of(job, config.out))
        if facts is None or records.find(job.key, facts["sha256"], judge.name, captions_digest(captions)) is not None:
            continue
        colour, grey = read_views(views_of(job, config.out))
        records.add(
            Record(
                job=job.key,
                prompt=job.config.prompt,
                row=f"{job.method} {facts['bundle']}",
                seed=job.config.seed,
                sha256=facts["sha256"],
                judge=judge.name,
                captions=captions_digest(captions),
                colour=judge.similarities(colour, captions),
                textureless=judge.similarities(grey, captions),
                sides=judge.sides(colour, job.config.prompt),
                hull_share=facts["shape"].get("hull_share"),
                cpu_s=facts["cpu_s"],
            )
        )


def stored_row(config: Config, row: Row, jobs: Mapping[str, Job], judge: "Judge") -> Row3d:
    """Return a row's records by this judge, as far as they are stored and the field is still the same."""
    records = Records(config.out / "records.jsonl", Record)
    digest = captions_digest([prompt.text for prompt in PROMPTS])
    stored = {}
    for prompt, job in jobs.items():
        facts = read_facts(facts_of(job, config.out))
        record = None if facts is None else records.find(job.key, facts["sha256"], judge.name, digest)
        if record is not None:
            stored[prompt] = record
    return Row3d(row, stored)


def main() -> None:
    """Draw, judge, print."""
    config = parse_options(Config, "benchmarks.text_to_3d", description=benchmarks.text_to_3d.__doc__)
    rows = rows_of(config)
    jobs = [jobs_of(config, row) for row in rows]
    if not config.stored:
        # Prompt by prompt: a run that is cut short has whole prompts, which rows are compared on.
        order = [own[prompt] for prompt in jobs[0] for own in jobs]
        for done, (job, problem) in enumerate(draw_all(order, config.out, config.workers), 1):
            print(f"{done}/{len(order)} {job.method}: {job.config.prompt} {problem}", file=sys.stderr, flush=True)
    if config.sheet is not None:
        from benchmarks.text_to_3d.sheet import write_sheet

        write_sheet(config.sheet, rows, jobs, config.out)
    if config.judge is None:
        return
    from benchmarks.text_to_3d.judge import load_judge
    from benchmarks.text_to_3d.reference import icon_row, real_row

    judge = load_judge(config.judge, config.data, config.icons)
    if not config.stored:
        judge_stored(config, [job for own in jobs for job in own.values()], judge)
    judged = [stored_row(config, row, own, judge) for row, own in zip(rows, jobs, strict=True)]
    if config.common:
        judged = common(judged)
    real = None if config.data is None else real_row(config.data, judge, PROMPTS)
    icons = None if config.icons is None else icon_row(config.icons, judge, PROMPTS)
    print(describe_environment())
    print(f"\n{TABLES[config.table].title}. Judge: {judge.name}, held out: {judge.held_out}\n")
    print("\n".join(lines_of(config.table, judged, real, PROMPTS, icons)))


def common(rows: Sequence[Row3d]) -> list[Row3d]:
    """Return the rows with those prompts alone that all of them have."""
    prompts = set.intersection(*(set(row.records) for row in rows))
    return [Row3d(row.row, {p: r for p, r in row.records.items() if p in prompts}) for row in rows]
