"""Jobs: one caption drawn by one row, in a process of its own, once."""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.tables.definitions import Row
from benchmarks.tables.pool import run_all
from runtime import clipdraw, vectorfusion
from runtime.clipdraw.config import preset_config as clipdraw_preset
from runtime.command.method import Method, checked, draw, request_of, write_files
from runtime.command.outputs import digest_of
from runtime.command.settings import with_defaults
from runtime.errors import UserError
from runtime.files import replace_file
from runtime.vectorfusion.config import preset_config as vectorfusion_preset

if TYPE_CHECKING:
    from runtime.engines.bundle import DiffusionBundle


@dataclass(frozen=True, kw_only=True)
class Job:
    """A drawing to be made."""

    method: str
    """raster, vectorfusion or clipdraw."""
    config: Any
    """Of the method; of vectorfusion for a raster sample."""
    key: str
    """Hash of everything that decides the drawing."""
    start: "Job | None" = None
    """Whose drawing this one starts from."""

    @property
    def suffix(self) -> str:
        """Suffix of what is judged by its SHA-256."""
        return ".png" if self.method == "raster" else ".svg"

    @property
    def samples(self) -> int | None:
        """K; None where nothing is sampled."""
        if self.start is not None:
            return self.start.samples
        return self.config.samples if self.method != "clipdraw" and self.config.route == "trace" else None


def job_of(row: Row, prompt: str, seed: int, bundle: "DiffusionBundle", change: Mapping[str, Any] | None = None) -> Job:
    """Return the job of a row and a caption.

    Args:
        row: of a table.
        prompt: the caption.
        seed: of every draw.
        bundle: what draws; its own values of options hold where the row says nothing.
        change: options of this row's method that a shortened trial changes.

    Raises:
        UserError: the caption is none that the method takes.
    """
    named = {"prompt": prompt, "seed": seed, "bundle": str(bundle.folder)}
    start = (
        None
        if row.start is None
        else job_of(replace(row, method="vectorfusion", options=row.start, start=None), prompt, seed, bundle)
    )
    method, preset = _method(row.method), row.options.get("preset")
    if method is clipdraw.METHOD:
        config: Any = clipdraw_preset(preset)
    elif (preset or "icon", row.options.get("route")) == ("icon", "scratch"):
        config = vectorfusion.SDS_FROM_SCRATCH  # the thesis', which is not the default
    else:
        config = vectorfusion_preset(preset, row.options.get("route"))
    config = with_defaults(config, bundle.defaults(method.name), f"bundle {bundle.name!r}")
    if row.guidance != 1.0:
        config = replace(config, omega=config.omega * row.guidance)
    config = checked(method, replace(config, **{**row.options, **(change or {}), **named}))
    request = request_of(method, config, bundle)
    # A folder's place does not change what is drawn, the networks in it do.
    del request["config"]["bundle"]
    if row.method == "raster":
        names = ("prompt", "seed", "samples", "sample_omega")
        request = {"bundle": bundle.digest, **{name: getattr(config, name) for name in names}}
    text = json.dumps([row.method, request, None if start is None else start.key], sort_keys=True)
    return Job(method=row.method, config=config, key=hashlib.sha256(text.encode()).hexdigest()[:24], start=start)


def _method(name: str) -> Method[Any]:
    return clipdraw.METHOD if name == "clipdraw" else vectorfusion.METHOD


def drawing_of(job: Job, out: Path) -> Path:
    """Return the file of a job that is judged by its SHA-256."""
    return out / "drawings" / f"{job.key}{job.suffix}"


def picture_of(job: Job, out: Path) -> Path:
    """Return the PNG of a job."""
    return out / "drawings" / f"{job.key}.png"


def is_done(job: Job, out: Path) -> bool:
    """Return whether a job's files are there: the one that comes last."""
    return drawing_of(job, out).is_file() and picture_of(job, out).is_file()


def draw_all(jobs: Sequence[Job], out: Path, workers: int) -> Iterator[tuple[Job, str]]:
    """Draw the jobs that are not done, and yield each with an error in words, or "".

    Args:
        jobs: in the order in which they begin.
        out: folder of the drawings and of the runs on the way.
        workers: processes side by side, each on its share of the cores.
    """
    unique = {job.key: job for job in jobs}
    yield from ((job, "") for job in unique.values() if is_done(job, out))
    waiting = [job for job in unique.values() if not is_done(job, out)]
    for name in ("drawings", "samples", "runs"):
        (out / name).mkdir(parents=True, exist_ok=True)
    yield from run_all(waiting, out, workers, draw_job)


@cache
def _bundle(folder: str) -> "DiffusionBundle":
    from runtime.engines.bundle import DiffusionBundle

    return DiffusionBundle.load(folder)


def draw_job(job: Job, out: Path) -> str:
    """Make a job's files; return what is wrong with its caption, or ""."""
    bundle, method = _bundle(job.config.bundle), _method(job.method)
    try:
        method.validate(job.config, bundle)
        if job.start is not None and not is_done(job.start, out):
            draw_job(job.start, out)
        _draw(job, bundle, method, out)
    except (UserError, FloatingPointError) as error:
        return str(error)
    return ""


def _draw(job: Job, bundle: "DiffusionBundle", method: Method[Any], out: Path) -> None:
    """Draw in a run folder, which resumes after a kill, and take the files out of it."""
    if job.method == "raster":
        replace_file(picture_of(job, out), _sample(job, bundle, out).read_bytes())
        return
    config, folder = job.config, out / "runs" / job.key
    if job.start is not None:
        config = replace(config, init=drawing_of(job.start, out))
    if job.samples is not None and config.init is None:
        _with_sample(method, config, bundle, folder, _sample(job, bundle, out))
    scene = draw(method, config, bundle, run=folder)
    files = write_files(method, config, bundle, scene, folder / "drawing.svg")
    # The SVG last: it says that the job is done.
    for file in sorted(files, key=lambda file: file.suffix == ".svg"):
        replace_file(out / "drawings" / f"{job.key}{file.suffix}", file.read_bytes())
    shutil.rmtree(folder)


def _sample(job: Job, bundle: "DiffusionBundle", out: Path) -> Path:
    """Return the raster sample of a caption, seed and K, which rows share: sampled once."""
    from runtime.guidance.prompt import encode_prompt
    from runtime.loop.optimize import generator_of
    from runtime.pictures import write_png
    from runtime.vectorfusion.stages import sampled_or_stored

    config = job.config
    names = ("prompt", "seed", "samples", "sample_omega")
    text = json.dumps([bundle.digest, *(getattr(config, name) for name in names)])
    file = out / "samples" / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.png"
    if not file.is_file():
        prompt = encode_prompt(config.prompt, bundle.prompt_suffix, bundle.text_encoder())
        # As `draw` makes it: what a row samples is what the command would.
        generator = generator_of(config.seed, 0, 0, "sample")
        quiet = {"run": None, "report": lambda event: None}
        write_png(file, sampled_or_stored(config, bundle, prompt, generator, **quiet))
    return file


def _with_sample(method: Method[Any], config: Any, bundle: "DiffusionBundle", folder: Path, sample: Path) -> None:
    """Make a run folder that finds its sample; one that is there stays."""
    from runtime.loop.folder import RunFolder, is_run

    if is_run(folder):
        return
    with RunFolder.create(folder, request_of(method, config, bundle)) as run:
        run.store("sample.png", sample.read_bytes())


def sha256_of(job: Job, out: Path) -> str:
    """Return the SHA-256 of a job's drawing."""
    return digest_of(drawing_of(job, out))
