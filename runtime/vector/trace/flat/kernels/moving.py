"""Compiled: pixels go to the areas that cost least there."""

import numpy as np

from runtime.kernels.jit import entry


@entry
def cheapest_areas(around, pixels, weights, colours, bell, tension, looked_at):
    """Return the area of least cost of each pixel that is looked at; its own one where no other costs less."""
    height, width = looked_at.shape
    reach = len(bell) // 2
    result = around[reach : reach + height, reach : reach + width].copy()
    shares = np.zeros(len(colours))
    for y in range(height):
        for x in range(width):
            if not looked_at[y, x]:
                continue
            shares[:] = 0.0
            for i in range(len(bell)):
                for j in range(len(bell)):
                    shares[around[y + i, x + j]] += bell[i] * bell[j]
            own, best = result[y, x], np.inf
            # The pixel's own area comes first: it stays where it costs as much as another.
            for turn in range(-1, len(colours)):
                area = own if turn < 0 else turn
                if shares[area] == 0.0:
                    continue
                error = 0.0
                for k in range(3):
                    error += (pixels[y, x, k] - colours[area, k]) ** 2
                cost = weights[y, x] * error + tension * (1.0 - shares[area])
                if cost < best:
                    best = cost
                    result[y, x] = area
    return result
