"""Compiled: what colours around a pixel it is a mixture of."""

import numpy as np

from runtime.kernels.jit import entry, inner

MIXED = 0.03
"""Largest difference of a channel that a mixture of two or three colours may leave."""


@inner
def seam(colour, lower, upper, paper):
    """Return the share of the lower one of two areas at a seam, and what it leaves unexplained.

    Where two areas share an edge, a renderer paints the one with coverage a, then the other with 1 - a over it, and
    what is below both shines through: a^2 lower + (1 - a) upper + a (1 - a) paper.
    """
    best, share = np.inf, 0.5
    step = 0.125
    low = step
    while low < 1.0:
        a = low
        error = np.abs(colour - a * a * lower - (1 - a) * upper - a * (1 - a) * paper).max()
        if error < best:
            best, share = error, a
        low += step
    while step > 0.01:
        step /= 2
        for a in (share - step, share + step):
            error = np.abs(colour - a * a * lower - (1 - a) * upper - a * (1 - a) * paper).max()
            if error < best:
                best, share = error, a
    return share, best


@inner
def gather(labels, row, column, reach, near):
    """Write the labels up to `reach` pixels from a place, nearest first, each once; return how many there are."""
    height, width = labels.shape
    count = 0
    # Rings outwards: the nearest colours come first and are never crowded out.
    for ring in range(1, reach + 1):
        for y in range(max(row - ring, 0), min(row + ring + 1, height)):
            for x in range(max(column - ring, 0), min(column + ring + 1, width)):
                label = labels[y, x]
                if label < 0 or count == len(near):
                    continue
                new = True
                for other in range(count):
                    new = new and near[other] != label
                if new:
                    near[count] = label
                    count += 1
    return count


@inner
def note_two(names, parts, one, two, share):
    """Write a mixture of two labels of which the first has a share, the larger one first."""
    swapped = share < 0.5
    names[0], names[1], names[2] = (two, one, -1) if swapped else (one, two, -1)
    parts[0], parts[1], parts[2] = max(share, 1 - share), min(share, 1 - share), 0.0


@inner
def try_one_or_two(colour, palette, near, count, names, parts):
    """Write the best mixture of one or two colours; return what it leaves, with a price for the second."""
    best, left = np.inf, np.inf
    for a in range(count):
        error = np.abs(colour - palette[near[a]]).max()
        # A colour alone is preferred to a mixture that is hardly better, as is one of two to one of three.
        if error + 0.002 < best:
            best, left = error + 0.002, error
            names[0], names[1], names[2] = near[a], -1, -1
            parts[0], parts[1], parts[2] = 1.0, 0.0, 0.0
    for a in range(count):
        for b in range(a):
            line = palette[near[a]] - palette[near[b]]
            share = ((colour - palette[near[b]]) * line).sum() / (line * line).sum()
            share = min(max(share, 0.0), 1.0)
            error = np.abs(colour - palette[near[b]] - share * line).max()
            if error + 0.004 < best:
                best, left = error + 0.004, error
                note_two(names, parts, near[a], near[b], share)
    return best, left


@inner
def try_seams(colour, palette, papers, near, count, best, left, names, parts):
    """Write the best seam of two colours over a paper where it is better than what there is."""
    for a in range(count):
        for b in range(count):
            if a == b:
                continue
            for paper in range(len(papers)):
                share, error = seam(colour, palette[near[a]], palette[near[b]], papers[paper])
                if error + 0.01 < best and error <= MIXED:
                    best, left = error + 0.01, error
                    note_two(names, parts, near[a], near[b], share)
    return best, left


@inner
def try_three(colour, palette, near, count, best, left, names, parts):
    """Write the best mixture of three colours where it is better than what there is."""
    for a in range(count):
        for b in range(a):
            for c in range(b):
                u = palette[near[a]] - palette[near[c]]
                v = palette[near[b]] - palette[near[c]]
                w = colour - palette[near[c]]
                uu, uv, vv, uw, vw = (u * u).sum(), (u * v).sum(), (v * v).sum(), (u * w).sum(), (v * w).sum()
                determinant = uu * vv - uv * uv
                if determinant < 1e-4:
                    continue
                s = (uw * vv - vw * uv) / determinant
                t = (vw * uu - uw * uv) / determinant
                error = np.abs(w - s * u - t * v).max()
                if s < 0 or t < 0 or s + t > 1 or error + 0.008 >= best:
                    continue
                best, left = error + 0.008, error
                shares = np.array([s, t, 1 - s - t])
                order = np.argsort(-shares)
                for k in range(3):
                    names[k] = near[np.array([a, b, c])[order[k]]]
                    parts[k] = shares[order[k]]
    return best, left


@entry
def explain(picture, labels, palette, papers, rows, columns, reach, mixed, shares, residual):
    """Fill in the best mixture of one, two or three of the colours up to `reach` pixels from each place."""
    near = np.empty(8, np.int64)
    for place in range(len(rows)):
        row, column = rows[place], columns[place]
        count = gather(labels, row, column, reach, near)
        names, parts, colour = mixed[row, column], shares[row, column], picture[row, column]
        best, left = try_one_or_two(colour, palette, near, count, names, parts)
        if best > MIXED:
            best, left = try_seams(colour, palette, papers, near, count, best, left, names, parts)
        if best > 0.02:
            best, left = try_three(colour, palette, near, count, best, left, names, parts)
        residual[row, column] = left
