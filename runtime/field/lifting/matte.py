"""The foreground of a picture before an even background."""

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from runtime.field.lifting.masks import dilated, distance_inside, filled, labelled, opened

NEAR = 0.07
"""Largest difference, of any channel in [0, 1], at which a pixel still has the background's colour."""

SMALLEST = 0.08
"""Share of the foreground below which a piece of it is a speck."""

HOLE = 0.04
"""Least share of the foreground that a hole has."""

PAPER = 0.015
"""Greatest median difference of a hole from the background's colour."""

FRAME = 0.18
"""Greatest distance of a hole's edge from the outside, in parts of the root of the foreground's area."""

LARGE = 0.2
"""Share of the foreground from which on a white place is a hole in an even frame alone, as in a ring: else it is a
belly or a face."""

EVEN = 1.4
"""Greatest thickness of an even frame in parts of its median; its thickest tenth is left out."""

PLAIN = 0.12
"""Greatest mean difference of an even frame's colours from their median, in the channel that differs most."""


def background_of(picture: Float[Tensor, "3 H W"]) -> Float[np.ndarray, " 3"]:
    """Return the median colour of a picture's border."""
    rgb = picture.numpy()
    # The median: an object may touch a part of the border.
    border = np.concatenate([rgb[:, 0], rgb[:, -1], rgb[:, 1:-1, 0], rgb[:, 1:-1, -1]], axis=1)
    return np.median(border, axis=1)


def foreground(picture: Float[Tensor, "3 H W"], *, near: float = NEAR) -> Bool[np.ndarray, "H W"]:
    """Return which pixels show the object: those that no path of background colour joins to the border.

    So a white spot on an object is not a hole in it. Without hairs one or two pixels wide, specks and holes.

    Args:
        picture: RGB in [0, 1] before a background of one colour.
        near: see `NEAR`.
    """
    difference = np.abs(picture.numpy() - background_of(picture)[:, None, None]).max(0)
    mask = ~joined_to_border(difference < near)
    # An object may leave the frame: what lies outside must not eat into it.
    padded = np.pad(mask, 1, mode="edge")
    mask = opened(padded)[1:-1, 1:-1] & mask
    mask = without_specks(mask, SMALLEST)
    # First without any hole, as a bright spot may look like one; then the true ones are cut out.
    whole = filled(mask)
    return whole & ~holes(picture, difference, whole)


def joined_to_border(mask: Bool[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    """Return the pieces of a mask that reach the picture's border."""
    pieces, count = labelled(mask)
    reaches = np.zeros(count + 1, bool)
    for edge in (pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]):
        reaches[edge] = True
    # 0 is what lies outside of the mask.
    reaches[0] = False
    return reaches[pieces]


def holes(
    picture: Float[Tensor, "3 H W"], difference: Float[np.ndarray, "H W"], mask: Bool[np.ndarray, "H W"]
) -> Bool[np.ndarray, "H W"]:
    """Return the places in a mask through which the background shows, as through a handle or the back of a chair.

    White spots of an object look much the same. What tells a hole is that it has the background's very colour and that
    only a thin frame parts it from the outside. A large one takes the place of most of the object: such are the holes
    of rings, whose frame is as thick all around and of one colour, but white bellies and faces, too, whose frame has
    wings, feet, a beak or ears.

    Args:
        picture: RGB in [0, 1].
        difference: of each pixel from the background's colour.
        mask: the foreground, without holes.
    """
    area = int(mask.sum())
    pieces, count = labelled((difference < NEAR) & mask)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    open_places = np.zeros_like(mask)
    # Most pictures have none: distances are measured for what is large and has the colour alone.
    for piece in (1 + np.flatnonzero(sizes[1:] >= HOLE * area)).tolist():
        place = pieces == piece
        if np.median(difference[place]) >= PAPER:
            continue
        thickness = distance_inside(mask)[dilated(place) & ~place]
        middle = np.median(thickness)
        if sizes[piece] >= LARGE * area:
            is_hole = np.quantile(thickness, 0.9) < EVEN * middle and _is_plain(picture.numpy(), place, mask)
        else:
            is_hole = middle < FRAME * np.sqrt(area)
        if is_hole:
            open_places |= place
    return open_places


def _is_plain(rgb: Float[np.ndarray, "3 H W"], place: Bool[np.ndarray, "H W"], mask: Bool[np.ndarray, "H W"]) -> bool:
    """Return whether what surrounds a place in a mask is of one colour, but for the blend at its edge."""
    colours = rgb[:, dilated(place, 4) & ~dilated(place, 2) & mask]
    return colours.size > 0 and float(np.abs(colours - np.median(colours, 1, keepdims=True)).max(0).mean()) < PLAIN


def without_specks(mask: Bool[np.ndarray, "H W"], share: float) -> Bool[np.ndarray, "H W"]:
    """Return a mask without the pieces that have less than a share of its pixels."""
    pieces, count = labelled(mask)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    sizes[0] = 0
    return (sizes >= max(share * sizes.sum(), 1))[pieces]
