"""Kernels for graphics cards: numba's CUDA target, in peace with the NumPy that is there, and its cache."""

import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np
import torch
from numba import config
from torch import Tensor

from runtime.kernels.jit import inner


@cache
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


def either(function: Callable) -> Any:
    """Return a function that kernels of either machine call; a decorator. The simulator interprets it."""
    # What is compiled for kernels alone has no wrapper that Python could call.
    return function if config.ENABLE_CUDASIM else inner(function)  # pyright: ignore[reportAttributeAccessIssue]


def kernel_of(stamp: str) -> Callable[[Callable], Any]:
    """Return a decorator that makes kernels for the card, cached on disk where they can be.

    A cache that fails costs compilation, never a drawing.

    Args:
        stamp: changes with the source of any kernel, and of any function that one calls: numba looks for changes in a
            kernel's own file alone. See `jit.stamp_of`.
    """

    def decorate(function: Callable) -> Any:
        cuda = load()
        try:
            kernel = cuda.jit(cache=True)(function)
            store = kernel._cache
            key, read, save = store._index_key, store.load_overload, store.save_overload
        except (RuntimeError, NotImplementedError, AttributeError):  # no place for it, or the simulator
            return cuda.jit(function)

        def read_or_none(*arguments: Any) -> Any:
            with suppress(Exception):
                return read(*arguments)
            return None

        def try_to_save(*arguments: Any) -> None:
            with suppress(Exception):
                save(*arguments)

        store._index_key = lambda *arguments: (*key(*arguments), stamp)
        store.load_overload, store.save_overload = read_or_none, try_to_save
        return kernel

    return decorate


class Launcher:
    """Launches kernels on the device of the tensors that it is given, on PyTorch's current stream."""

    def __init__(self, device: torch.device) -> None:
        """Take the current stream of a device."""
        # PyTorch's own, so that its kernels before and behind ours need no wait between them.
        self.stream = load().external_stream(torch.cuda.current_stream(device).cuda_stream)

    def array(self, tensor: Tensor) -> Any:
        """Return a tensor's memory as an array of numba's; the stream's order is all that is needed."""
        return load().as_cuda_array(tensor.detach(), sync=False)
