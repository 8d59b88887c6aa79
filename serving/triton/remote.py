"""Networks that a Triton server runs: the loop calls them as it calls engines of its own process.

So jobs that run side by side share one copy of each network, and their calls are batched together. A batch of several
jobs may end in other last bits than a call by itself.
"""

import contextlib
import itertools
import os
import threading
import time
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from runtime.command.method import Method
from runtime.engines.backends.base import SpecEngine
from runtime.engines.backends.graphs import Graph
from runtime.engines.spec import EngineSpec
from serving.triton.configs import DTYPES, batch_of, model_name, wire_shape
from serving.work import Task

if TYPE_CHECKING:
    from runtime.engines.bundle import Bundle

PATIENCE_S = 60.0
"""Seconds to wait for a server that does not answer, such as one that is being started again."""

_NUMBERS = itertools.count()


class RemoteEngine(SpecEngine):
    """A network elsewhere: `_run` is what a subclass brings."""

    def __init__(self, spec: EngineSpec) -> None:
        super().__init__(spec, torch.device("cpu"))
        self.batched = batch_of(spec) is not None

    def _arrays(self, inputs: Sequence[Tensor]) -> list[np.ndarray]:
        """Return tensors as they go to the server."""
        arrays = [tensor.detach().contiguous().numpy() for tensor in inputs]
        return [array.reshape(wire_shape(array.shape, batched=self.batched)) for array in arrays]

    def _tensors(self, arrays: Sequence[np.ndarray], sizes: dict[str, int]) -> tuple[Tensor, ...]:
        """Return what the server has answered, in the shapes of the spec."""
        shapes = [[int(size) for size in tensor.bound(sizes)] for tensor in self._spec.outputs]
        return tuple(torch.from_numpy(array).reshape(s) for array, s in zip(arrays, shapes, strict=True))

    def _bind(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> Callable[[], None]:
        def run() -> None:
            sizes: dict[str, int] = {}
            for declared, tensor in zip(self._spec.inputs, inputs, strict=True):
                declared.bind(tensor.shape, declared.dtype, sizes)
            for into, result in zip(outputs, self._run(inputs, sizes), strict=True):
                into.copy_(result)

        return run


class BlsEngine(RemoteEngine):
    """A network of the very server that runs this process: tensors go through the memory that both share.

    Args:
        model: its name in the repository.
        spec: what it takes and gives.
        backend: module of Triton's python backend.
    """

    def __init__(self, model: str, spec: EngineSpec, backend: Any) -> None:
        super().__init__(spec)
        self.model, self.backend = model, backend

    def _run(self, inputs: tuple[Tensor, ...], sizes: dict[str, int]) -> tuple[Tensor, ...]:
        names = [tensor.name for tensor in self._spec.outputs]
        tensors = [
            self.backend.Tensor(declared.name, array)
            for declared, array in zip(self._spec.inputs, self._arrays(inputs), strict=True)
        ]
        request = self.backend.InferenceRequest(model_name=self.model, requested_output_names=names, inputs=tensors)
        response = request.exec()
        if response.has_error():
            raise OSError(f"model '{self.model}': {response.error().message()}")
        outputs = {tensor.name(): tensor for tensor in response.output_tensors()}
        # A copy: the memory is the server's, and goes with the response.
        return self._tensors([np.array(outputs[name].as_numpy()) for name in names], sizes)


class GrpcEngine(RemoteEngine):
    """A network of a Triton server: calls over gRPC, tensors through shared memory where it is on this machine.

    Args:
        model: its name in the repository.
        spec: what it takes and gives.
        url: `host:port` of the server's gRPC.
        shared: whether tensors go through shared memory.
    """

    def __init__(self, model: str, spec: EngineSpec, url: str, *, shared: bool = True) -> None:
        super().__init__(spec)
        import tritonclient.grpc as client

        self.model, self.client = model, client
        self.connection = client.InferenceServerClient(url)
        self.regions = [Region(self.connection), Region(self.connection)] if shared else []
        # One call at a time: the regions hold one call's tensors.
        self._access = threading.Lock()

    def _run(self, inputs: tuple[Tensor, ...], sizes: dict[str, int]) -> tuple[Tensor, ...]:
        until = time.monotonic() + PATIENCE_S
        with self._access:
            while True:
                try:
                    return self._call(self._arrays(inputs), sizes)
                except self._error() as error:
                    # Away for a moment, or started again and without our memory.
                    lost = any(word in str(error) for word in ("UNAVAILABLE", "Unable to find shared memory"))
                    if not lost or time.monotonic() > until:
                        raise OSError(f"model '{self.model}': {error}") from None
                    for region in self.regions:
                        region.forget()
                    time.sleep(0.5)

    def _call(self, arrays: Sequence[np.ndarray], sizes: dict[str, int]) -> tuple[Tensor, ...]:
        shapes = [[int(size) for size in tensor.bound(sizes)] for tensor in self._spec.outputs]
        wire = [wire_shape(shape, batched=self.batched) for shape in shapes]
        results = [np.empty(s, t.dtype) for s, t in zip(wire, self._spec.outputs, strict=True)]
        requested = [self.client.InferRequestedOutput(tensor.name) for tensor in self._spec.outputs]
        sent = []
        for declared, array in zip(self._spec.inputs, arrays, strict=True):
            sent.append(self.client.InferInput(declared.name, list(array.shape), DTYPES[declared.dtype]))
        if self.regions:
            into, out = self.regions
            for value, (offset, size) in zip(sent, into.place(arrays, write=True), strict=True):
                value.set_shared_memory(into.name, size, offset)
            places = out.place(results, write=False)
            for value, (offset, size) in zip(requested, places, strict=True):
                value.set_shared_memory(out.name, size, offset)
            self.connection.infer(self.model, sent, outputs=requested, client_timeout=PATIENCE_S)
            read = [out.read(r, offset) for r, (offset, _) in zip(results, places, strict=True)]
            return self._tensors(read, sizes)
        for value, array in zip(sent, arrays, strict=True):
            value.set_data_from_numpy(array)
        response: Any = self.connection.infer(self.model, sent, outputs=requested, client_timeout=PATIENCE_S)
        return self._tensors([np.array(response.as_numpy(t.name)) for t in self._spec.outputs], sizes)

    def _error(self) -> type[Exception]:
        from tritonclient.utils import InferenceServerException

        return InferenceServerException

    def close(self) -> None:
        """Give the memory back and close the connection."""
        for region in self.regions:
            region.forget()
        self.connection.close()


class Region:
    """A piece of shared memory that a server has registered; it grows as it is needed.

    Args:
        connection: to the server.
    """

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.name, self.size, self.handle = "", 0, None

    def place(self, arrays: Sequence[np.ndarray], *, write: bool) -> list[tuple[int, int]]:
        """Return offset and size of arrays side by side, which are written there where asked."""
        places, offset = [], 0
        for array in arrays:
            places.append((offset, array.nbytes))
            offset += -(-array.nbytes // 64) * 64  # on a cache line of its own
        if offset > self.size:
            self._grow(offset)
        if write:
            import tritonclient.utils.shared_memory as memory

            for array, (start, _) in zip(arrays, places, strict=True):
                memory.set_shared_memory_region(self.handle, [array], offset=start)
        return places

    def read(self, like: np.ndarray, offset: int) -> np.ndarray:
        """Return a copy of what lies at an offset."""
        import tritonclient.utils.shared_memory as memory

        return np.array(memory.get_contents_as_numpy(self.handle, like.dtype, list(like.shape), offset=offset))

    def forget(self) -> None:
        """Give the memory back."""
        if self.handle is None:
            return
        import tritonclient.utils.shared_memory as memory
        from tritonclient.utils import InferenceServerException

        # Where the server has gone, its registration has gone with it.
        with contextlib.suppress(InferenceServerException):
            self.connection.unregister_system_shared_memory(self.name)
        memory.destroy_shared_memory_region(self.handle)
        self.size, self.handle = 0, None

    def _grow(self, size: int) -> None:
        import tritonclient.utils.shared_memory as memory

        self.forget()
        self.name = f"tgm-{os.getpid()}-{next(_NUMBERS)}"
        self.handle = memory.create_shared_memory_region(self.name, f"/{self.name}", size)
        self.connection.register_system_shared_memory(self.name, f"/{self.name}", size)
        self.size = size


Maker = Callable[[str, EngineSpec], RemoteEngine]
"""Makes the engine of a model."""


@lru_cache(maxsize=1)
def bls_maker(backend: Any) -> Maker:
    """Return what makes engines of the server that runs this process."""
    return lambda model, spec: BlsEngine(model, spec, backend)


@lru_cache(maxsize=2)
def _remote(name: str, kind: str, threads: int, where: str, make: Maker) -> "Bundle":
    from runtime.engines.bundle import Bundle

    def engine(graph: Graph, _: object, **options: Any) -> RemoteEngine:
        return make(model_name(graph.bundle.name, graph.name), graph.spec)

    return Bundle.kinds[kind].load(name, threads=threads, make=engine)


def remote_bundle(task: Task, method: Method[Any], name: str, where: str, make: Maker) -> "Bundle":
    """Return a bundle whose networks run elsewhere; those that pass gradients stay in this process."""
    assert method.kind is not None
    return _remote(name, method.kind, task.threads, where, make)


@lru_cache(maxsize=4)
def _grpc_maker(url: str) -> Maker:
    return partial(_grpc_engine, url)


def _grpc_engine(url: str, model: str, spec: EngineSpec) -> GrpcEngine:
    host = url.rpartition(":")[0]
    return GrpcEngine(model, spec, url, shared=host in ("127.0.0.1", "localhost", "[::1]"))


def load_remote(task: Task, method: Method[Any], name: str) -> "Bundle":
    """Return a bundle whose networks the Triton server of a task runs."""
    return remote_bundle(task, method, name, task.networks, _grpc_maker(task.networks))
