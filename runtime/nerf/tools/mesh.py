"""`python -m runtime.nerf mesh`: a run's mesh once more, in another format or at another density."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from annotated_types import Interval

from runtime.command.options import parse_options
from runtime.command.outputs import check_outputs
from runtime.errors import UserError

BESIDE = {".glb": (".glb",), ".obj": (".obj", ".mtl", ".png"), ".ply": (".ply",)}
"""Endings of the files that each format has."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Write a run's mesh: GLB or OBJ with a texture, or PLY with colours at the vertices."""

    run: Annotated[Path, tyro.conf.Positional] = Path()
    """Run folder, such as runs/capture."""
    out: Path | None = None
    """File to write, ending on .glb, .obj or .ply; by default RUN.glb, in the working directory."""
    level: Annotated[float, Interval(ge=-12, le=60)] | None = None
    """Raw density of the surface, the inverse softplus of a density; by default the one whose surface
    lies where the photos' cameras see it."""
    force: tyro.conf.FlagCreatePairsOff[bool] = False
    """Replace a file that no run has written."""


def main(arguments: list[str]) -> int:
    """Write a run's mesh from a command line, and return the exit code."""
    config = parse_options(Config, "runtime.nerf mesh", arguments=arguments)
    if config.run == Path():
        raise UserError("run: expected a run folder, got none; `python -m runtime.nerf CAPTURE` makes one")
    out = config.out or Path(f"{config.run.name}.glb")
    if out.suffix not in BESIDE:
        raise UserError(f"--out '{out}': expected a name that ends on {', '.join(BESIDE)}")
    check_outputs(out, BESIDE[out.suffix], [], force=config.force)
    from runtime.field.results import Surface, write_model
    from runtime.nerf.output import surface_of
    from runtime.nerf.scenes import box
    from runtime.nerf.tools.render import load_run

    field, split = load_run(config.run)
    level = config.level
    surface = surface_of(field, split) if level is None else Surface.of(field, box(), lambda raw: level)
    for name, figure in write_model(field, surface, out).items():
        print(f"{name}: {figure}")
    print(out)
    return 0
