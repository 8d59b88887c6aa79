"""Figures of a row from stored similarities, and the paired test between two rows.

Two rows draw the same captions, so their hits are pairs, and what tells them apart are the captions that one row hits
and the other misses. McNemar's exact test counts these against a fair coin: it needs no approximation for the few
captions there are, no draws, and no assumption on how hard captions are. A bootstrap would serve similarities as well,
but says no more of hits, and moves with its seed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64


@dataclass(frozen=True)
class Figures:
    """R-Precision and similarity of some drawings by one judge."""

    hits: int
    """Drawings whose own caption is the most similar of all."""
    count: int
    """Drawings."""
    similarity: float
    """Mean cosine with the own caption."""
    similarity_error: float
    """Standard error of that mean; NaN for a single drawing."""

    @property
    def r_precision(self) -> float:
        """Share of hits."""
        return self.hits / self.count

    @property
    def r_precision_error(self) -> float:
        """Standard error of a share, sqrt(p (1 - p) / n)."""
        return math.sqrt(self.r_precision * (1 - self.r_precision) / self.count)


def hits_of(similarities: Float64[np.ndarray, "N C"], own: Sequence[int]) -> Bool[np.ndarray, " N"]:
    """Return whether each drawing is more similar to its own caption than to any other.

    Args:
        similarities: of N drawings with C captions. A tie is no hit: a judge that sees no difference finds nothing.
        own: index of each drawing's caption.
    """
    rows = np.arange(len(own))
    others = similarities.copy()
    others[rows, own] = -np.inf
    return similarities[rows, own] > others.max(axis=1, initial=-np.inf)


def figures_of(similarities: Float64[np.ndarray, "N C"], own: Sequence[int]) -> Figures:
    """Return the figures of N drawings; arguments as of `hits_of`, N at least 1."""
    cosines = similarities[np.arange(len(own)), own]
    error = cosines.std(ddof=1) / math.sqrt(len(cosines)) if len(cosines) > 1 else math.nan
    return Figures(int(hits_of(similarities, own).sum()), len(own), float(cosines.mean()), float(error))


def mcnemar(first: Bool[np.ndarray, " N"], second: Bool[np.ndarray, " N"]) -> float:
    """Return the two-sided p-value that two rows hit equally often, exact; McNemar, 1947.

    Args:
        first: hits of a row.
        second: hits of another one, of the same captions in the same order.
    """
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    count, fewer = only_first + only_second, min(only_first, only_second)
    tail = sum(math.comb(count, k) for k in range(fewer + 1))
    # Twice a tail that holds the middle would exceed 1. Whole numbers: 2^-count underflows from 1075 on.
    return min(1.0, 2 * tail / 2**count)


def clear_in_print(first: float, second: float, count: int) -> bool:
    """Return whether two printed shares differ by at least two standard errors of their difference, taken as unpaired.

    Args:
        first: share in [0, 1].
        second: another one.
        count: captions behind each.
    """
    error = math.sqrt((first * (1 - first) + second * (1 - second)) / count)
    return abs(first - second) >= 2 * error > 0
