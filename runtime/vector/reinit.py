"""Re-initialization: paths that show nothing start anew as circles on top; Thesis 6.4.3, 11.2 and Table 11.1."""

import torch
from jaxtyping import Bool
from torch import Tensor

from runtime.loop.adam import Optimizer
from runtime.vector.paths import Drawing, Kind, Layout, circle_points, path_areas, random_colours
from runtime.vector.scene import VectorScene

CANVAS = 600
"""Side in pixels of the canvas that the thesis' lengths and areas are given on."""

FAINT = 0.05
"""Opacity below which a path counts as unused; Table 11.1."""


def due(step: int, steps: int, *, every: int = 50, quiet: int = 200) -> bool:
    """Return whether paths are replaced after a step.

    Args:
        step: in [0, steps), just done.
        steps: of the stage.
        every: steps from one replacement to the next.
        quiet: last steps, without replacement so that new paths settle; a stage of no more steps has none.
    """
    return (step + 1) % every == 0 and step + 1 <= steps - quiet


def unused_paths(drawing: Drawing, *, opacity: float, area: float) -> Bool[Tensor, "B P"]:
    """Return which paths show next to nothing: closed ones of one contour that are faint or small.

    Args:
        drawing: B scenes.
        opacity: threshold in [0, 1]; the thesis has 0.05.
        area: threshold in square canvas pixels; the thesis has 0 from scratch, and 64 on a canvas of 600 after tracing.
    """
    layout = drawing.layout
    # A circle can take the place of these only. The area of an open path is hard to measure (Thesis 11.2).
    closed = [
        kind in (Kind.NONZERO, Kind.EVENODD) and len(contours) == 1 and contours[0] >= 2
        for kind, contours in zip(layout.kinds, layout.contours, strict=True)
    ]
    return ((drawing.colours[..., 3] < opacity) | (path_areas(drawing) < area)) & torch.tensor(
        closed, device=drawing.points.device
    )


def replace_unused(
    scene: VectorScene,
    optimizer: Optimizer,
    step: int,
    steps: int,
    generator: torch.Generator,
    *,
    area: float,
) -> None:
    """Replace the unused paths of a drawing after a step, when it is time; see `due`, `unused_paths`, `replace_paths`.

    Args:
        scene: one drawing.
        optimizer: whose moments follow the paths.
        step: in [0, steps), just done.
        steps: of the stage.
        generator: of the draws.
        area: threshold in square pixels of a canvas of `CANVAS`.
    """
    if due(step, steps):
        threshold = area * (min(scene.size) / CANVAS) ** 2
        unused = unused_paths(scene.drawing().detach(), opacity=FAINT, area=threshold)
        replace_paths(scene, optimizer, unused, generator)


@torch.no_grad()
def replace_paths(
    scene: VectorScene, optimizer: Optimizer, dead: Bool[Tensor, "B P"], generator: torch.Generator
) -> None:
    """Take paths out of a drawing and put as many circles, of random place, colour and opacity, on top of it.

    Parameters and moments change in place: the paths that stay keep theirs in their new order, new ones have none. A
    circle has as many segments as the path that it replaces, and a radius of 20 on a canvas of 600.

    Args:
        scene: one drawing (B = 1).
        optimizer: whose moments follow the paths.
        dead: the paths to replace.
        generator: of the draws.

    Raises:
        ValueError: where the scene holds several drawings, whose paths could no longer share a layout.
    """
    if len(dead) != 1:
        raise ValueError(f"replace_paths: expected one drawing, got a batch of {len(dead)}")
    replaced = dead[0].nonzero()[:, 0].tolist()
    if not replaced:
        return
    stay = [path for path, is_dead in enumerate(dead[0].tolist()) if not is_dead]
    _reorder(scene, optimizer, stay + replaced, len(stay))
    kinds = scene.layout.kinds[: len(stay)] + (Kind.NONZERO,) * len(replaced)
    scene.layout = Layout(kinds, scene.layout.contours)
    height, width = scene.size
    centres = torch.rand(len(replaced), 2, generator=generator) * torch.tensor([float(width), float(height)])
    # This drawing holds the parameters themselves: the optimizer continues with what is written into it.
    drawing = scene.drawing()
    for path, centre in enumerate(centres, len(stay)):
        (segments,) = scene.layout.contours[path]
        where = scene.layout.path_slice(path)
        drawing.points[:, where] = circle_points(centre, 20 / CANVAS * min(height, width), segments)
    drawing.colours[:, len(stay) :] = random_colours(1, len(replaced), generator)


def _reorder(scene: VectorScene, optimizer: Optimizer, order: list[int], staying: int) -> None:
    """Bring the paths and the optimizer's moments of them into an order; moments after the first `staying` become 0."""
    points, drawing = range(scene.layout.num_points), scene.drawing()
    rows = [row for path in order for row in points[scene.layout.path_slice(path)]]
    scene.layout = scene.layout.select(order)
    staying_points = scene.layout.offsets[staying]
    for parameter, index, first_new in (
        (drawing.points, rows, staying_points),
        (drawing.colours, order, staying),
        (drawing.widths, order, staying),
    ):
        parameter.copy_(parameter[:, index].clone())
        for moment in optimizer.state.get(parameter, {}).values():
            # Adam's step counter is a tensor as well, but a single number, and counts for all paths.
            if isinstance(moment, Tensor) and moment.shape == parameter.shape:
                moment.copy_(moment[:, index].clone())
                moment[:, first_new:] = 0.0
