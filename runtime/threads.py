"""How many threads kernels and engines take, while PyTorch itself takes one.

PyTorch divides sums and convolutions by its number of threads, so that their last bits depend on it, and over hundreds
of steps the drawing does. Our kernels and the engines add in one order whatever their threads are. So while a method
draws, PyTorch's own operators run on one thread and everything else on all of them: the same bytes on any machine with
the same kind of processor.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_COUNT: ContextVar[int] = ContextVar("threads of kernels and engines", default=0)
"""Threads that PyTorch had before it was restricted; 0 where it is not."""


def thread_count() -> int:
    """Return the threads that kernels and engines take: as many as PyTorch has, or had before `one_torch_thread`."""
    import torch

    return _COUNT.get() or torch.get_num_threads()


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Run PyTorch's own operators on one thread within the block; `thread_count` stays what it was."""
    import torch

    # Blocks may be nested, and the inner one must not take the outer one's single thread for the machine's number.
    token = _COUNT.set(thread_count())
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        _COUNT.reset(token)


def _restrict_after_fork() -> None:
    """Restrict PyTorch to one thread in a forked child: OpenMP left its others in the parent.

    Kernels and engines start threads of their own again.
    """
    torch = sys.modules.get("torch")
    if torch is not None:
        _COUNT.set(thread_count())
        torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_restrict_after_fork)
