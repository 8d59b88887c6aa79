"""Vectors of four against NumPy."""

import numpy as np

from runtime.field.kernels import vectors
from runtime.kernels.jit import entry


@entry
def all_of_them(a, b, scale, out):
    x = vectors.load(a, 1)
    y = vectors.load(b, 0)
    vectors.store(out, 0, vectors.add(x, y))
    vectors.store(out, 4, vectors.subtract(x, y))
    vectors.store(out, 8, vectors.multiply(x, y))
    vectors.store(out, 12, vectors.divide(x, y))
    vectors.store(out, 16, vectors.square_root(y))
    vectors.store(out, 20, vectors.minimum(x, y))
    vectors.store(out, 24, vectors.maximum(x, y))
    vectors.store(out, 28, vectors.add_scaled(x, scale, y))
    vectors.store(out, 32, vectors.splat(scale))
    vectors.store(out, 36, vectors.pack(vectors.lane(x, 3), vectors.lane(x, 2), vectors.lane(x, 1), vectors.lane(x, 0)))
    return vectors.bits_of(scale), vectors.from_bits(vectors.bits_of(scale))


def test_each_operation() -> None:
    a = np.float32([9, 1, -2, 3, 0.5])
    b = np.float32([2, 5, 0.25, 7])
    out = np.zeros(40, np.float32)
    bits, back = all_of_them(a, b, np.float32(1.5), out)
    x = a[1:]
    rows = [x + b, x - b, x * b, x / b, np.sqrt(b), np.minimum(x, b), np.maximum(x, b), x + 1.5 * b]
    expected = np.stack([*rows, np.full(4, 1.5), x[::-1]]).astype(np.float32)
    assert np.array_equal(out.reshape(10, 4), expected)
    assert bits == np.float32(1.5).view(np.int32)
    assert back == 1.5
