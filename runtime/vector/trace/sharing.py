"""Paths of one colour as one path of several contours, where that shows the same picture: more parts fit a limit."""

import numpy as np
import torch
from jaxtyping import Bool, Float64

from runtime.vector.paths import Drawing, Kind, Layout

ALIKE = 8 / 255
"""Difference of a channel up to which two paths have one colour."""
APART = 1.0
"""Pixels between the boxes of paths that are one: where contours meet, their directions would count."""

Boxes = Float64[np.ndarray, "P 4"]


def shared(drawing: Drawing) -> Drawing:
    """Return a drawing in which fills of like colour are one path, where no other path between them is in the way.

    Args:
        drawing: one scene.
    """
    groups = _groups(drawing)
    if len(groups) == drawing.layout.num_paths:
        return drawing
    order = [path for group in groups for path in group]
    ordered = drawing.select(order)
    layout = drawing.layout
    contours = tuple(tuple(n for path in group for n in layout.contours[path]) for group in groups)
    firsts = [group[0] for group in groups]
    return Drawing(
        layout=Layout(tuple(layout.kinds[path] for path in firsts), contours),
        points=ordered.points,
        colours=drawing.colours[:, firsts],
        widths=drawing.widths[:, firsts],
        background=drawing.background,
        size=drawing.size,
    )


def _groups(drawing: Drawing) -> list[list[int]]:
    """Return the paths that become one, in the order of painting: at the place of the lowest of them."""
    boxes = boxes_of(drawing)
    colours = drawing.colours[0].double().cpu().numpy()
    kinds = drawing.layout.kinds
    groups: list[list[int]] = []
    for path, kind in enumerate(kinds):
        touching = _touching(boxes[path], boxes)
        alike = np.abs(colours - colours[path]).max(axis=1) <= ALIKE
        home = None
        if kind == Kind.NONZERO and colours[path, 3] == 1:
            for number in range(len(groups) - 1, -1, -1):
                group = groups[number]
                if kinds[group[0]] == kind and alike[group[0]] and not touching[group].any():
                    home = number
                    break
                # It would be painted below this group, which it touches.
                if touching[group].any():
                    break
        if home is None:
            groups.append([path])
        else:
            groups[home].append(path)
    return groups


def boxes_of(drawing: Drawing) -> Boxes:
    """Return left, top, right and bottom of the control points of each path, its stroke's width included."""
    points = drawing.points[0].detach().double().cpu()
    result = np.zeros((drawing.layout.num_paths, 4))
    for path, kind in enumerate(drawing.layout.kinds):
        own = points[drawing.layout.path_slice(path)]
        reach = float(drawing.widths[0, path]) if kind == Kind.STROKE else 0.0
        result[path] = torch.cat([own.amin(0) - reach, own.amax(0) + reach]).numpy()
    return result


def _touching(box: Float64[np.ndarray, "4"], boxes: Boxes) -> Bool[np.ndarray, " P"]:
    """Return which boxes are less than `APART` from one."""
    low = np.maximum(box[:2], boxes[:, :2])
    high = np.minimum(box[2:], boxes[:, 2:])
    return np.asarray((low - high < APART).all(axis=1))
