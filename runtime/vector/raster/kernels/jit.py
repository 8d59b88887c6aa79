"""How the rasterizer's kernels are compiled.

`entry` kernels are called from Python and cached on disk; `inner` ones only from other kernels. Both leave arithmetic
as written (no fast-math), so that a result has the same bits on every run.
"""

import hashlib
from pathlib import Path
from typing import Any

from numba import njit, types
from numba.extending import intrinsic

_compile: Any = njit  # its annotations lack the options for wrappers
_intrinsic: Any = intrinsic  # it has a signature of its own
_COMMON = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}

entry = _compile(**_COMMON, cache=True)
"""Decorator of a kernel that Python calls. Numba looks for changes in the kernel's own file alone: see `STAMP`."""

inner = _compile(**_COMMON, no_cpython_wrapper=True)
"""Decorator of a kernel that only kernels call."""

summing = _compile(**_COMMON, no_cpython_wrapper=True, fastmath={"reassoc"})
"""Like `inner`, but sums may be split among the lanes of a vector, in an order fixed when compiled."""


@_intrinsic
def add_at_once(_typing, numbers, place, amount):
    """The value of numbers[place] (int64), to which the amount is added in the same instant, whatever threads do."""

    def build(context, builder, signature, args):
        array = context.make_array(signature.args[0])(context, builder, args[0])
        return builder.atomic_rmw("add", builder.gep(array.data, [args[1]]), args[2], "acq_rel")

    return types.int64(numbers, types.int64, types.int64), build


@entry
def wait_for(numbers, place, value, polls):
    """Whether numbers[place] reaches a value within so many polls: waking a thread takes longer than a short wait."""
    for _ in range(polls):  # noqa: SIM110
        if add_at_once(numbers, place, 0) >= value:
            return True
    return False


def _hash_sources() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


STAMP = f"stamp_{_hash_sources()}"
"""Changes with any kernel's source. It names a field of `outline.PIECE`, and so takes part in the signature
under which an entry kernel is cached: a changed helper in another file is never served from an old cache."""
