"""Paths for what a traced drawing leaves out, part by part, until all is explained or no path is left."""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import ndimage
from torch import Tensor

from runtime.vector.paths import Drawing, Kind, Layout
from runtime.vector.scene import VectorScene
from runtime.vector.trace.flat.areas import Thin
from runtime.vector.trace.flat.centrelines import lines_of
from runtime.vector.trace.flat.curves import Points
from runtime.vector.trace.flat.drawing import HARD, contours_of, stroke_of
from runtime.vector.trace.flat.stacking import Sheet
from runtime.vector.trace.missing import SMALLEST, wrong_pixels
from runtime.vector.trace.sharing import ALIKE as SAME
from runtime.vector.trace.sharing import shared

Part = tuple[Kind, list[Points], np.ndarray, float]
"""Kind, contours, colour and width of a path."""

MOST_PARTS = 512
"""Parts that are looked at in a round."""
ROUNDS = 4
"""How often what is left out is looked at again."""
ALIKE = 0.25
"""Difference of a channel from a part's most different pixel within which others are of its colour."""


def with_remainder(drawing: Drawing, target: Float[Tensor, "3 H W"], paths: int) -> Drawing:
    """Return a drawing with paths on top for the parts of its picture that it shows quite differently.

    Each connected part is painted in its own colour, the largest first; a thin one is a stroke. What is still different
    then, such as the rest of a part of two colours, is looked at again. Where there are more parts than paths, those of
    like colour share one.

    Args:
        drawing: one scene of the target's size.
        target: the picture.
        paths: most paths in all.
    """
    for _ in range(ROUNDS):
        with torch.no_grad():
            drawn = VectorScene(drawing).render()[0]
        added = _parts(drawn, target, MOST_PARTS)
        if not added:
            break
        if len(added) > paths - drawing.layout.num_paths:
            drawing, added = shared(drawing), _sharing(added)
        added = added[: max(paths - drawing.layout.num_paths, 0)]
        if not added:
            break
        drawing = _with(drawing, added)
    return drawing


def _sharing(parts: list[Part]) -> list[Part]:
    """Return parts of which fills of like colour are one; what is in no other's way may be painted with the first."""
    result: list[Part] = []
    for kind, contours, colour, width in parts:
        homes = [p for p in result if p[0] == kind == Kind.NONZERO and np.abs(p[2] - colour).max() <= SAME]
        if homes:
            homes[0][1].extend(contours)
        else:
            result.append((kind, list(contours), colour, width))
    return result


def _parts(drawn, target, room: int) -> list[Part]:
    """Return up to `room` paths for what is wrong."""
    picture = target.permute(1, 2, 0).double().cpu().numpy()
    labels, count = ndimage.label(wrong_pixels(drawn, target), structure=np.ones((3, 3)))  # pyright: ignore
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    boxes = ndimage.find_objects(labels)
    result = []
    for label in np.argsort(-sizes, kind="stable"):
        if sizes[label] < SMALLEST or len(result) >= room:
            break
        box = tuple(slice(max(side.start - 2, 0), side.stop + 2) for side in boxes[label - 1])
        own = labels[box] == label
        colour = np.median(picture[box][own], axis=0)
        result += _path(own, box, picture[box], colour)[: room - len(result)]
    return result


def _path(own: Bool[np.ndarray, "h w"], box, picture, colour):
    """Return the paths of one part: its contours, or its strokes."""
    # Pixels next to it that are of its colour, too, were only less wrong.
    alike = np.asarray(ndimage.binary_dilation(own, np.ones((3, 3)))) & (np.abs(picture - colour).max(axis=2) < ALIKE)
    coverage = (own | alike).astype(float)
    lines = lines_of(Thin(0, box[0], box[1], coverage))
    if lines is not None:
        return [
            (Kind.STROKE, [stroke_of(line.points, line.closed, HARD)], colour, line.width)
            for line in lines
            if len(line.points) > 1
        ]
    sheet = Sheet(0, box[0].start, box[1].start, coverage, np.zeros(coverage.shape, dtype=bool), frozenset())
    contours = contours_of(sheet, HARD)
    return [(Kind.NONZERO, contours, colour, 1.0)] if contours else []


def _with(drawing: Drawing, parts) -> Drawing:
    """Return a drawing with paths on top."""
    contours = [contour for _, own, _, _ in parts for contour in own]
    top = replace(
        drawing,
        layout=Layout(
            tuple(kind for kind, *_ in parts),
            tuple(tuple(len(points) // 3 for points in own) for _, own, _, _ in parts),
        ),
        points=torch.tensor(np.concatenate(contours)[None]).to(drawing.points),
        colours=torch.tensor(np.array([[*colour, 1.0] for _, _, colour, _ in parts])[None]).to(drawing.colours),
        widths=torch.tensor([[width for *_, width in parts]]).to(drawing.widths),
    )
    return drawing.append(top)
