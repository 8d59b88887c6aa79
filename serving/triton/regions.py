"""Calls whose tensors lie in memory that a Triton server of this machine shares: only their places are sent."""

import contextlib
import itertools
import math
import mmap
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from runtime.engines.spec import EngineSpec
from serving.triton.configs import DTYPES
from serving.triton.wire import Wire

SHARED = Path("/dev/shm")
"""Folder of Linux's shared memory; Triton's system shared memory is of POSIX."""

LINE = 64
"""Bytes of a cache line; each tensor has its own."""

_NUMBERS = itertools.count()


class SharedCall:
    """A call of tensors of some shapes: where they lie, and the request that says so, written once.

    Args:
        wire: to the server, which maps the memory.
        model: name of the network's model.
        spec: of the network.
        inputs: shapes of its inputs, as they are sent.
        outputs: shapes of its outputs, as they come.
    """

    def __init__(
        self, wire: Wire, model: str, spec: EngineSpec, inputs: Sequence[Sequence[int]],
        outputs: Sequence[Sequence[int]],
    ) -> None:  # fmt: skip
        tensors = [*zip(spec.inputs, inputs, strict=True), *zip(spec.outputs, outputs, strict=True)]
        sizes = [math.prod(shape) * np.dtype(tensor.dtype).itemsize for tensor, shape in tensors]
        ends = list(itertools.accumulate(-(-size // LINE) * LINE for size in sizes))
        self.wire, self.count = wire, len(spec.inputs)
        self.name, memory = share(wire, max(ends[-1], LINE))
        self.views: list[np.ndarray] = []
        entries: list[dict[str, Any]] = []
        for (tensor, shape), offset, size in zip(tensors, [0, *ends[:-1]], sizes, strict=True):
            place = {
                "shared_memory_region": self.name, "shared_memory_offset": offset, "shared_memory_byte_size": size,
            }  # fmt: skip
            entries.append({"name": tensor.name, "parameters": place})
            if len(entries) <= self.count:
                entries[-1] |= {"shape": list(shape), "datatype": DTYPES[tensor.dtype]}
            self.views.append(np.frombuffer(memory, tensor.dtype, math.prod(shape), offset).reshape(tuple(shape)))
        document = {"inputs": entries[: self.count], "outputs": entries[self.count :]}
        self.request = wire.request(f"/v2/models/{model}/infer", document)

    def run(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the network's outputs; errors as of `Wire.send`."""
        for view, array in zip(self.views[: self.count], arrays, strict=True):
            np.copyto(view, array)
        self.wire.send(self.request)
        return [view.copy() for view in self.views[self.count :]]

    def forget(self) -> None:
        """Give the memory back."""
        # Where the server has gone, its registration has gone with it.
        with contextlib.suppress(OSError):
            self.wire.post(f"/v2/systemsharedmemory/region/{self.name}/unregister", {})
        # The mapping goes with its last view.
        self.views = []


def share(wire: Wire, size: int) -> tuple[str, mmap.mmap]:
    """Return name and mapping of new memory that a server has mapped, too.

    Its file is gone when this returns, so that nothing is left behind, however the two sides end.
    """
    name = f"tgm-{os.getpid()}-{next(_NUMBERS)}"
    path = SHARED / name
    with path.open("x+b") as file:
        try:
            file.truncate(size)
            memory = mmap.mmap(file.fileno(), size)
            document = {"key": f"/{name}", "offset": 0, "byte_size": size}
            wire.post(f"/v2/systemsharedmemory/region/{name}/register", document)
        finally:
            path.unlink()
    return name, memory
