"""The march of a dense grid on a graphics card, by numba's CUDA target: the seam is `runtime.field.march.march`.

A thread takes a ray, then a node: samples are sorted by the interval that they lie in, and each node adds up what the
eight intervals around it hold, in that order. So no addition is atomic and results have the same bits each time. What
the threads do is plain functions (`rays`), which numba compiles for either machine; the tests run the kernels by
numba's simulator. They have not been timed on a card yet, and the optimizer's kernels are for the CPU alone.
"""

from runtime.field.cuda.function import march_on_card

__all__ = ["march_on_card"]
