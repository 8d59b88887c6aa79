"""What a capture's cameras see of its box, for a person to check before time is spent on it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from runtime.field.cameras import Cameras, box_span, pixel_centres
from runtime.field.captures.capture import Capture

PROBES = 12
"""Rays along each side of a picture that are tried."""

FEW_RAYS = 0.1
"""Share of a picture's rays below which the box is probably in the wrong place."""


@dataclass(frozen=True)
class Sight:
    """One camera beside the box [-1, 1]^3."""

    distance: float
    """From the box's middle."""
    azimuth: float
    """Around +z, degrees."""
    elevation: float
    """Above the horizon, degrees."""
    roll: float
    """By how much its picture's top leans to the right of +z, degrees."""
    share: float
    """Of its rays, those that meet the box."""
    near: float
    """Distance at which the first ray enters the box; NaN where none does."""
    far: float
    """Distance at which the last ray leaves it; NaN where none does."""


def look_from(cameras: Cameras, view: int) -> Sight:
    """Return where a camera of a normalized capture stands and what it sees of the box."""
    height, width = cameras.sizes[view].tolist()
    rays = cameras.rays(view, pixel_centres(PROBES, PROBES) * torch.tensor([width, height]) / PROBES)
    enter, leave = box_span(rays)
    hits = leave > enter
    x, y, z = cameras.centres[view].tolist()
    distance = math.sqrt(x * x + y * y + z * z)
    return Sight(
        distance=distance,
        azimuth=math.degrees(math.atan2(y, x)),
        elevation=math.degrees(math.asin(z / distance)) if distance > 0 else 0.0,
        # The picture's right and top, as far as they point up.
        roll=math.degrees(math.atan2(-float(cameras.poses[view, 2, 0]), float(cameras.poses[view, 2, 1]))),
        share=float(hits.float().mean()),
        near=float(enter[hits].min()) if hits.any() else math.nan,
        far=float(leave[hits].max()) if hits.any() else math.nan,
    )


def describe_capture(capture: Capture, *, rows: int = 24) -> Iterator[str]:
    """Yield lines that tell of a normalized capture: what it is, its cameras as a table, and warnings.

    Args:
        capture: as `load_capture` returns it.
        rows: most cameras to list, spread over all.
    """
    sights = [look_from(capture.cameras, view) for view in range(len(capture))]
    yield from _summary(capture, sights)
    yield ""
    width = max(7, *(len(name) for name in capture.names))
    width = min(width, 32)
    yield f"{'picture':{width}}  {'pixels':>11}  focal  distance  azimuth  elevation    roll  in box   near    far"
    step = max(1, -(-len(capture) // rows))
    for view in range(0, len(capture), step):
        yield _row(capture, view, sights[view], width)
    if step > 1:
        yield f"every {step}. of {len(capture)}"
    for note in (*capture.notes, *_warnings(capture, sights)):
        yield f"warning: {note}"


def _summary(capture: Capture, sights: list[Sight]) -> Iterator[str]:
    extras = ["with alpha" if capture.has_alpha else "without alpha"]
    extras += ["masks"] if any(capture.masks) else []
    extras += ["depths"] if any(capture.depths) else []
    extras += ["lens distortion"] if capture.cameras.distortion is not None else []
    extras += [f"{name} {len(rows)}" for name, rows in capture.splits.items()]
    yield f"{capture.format}: {len(capture)} pictures, {', '.join(extras)}"
    scale = float(capture.to_world[:3, 0].norm())
    up = capture.to_world[:3, 2] / scale
    yield f"up    {_vector(up)} in the capture's coordinates"
    yield f"box   half a side {scale:.4g}, middle {_vector(capture.to_world[:3, 3])} in the capture's coordinates"
    inside = [sight for sight in sights if sight.share > 0]
    if inside:
        near, far = min(sight.near for sight in inside), max(sight.far for sight in inside)
        yield f"near  {near:.3g}, far {far:.3g} in halves of the box's side ({near * scale:.4g}, {far * scale:.4g})"
    yield f"rays  {100 * sum(sight.share for sight in sights) / len(sights):.0f} % meet the box"


def _row(capture: Capture, view: int, sight: Sight, width: int) -> str:
    height, breadth = capture.cameras.sizes[view].tolist()
    name = capture.names[view]
    shown = name if len(name) <= width else "..." + name[3 - width :]
    # Adding 0 to a rounded number turns -0 into 0.
    azimuth, elevation, roll = (round(angle, 1) + 0.0 for angle in (sight.azimuth, sight.elevation, sight.roll))
    return (
        f"{shown:{width}}  {f'{breadth} x {height}':>11}  {float(capture.cameras.intrinsics[view, 0]):5.0f}"
        f"  {sight.distance:8.3f}  {azimuth:7.1f}  {elevation:9.1f}  {roll:6.1f}"
        f"  {100 * sight.share:4.0f} %  {sight.near:5.2f}  {sight.far:5.2f}"
    )


def _warnings(capture: Capture, sights: list[Sight]) -> Iterator[str]:
    """Yield warnings that only rays show."""
    blind = [view for view, sight in enumerate(sights) if sight.share < FEW_RAYS]
    if blind:
        yield (
            f"{len(blind)} of {len(sights)} pictures hardly see the box, such as '{capture.names[blind[0]]}': axes may "
            "be flipped, or the box is in the wrong place"
        )
    tilted = sum(abs(sight.roll) > 45 and abs(sight.elevation) < 80 for sight in sights)
    if tilted > len(sights) / 2:
        yield f"{tilted} of {len(sights)} pictures lean by more than 45 degrees: another axis may be up"


def _vector(values: Float[Tensor, " 3"]) -> str:
    return "(" + ", ".join(f"{round(value, 3) + 0.0:g}" for value in values.tolist()) + ")"
