"""Jobs: one prompt drawn by one row, in a process of its own, once."""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.tables.pool import run_all
from benchmarks.text_to_3d.definitions import Row
from runtime import dreamfields, dreamfusion, lift
from runtime.command.method import Method, checked, draw, request_of
from runtime.command.outputs import digest_of
from runtime.command.settings import with_defaults
from runtime.errors import UserError
from runtime.files import replace_file

if TYPE_CHECKING:
    from runtime.engines.bundle import DiffusionBundle
    from runtime.field.fields.grid import DenseGrid
    from runtime.field.fields.residual import ResidualField

METHODS: Mapping[str, Method[Any]] = {
    "lift": lift.METHOD,
    "dreamfusion": dreamfusion.METHOD,
    "dreamfields": dreamfields.METHOD,
}


@dataclass(frozen=True)
class Job:
    """An object to be made."""

    method: str
    """Key of `METHODS`."""
    config: Any
    """Of the method."""
    key: str
    """Hash of everything that decides the object."""


@cache
def load_bundle(name: str) -> "DiffusionBundle":
    """Return the networks of that name or folder, loaded once a process."""
    from runtime.engines.bundle import DiffusionBundle

    return DiffusionBundle.load(name)


def job_of(row: Row, prompt: str, seed: int = 0, change: Mapping[str, Any] | None = None) -> Job:
    """Return the job of a row and a prompt.

    Args:
        row: of a table.
        prompt: what is drawn.
        seed: of every draw.
        change: options that a shortened trial changes.

    Raises:
        UserError: the prompt or an option is none that the method takes.
    """
    method, bundle = METHODS[row.method], load_bundle(row.bundle)
    config = method.config() if method.default is None else method.default(dict.fromkeys(method.selectors))
    config = with_defaults(config, bundle.defaults(method.name), f"bundle {bundle.name!r}")
    named = {"prompt": prompt, "seed": seed, "bundle": row.bundle}
    config = checked(method, replace(config, **{**row.options, **(change or {}), **named}))
    request = request_of(method, config, bundle)
    # A folder's place does not change what is drawn, the networks in it do.
    del request["config"]["bundle"]
    text = json.dumps(request, sort_keys=True)
    return Job(row.method, config, hashlib.sha256(text.encode()).hexdigest()[:24])


def field_of(job: Job, out: Path) -> Path:
    """Return the file of a job's field."""
    return out / "objects" / f"{job.key}.safetensors"


def views_of(job: Job, out: Path) -> Path:
    """Return the PNG of a job's views: two rows of them in colour, and two in grey."""
    return field_of(job, out).with_suffix(".png")


def facts_of(job: Job, out: Path) -> Path:
    """Return the JSON of a job, which is written last: prompt, CPU seconds, SHA-256 of the field, shape."""
    return field_of(job, out).with_suffix(".json")


def is_done(job: Job, out: Path) -> bool:
    """Return whether a job's files are there."""
    return facts_of(job, out).is_file()


def draw_all(jobs: Sequence[Job], out: Path, workers: int) -> Iterator[tuple[Job, str]]:
    """Draw the jobs that are not done, and yield each with an error in words, or "".

    Args:
        jobs: in the order in which they begin.
        out: folder of the objects.
        workers: processes side by side, each on its share of the cores.
    """
    unique = {job.key: job for job in jobs}
    yield from ((job, "") for job in unique.values() if is_done(job, out))
    (out / "objects").mkdir(parents=True, exist_ok=True)
    yield from run_all([job for job in unique.values() if not is_done(job, out)], out, workers, draw_job)


def draw_job(job: Job, out: Path) -> str:
    """Make a job's files; return what is wrong with its prompt, or ""."""
    from safetensors.torch import save

    from benchmarks.text_to_3d.views import pictures_of, shape_of, surface_of
    from runtime.field.sheets import contact_sheet
    from runtime.pictures import write_png

    method, bundle = METHODS[job.method], load_bundle(job.config.bundle)
    begun = time.process_time()
    try:
        method.validate(job.config, bundle)
        scene: Any = draw(method, job.config, bundle)
    except (UserError, FloatingPointError) as error:
        return str(error)
    spent = time.process_time() - begun
    replace_file(field_of(job, out), save({name: value.contiguous() for name, value in scene.state().items()}))
    surface = surface_of(job.config, scene)
    pictures = pictures_of(scene, None if surface is None else surface.mesh)
    write_png(views_of(job, out), contact_sheet(list(pictures.flatten(0, 1)), 8, gap=0))
    facts = {
        "prompt": job.config.prompt,
        "method": job.method,
        "bundle": bundle.name,
        "seed": job.config.seed,
        "sha256": digest_of(field_of(job, out)),
        "cpu_s": round(spent, 1),
        "shape": shape_of(surface),
    }
    replace_file(facts_of(job, out), json.dumps(facts, indent=1) + "\n")
    return ""


def scene_of(job: Job, out: Path) -> "DenseGrid | ResidualField":
    """Return a job's field, as it was drawn."""
    from safetensors.torch import load

    from runtime.field.fields.grid import DenseGrid
    from runtime.field.fields.residual import ResidualField

    state = load(field_of(job, out).read_bytes())
    return ResidualField.from_state(state) if "options" in state else DenseGrid.from_state(state)
