"""Compiled: which area each pixel belongs to, and whether it is thick there."""

import numpy as np

from runtime.kernels.jit import entry

PRESENT = 0.15
"""Share from which on a pixel is part of a thin area."""
REACH = 3
"""Pixels around a thick core that belong to it, not to a line that ends there."""


@entry
def far_from_thick(labels, shares, most, thick):
    """Return each pixel's label that is present but far from where it is thick (-1 without), and whether it is not far.

    The second map tells of those pixels whether what is thick is only just out of reach.
    """
    height, width = most.shape
    far = np.full((height, width), -1)
    near = np.zeros((height, width), np.bool_)
    for row in range(height):
        for column in range(width):
            if thick[row, column] and shares[row, column, 0] > 1 - PRESENT:
                continue
            for k in range(3):
                label = labels[row, column, k]
                if label < 0 or shares[row, column, k] <= PRESENT:
                    continue
                best = REACH + 2
                for y in range(max(row - REACH - 1, 0), min(row + REACH + 2, height)):
                    for x in range(max(column - REACH - 1, 0), min(column + REACH + 2, width)):
                        if thick[y, x] and most[y, x] == label:
                            best = min(best, max(abs(y - row), abs(x - column)))
                if best > REACH:
                    far[row, column] = label
                    near[row, column] = best == REACH + 1
                    break
    return far, near


@entry
def assign(labels, shares, owner, colours, ink, areas):
    """Turn labels of colours into areas: the nearest one of the colour; the ink of thin ones goes to the owner."""
    height, width = owner.shape
    for row in range(height):
        for column in range(width):
            for k in range(3):
                label = labels[row, column, k]
                if label < 0:
                    continue
                area = owner[row, column]
                if colours[area] != label and label != ink[row, column]:
                    best = 9
                    for y in range(max(row - 2, 0), min(row + 3, height)):
                        for x in range(max(column - 2, 0), min(column + 3, width)):
                            distance = (y - row) ** 2 + (x - column) ** 2
                            if colours[owner[y, x]] == label and distance < best:
                                best = distance
                                area = owner[y, x]
                areas[row, column, k] = area
            # Two shares of one area are one.
            for k in range(1, 3):
                for other in range(k):
                    if areas[row, column, k] >= 0 and areas[row, column, k] == areas[row, column, other]:
                        shares[row, column, other] += shares[row, column, k]
                        shares[row, column, k] = 0.0
                        areas[row, column, k] = -1
