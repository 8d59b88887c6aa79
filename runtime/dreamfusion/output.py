"""What `runtime.dreamfusion` writes: a mesh, a film, figures, and pictures on the way."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from runtime.engines.bundle.ddpm import DdpmBundle
from runtime.field.cameras import Rays
from runtime.field.fields.grid import DenseGrid
from runtime.field.reference.grid import slope_of
from runtime.field.results import AROUND, Surface, mean_level, pictures_around, write_object, write_sheet
from runtime.field.volume import Rendering
from runtime.guidance.clip import cosines_around
from runtime.version import __version__

if TYPE_CHECKING:
    from runtime.dreamfusion.config import Config
    from runtime.dreamfusion.network import PaperField
    from runtime.dreamfusion.teacher import Networks


OUTSIDE = 1.0
"""Nodes before the surface at which such a ray begins."""


FLAT = 1e-6
"""Raw density a node, below which there is no direction inwards."""


@dataclass(frozen=True)
class Seen:
    """A grid whose surface has the colours that are seen there, rather than those of the places themselves.

    In a shell of fog the outermost places hardly count in any picture, and their colours are arbitrary.
    """

    grid: DenseGrid

    def render(self, rays: Rays, jitter: Tensor | None = None, *, normals: bool = False) -> Rendering:
        """Return what rays show."""
        return self.grid.render(rays, jitter, normals=normals)

    def raw_density(self) -> Float[Tensor, "N N N"]:
        """Return the raw density at the nodes."""
        return self.grid.raw_density()

    @torch.no_grad()
    def colour_at(self, points: Float[Tensor, "P 3"]) -> Float[Tensor, "P 3"]:
        """Return what rays straight into the surface show: mean colours of what they meet."""
        grid = self.grid
        interval = grid.side / (grid.size - 1)
        at = (points - grid.box[:3]) / interval
        slope = slope_of(grid.values.detach(), at)
        # Where the density is even any direction is as good; rays have to have one.
        flat = slope.norm(dim=1, keepdim=True) < FLAT
        inwards = functional.normalize(torch.where(flat, torch.tensor([0.0, 0.0, -1.0]), slope), dim=1)
        shown = grid.render(Rays(points - OUTSIDE * interval * inwards, inwards))
        return (shown.colour / shown.alpha[:, None].clamp(min=1e-3)).clamp(0, 1)


def write(config: "Config", bundle: "Networks", scene: "DenseGrid | PaperField", out: Path) -> list[Path]:
    """Write a mesh, a film of it, and figures; return the paths."""
    # A bundle that reads no texts has drawn something, but nothing of what the prompt says.
    reads = not isinstance(bundle, DdpmBundle)
    cosines = cosines_around(pictures_around(scene, AROUND), config.prompt, bundle.scorer) if reads else None
    figures = {"version": f"tgm {__version__}", "prompt": config.prompt, "cosines": cosines}
    # Distilled fields are shells of fog, as teachers see no difference to solids.
    surface = Surface.of(scene, scene.box.cpu(), mean_level)
    return write_object(Seen(scene) if isinstance(scene, DenseGrid) else scene, surface, out, figures)


def snapshot(config: "Config", bundle: "Networks", scene: "DenseGrid | PaperField", stem: Path) -> Path:
    """Write a scene on the way, seen from eight sides, with its normals, as a PNG; return its path."""
    return write_sheet(scene, stem, normals=True)
