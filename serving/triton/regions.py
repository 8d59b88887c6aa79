"""Calls whose tensors lie in memory that a Triton server on this machine shares: only their places are sent."""

import contextlib
import itertools
import math
import mmap
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from runtime.engines.spec import EngineSpec, TensorSpec
from serving.triton.configs import DTYPES

SHARED = Path("/dev/shm")
"""Folder of Linux's shared memory; Triton's system shared memory is of POSIX."""

LINE = 64
"""Bytes of a cache line; each tensor has its own."""

_NUMBERS = itertools.count()


class SharedCall:
    """A call of tensors of some shapes: where they lie, and the request that says so.

    The request is serialized once. To build it for each call took longer than the rest of the way to the server.

    Args:
        connection: client of the server, which registers the memory.
        model: name of the network's model.
        spec: of the network.
        inputs: shapes of its inputs, as they are sent.
        outputs: shapes of its outputs, as they come.
    """

    def __init__(
        self, connection: Any, model: str, spec: EngineSpec, inputs: Sequence[Sequence[int]],
        outputs: Sequence[Sequence[int]],
    ) -> None:  # fmt: skip
        from tritonclient.grpc import service_pb2

        protocol: Any = service_pb2
        tensors = [*zip(spec.inputs, inputs, strict=True), *zip(spec.outputs, outputs, strict=True)]
        sizes = [math.prod(shape) * _numpy(tensor).itemsize for tensor, shape in tensors]
        ends = list(itertools.accumulate(-(-size // LINE) * LINE for size in sizes))
        offsets = [0, *ends[:-1]]
        self.connection = connection
        self.name, self.memory = share(connection, max(ends[-1], LINE))
        request = protocol.ModelInferRequest(model_name=model)
        self.views = []
        for number, ((tensor, shape), offset, size) in enumerate(zip(tensors, offsets, sizes, strict=True)):
            if number < len(spec.inputs):
                entry = request.inputs.add(name=tensor.name, shape=shape, datatype=DTYPES[tensor.dtype])
            else:
                entry = request.outputs.add(name=tensor.name)
            entry.parameters["shared_memory_region"].string_param = self.name
            entry.parameters["shared_memory_offset"].int64_param = offset
            entry.parameters["shared_memory_byte_size"].int64_param = size
            view = np.frombuffer(self.memory, _numpy(tensor), math.prod(shape), offset)
            self.views.append(view.reshape(tuple(shape)))
        self.count = len(spec.inputs)
        self.request = request.SerializeToString()

    def write(self, arrays: Sequence[np.ndarray]) -> None:
        """Put the inputs of a call into their places."""
        for view, array in zip(self.views[: self.count], arrays, strict=True):
            np.copyto(view, array)

    def read(self) -> list[np.ndarray]:
        """Return copies of the outputs of the last call."""
        return [view.copy() for view in self.views[self.count :]]

    def forget(self) -> None:
        """Give the memory back."""
        from tritonclient.utils import InferenceServerException

        # Where the server has gone, its registration has gone with it.
        with contextlib.suppress(InferenceServerException):
            self.connection.unregister_system_shared_memory(self.name)
        # The mapping goes with the last view.
        self.views, self.memory = [], None


def share(connection: Any, size: int) -> tuple[str, mmap.mmap | None]:
    """Return name and mapping of new memory that a server has registered.

    Its file is gone when this returns: both sides have mapped it, and however they end, nothing is left behind.
    """
    name = f"tgm-{os.getpid()}-{next(_NUMBERS)}"
    path = SHARED / name
    with path.open("x+b") as file:
        try:
            file.truncate(size)
            memory = mmap.mmap(file.fileno(), size)
            connection.register_system_shared_memory(name, f"/{name}", size)
        finally:
            path.unlink()
    return name, memory


def _numpy(tensor: TensorSpec) -> np.dtype[Any]:
    return np.dtype(tensor.dtype)
