"""`python -m runtime.nerf mesh`: a run's mesh once more, in another format or at another density."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from annotated_types import Interval

from runtime.command.outputs import check_outputs
from runtime.errors import UserError
from runtime.nerf.tools.runs import RunOptions, load_run, parse_run

BESIDE = {".glb": (".glb",), ".obj": (".obj", ".mtl", ".png"), ".ply": (".ply",)}
"""Endings of the files that each format has."""


@dataclass(frozen=True, kw_only=True)
class Config(RunOptions):
    """Write a run's mesh: GLB or OBJ with a texture, or PLY with colours at the vertices."""

    out: Path | None = None
    """File to write, ending on .glb, .obj or .ply; by default RUN.glb, in the working directory."""
    level: Annotated[float, Interval(ge=-12, le=60)] | None = None
    """Raw density of the surface, the inverse softplus of a density; by default the one whose surface
    lies where the photos' cameras see it."""
    force: tyro.conf.FlagCreatePairsOff[bool] = False
    """Replace a file that no run has written."""


def main(arguments: list[str]) -> int:
    """Write a run's mesh from a command line, and return the exit code."""
    config = parse_run(Config, "mesh", arguments)
    out = config.out or Path(f"{config.run.name}.glb")
    if out.suffix not in BESIDE:
        raise UserError(f"--out '{out}': expected a name that ends on {', '.join(BESIDE)}")
    check_outputs(out, BESIDE[out.suffix], [], force=config.force)
    from runtime.field.results import Surface, write_model
    from runtime.nerf.output import surface_of
    from runtime.nerf.scenes import box
    from runtime.threads import one_torch_thread

    field, split = load_run(config.run)
    level = config.level
    with one_torch_thread():  # for the same bytes on any number of cores
        surface = surface_of(field, split) if level is None else Surface.of(field, box(), lambda raw: level)
        figures = write_model(field, surface, out)
    for name, figure in figures.items():
        print(f"{name}: {figure}")
    print(out)
    return 0
