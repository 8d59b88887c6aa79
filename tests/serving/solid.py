"""A method to test serving with whose result is a solid, a film and figures, as of methods in three dimensions."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro

from runtime.command.method import Method
from runtime.field.meshes.bake import TexturedMesh
from runtime.field.meshes.shape import Mesh
from runtime.field.meshes.write import write_mesh
from runtime.film import write_film
from runtime.loop.optimize import Stage
from runtime.pictures import write_png
from tests.serving.toy import Bars


@dataclass(frozen=True, kw_only=True)
class Config:
    """Build a red tetrahedron."""

    prompt: tyro.conf.Positional[str] = "a tetrahedron"
    """Words, or a picture."""
    seed: int = 0
    """Seed of all draws."""
    out: Path | None = None
    """GLB file."""


def build(config: Config, bundle: None, generator: torch.Generator, *, run, report) -> list[Stage]:
    def advance(scene: Bars, step: int, generator: torch.Generator) -> None:
        scene.heights += 1

    return [Stage(name="solid", steps=2, begin=lambda before, generator: Bars(torch.zeros(1)),
                  restore=Bars.from_state, advance=advance)]  # fmt: skip


def snapshot(config: Config, bundle: None, scene: Bars, stem: Path) -> Path:
    file = stem.with_name(f"{stem.name}.png")
    write_png(file, torch.zeros(3, 16, 16))
    return file


def write(config: Config, bundle: None, scene: Bars, out: Path) -> list[Path]:
    corners = np.array([[0, 0, 1], [1, 0, -0.5], [-0.5, 0.8, -0.5], [-0.5, -0.8, -0.5]], np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 3], [0, 3, 1], [1, 3, 2]], np.int64)
    red = np.broadcast_to(np.array([200, 20, 20], np.uint8), (16, 16, 3)).copy()
    places = np.full((4, 2), 0.5, np.float32)
    write_mesh(out, TexturedMesh(Mesh(corners, faces), places, red, np.repeat(red[:1, 0], 4, axis=0)))
    write_film(out.with_suffix(".mp4"), [torch.full((3, 32, 32), level / 10) for level in range(10)])
    out.with_suffix(".json").write_text("{}\n")
    return [out, out.with_suffix(".mp4"), out.with_suffix(".json")]


METHOD = Method(
    name="solid",
    config=Config,
    build=build,
    write=write,
    snapshot=snapshot,
    suffixes=lambda config: (".glb", ".mp4", ".json"),
    stem=lambda config: "solid",
    inputs=lambda config: {"prompt": Path(config.prompt)} if config.prompt.endswith(".png") else {},
)
