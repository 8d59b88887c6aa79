"""Numba's CUDA target, loaded as a whole and in peace with the NumPy that is there."""

import warnings
from contextlib import suppress
from typing import Any

import numpy as np


def load() -> Any:
    """Return `numba.cuda` with all that it otherwise loads when it first compiles.

    numba-cuda up to 0.30 asks for `numpy.row_stack`, which NumPy 2.5 no longer has, and makes times without a unit,
    which NumPy 2.5 warns of. Both happen at its import on a machine with a card, and else when it first compiles.
    """
    if not hasattr(np, "row_stack"):
        np.row_stack = np.vstack  # noqa: NPY201  # pyright: ignore[reportAttributeAccessIssue]
    with warnings.catch_warnings():
        # it is for the authors of numba-cuda; where warnings are errors it would end a drawing
        warnings.simplefilter("ignore", DeprecationWarning)
        from numba import cuda

        with suppress(ImportError, AttributeError):  # the simulator has no such things
            from numba.cuda.descriptor import cuda_target

            cuda_target.typing_context.refresh()
            cuda_target.target_context.refresh()
    return cuda
