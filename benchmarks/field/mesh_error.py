"""How far is a mesh of the example capture from the robot's true surface, and by how much are its normals tilted?

python -m runtime.nerf benchmarks/capture --views 8
python -m benchmarks.field.mesh_error capture.glb
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from jaxtyping import Float64

from benchmarks.field.capture import SCENE, Sphere
from runtime.command.options import parse_options
from runtime.errors import UserError, run_main

POINTS = 40_000
"""Places on the mesh, drawn uniformly by area."""

STEP = 1e-3
"""Of the differences that give the true normals, world units; the robot is about 1.6 high."""

Points = Float64[np.ndarray, "P 3"]


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to measure."""

    mesh: Annotated[Path, tyro.conf.Positional]
    """GLB file that `runtime.nerf` has made of `benchmarks/capture`."""


def signed_distance(points: Points) -> Float64[np.ndarray, " P"]:
    """Return the distance to the nearest solid of the robot; it is negative inside, where it is a bound."""
    distance = np.full(len(points), np.inf)
    for solid in SCENE:
        if isinstance(solid, Sphere):
            own = np.linalg.norm(points - np.array(solid.centre), axis=1) - solid.radius
        else:
            low, high = np.array(solid.low), np.array(solid.high)
            beyond = np.abs(points - (low + high) / 2) - (high - low) / 2
            own = np.linalg.norm(np.maximum(beyond, 0), axis=1) + np.minimum(beyond.max(1), 0)
        distance = np.minimum(distance, own)
    return distance


def true_normals(points: Points) -> Points:
    """Return the directions in which the signed distance grows."""
    shifts = STEP * np.eye(3)
    slope = np.stack([signed_distance(points + s) - signed_distance(points - s) for s in shifts], axis=1)
    return slope / np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-12)


def errors_of(points: Points, normals: Points) -> dict[str, float]:
    """Return mean and median of the distance to the true surface, world units, and of the normals' tilt, degrees."""
    distance = np.abs(signed_distance(points))
    tilt = np.degrees(np.arccos((true_normals(points) * normals).sum(1).clip(-1, 1)))
    figures = {"distance": distance, "tilt": tilt}
    return {f"{how} {name}": float(getattr(np, how)(v)) for name, v in figures.items() for how in ("mean", "median")}


def read_points(path: Path) -> tuple[Points, Points]:
    """Return places on a mesh and the normals there, in the capture's axes.

    Raises:
        UserError: there is no such mesh.
    """
    import trimesh

    try:
        mesh: Any = trimesh.load(path, force="mesh", process=False)
        points, faces = trimesh.sample.sample_surface(mesh, POINTS, seed=0)[:2]
    except (OSError, ValueError, IndexError) as error:
        raise UserError(f"'{path}': expected a GLB file with a mesh, got {error!s:.100}") from None
    # A GLB's y is up, and the capture's z.
    turned = [np.stack([v[:, 0], -v[:, 2], v[:, 1]], axis=1) for v in (points, mesh.face_normals[faces])]
    return turned[0], turned[1]


def main() -> None:
    """Measure from a command line."""
    config = parse_options(Config, "benchmarks.field.mesh_error", description=__doc__)
    for name, value in errors_of(*read_points(config.mesh)).items():
        print(f"{name}: {value:.4g}")


if __name__ == "__main__":
    run_main(main)
