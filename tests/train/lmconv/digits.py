"""Digits that tests draw: strokes on a seven-segment grid, with some noise, as MNIST's arrays are laid out."""

from pathlib import Path

import numpy as np

_SEGMENTS = ("abcdef", "bc", "abged", "abgcd", "fgbc", "afgcd", "afgedc", "abc", "abcdefg", "abcdfg")


def draw_digits(count: int, size: int, seed: int = 0) -> np.ndarray:
    """Return (count, size, size) uint8, dark ground, one digit each."""
    rng = np.random.default_rng(seed)
    pictures = rng.integers(0, 30, (count, size, size))
    low, middle, high = 1, size // 2, size - 2
    lines = {
        "a": (slice(low, low + 1), slice(low, high)), "g": (slice(middle, middle + 1), slice(low, high)),
        "d": (slice(high, high + 1), slice(low, high)), "f": (slice(low, middle), slice(low, low + 1)),
        "b": (slice(low, middle), slice(high, high + 1)), "e": (slice(middle, high), slice(low, low + 1)),
        "c": (slice(middle, high), slice(high, high + 1)),
    }  # fmt: skip
    for picture in pictures:
        for segment in _SEGMENTS[rng.integers(10)]:
            picture[lines[segment]] = rng.integers(200, 256)
    return pictures.astype(np.uint8)


def write_digits(folder: Path, size: int = 8, count: int = 60) -> Path:
    """Return the path of an npz archive with drawn digits."""
    path = folder / "digits.npz"
    np.savez(path, x_train=draw_digits(count, size), x_test=draw_digits(12, size, seed=1))
    return path
