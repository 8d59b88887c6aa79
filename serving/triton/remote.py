"""Networks that a Triton server runs: the loop calls them as it calls engines of its own process.

So jobs that run side by side share one copy of each network, and their calls are batched together. A batch of several
jobs may end in other last bits than a call by itself.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from runtime.command.method import Method
from runtime.engines.backends.base import SpecEngine
from runtime.engines.backends.graphs import Graph
from runtime.engines.spec import EngineSpec
from serving.triton.configs import DTYPES, batch_of, model_name, wire_shape
from serving.triton.regions import SharedCall
from serving.triton.wire import Refused, Wire
from serving.work import Task

if TYPE_CHECKING:
    from runtime.engines.bundle import Bundle

PATIENCE_S = 60.0
"""Seconds to wait for a server that does not answer, such as one that is being started again."""

AWAY = ("UNAVAILABLE", "Unable to find shared memory", "is not healthy", "is not ready", "is not found",
        "not at ready state", "no available versions")  # fmt: skip
"""What stands in errors of a server that is started again, and of a network whose process has died: whoever watches
over the server loads it again, and the call is made once more."""

SHAPES = 8
"""Shapes of calls whose memory a network keeps; it seldom has more than two."""


def is_away(message: str) -> bool:
    """Return whether an error of a server means that the network will be back."""
    return any(word in message for word in AWAY)


class RemoteEngine(SpecEngine):
    """A network elsewhere: `_run` is what a subclass brings."""

    def __init__(self, spec: EngineSpec) -> None:
        super().__init__(spec, torch.device("cpu"))
        self.batched = batch_of(spec) is not None

    def close(self) -> None:
        """Let go of what the server holds for it."""

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
        until = time.monotonic() + PATIENCE_S
        while (response := self._request(inputs, names).exec()).has_error():
            message = response.error().message()
            if not is_away(message) or time.monotonic() > until:
                raise OSError(f"model '{self.model}': {message}")
            time.sleep(0.5)
        outputs = {tensor.name(): tensor for tensor in response.output_tensors()}
        # A copy: the memory is the server's, and goes with the response.
        return self._tensors([np.array(outputs[name].as_numpy()) for name in names], sizes)

    def _request(self, inputs: tuple[Tensor, ...], names: list[str]) -> Any:
        tensors = [
            self.backend.Tensor(declared.name, array)
            for declared, array in zip(self._spec.inputs, self._arrays(inputs), strict=True)
        ]
        return self.backend.InferenceRequest(model_name=self.model, requested_output_names=names, inputs=tensors)


class SharedEngine(RemoteEngine):
    """A network of a Triton server of this machine: tensors through shared memory, their places over HTTP.

    Args:
        model: its name in the repository.
        spec: what it takes and gives.
        host: of the server.
        port: of its HTTP.
    """

    def __init__(self, model: str, spec: EngineSpec, host: str, port: int) -> None:
        super().__init__(spec)
        self.model, self.wire = model, Wire(host, port)
        self.calls: OrderedDict[Any, SharedCall] = OrderedDict()
        # One call at a time: the memory holds one call's tensors.
        self._access = threading.Lock()

    def _run(self, inputs: tuple[Tensor, ...], sizes: dict[str, int]) -> tuple[Tensor, ...]:
        until = time.monotonic() + PATIENCE_S
        with self._access:
            while True:
                try:
                    arrays = self._arrays(inputs)
                    return self._tensors(self._call(arrays, sizes).run(arrays), sizes)
                except OSError as error:
                    # Away for a moment, or started again and without our memory.
                    away = is_away(str(error)) or not isinstance(error, Refused)
                    if not away or time.monotonic() > until:
                        raise OSError(f"model '{self.model}': {error}") from None
                    self._forget()
                    time.sleep(0.5)

    def _call(self, arrays: Sequence[np.ndarray], sizes: dict[str, int]) -> SharedCall:
        shapes = tuple(array.shape for array in arrays)
        if shapes not in self.calls:
            if len(self.calls) == SHAPES:
                self.calls.popitem(last=False)[1].forget()
            bound = [[int(size) for size in tensor.bound(sizes)] for tensor in self._spec.outputs]
            outputs = [wire_shape(shape, batched=self.batched) for shape in bound]
            self.calls[shapes] = SharedCall(self.wire, self.model, self._spec, shapes, outputs)
        self.calls.move_to_end(shapes)
        return self.calls[shapes]

    def _forget(self) -> None:
        while self.calls:
            self.calls.popitem()[1].forget()

    def close(self) -> None:
        """Give the memory back and close the connection."""
        self._forget()
        self.wire.close()


class GrpcEngine(RemoteEngine):
    """A network of a Triton server elsewhere: tensors over gRPC.

    Args:
        model: its name in the repository.
        spec: what it takes and gives.
        url: `host:port` of the server's gRPC.
    """

    def __init__(self, model: str, spec: EngineSpec, url: str) -> None:
        super().__init__(spec)
        import tritonclient.grpc as client

        self.model, self.client = model, client
        self.connection = client.InferenceServerClient(url)

    def _run(self, inputs: tuple[Tensor, ...], sizes: dict[str, int]) -> tuple[Tensor, ...]:
        from tritonclient.utils import InferenceServerException

        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                return self._call(self._arrays(inputs), sizes)
            except InferenceServerException as error:
                if not is_away(str(error)) or time.monotonic() > until:
                    raise OSError(f"model '{self.model}': {error}") from None
                time.sleep(0.5)

    def _call(self, arrays: Sequence[np.ndarray], sizes: dict[str, int]) -> tuple[Tensor, ...]:
        sent = []
        for declared, array in zip(self._spec.inputs, arrays, strict=True):
            value = self.client.InferInput(declared.name, list(array.shape), DTYPES[declared.dtype])
            value.set_data_from_numpy(array)
            sent.append(value)
        requested = [self.client.InferRequestedOutput(tensor.name) for tensor in self._spec.outputs]
        response: Any = self.connection.infer(self.model, sent, outputs=requested, client_timeout=PATIENCE_S)
        return self._tensors([np.array(response.as_numpy(t.name)) for t in self._spec.outputs], sizes)

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()


Maker = Callable[[str, EngineSpec], RemoteEngine]
"""Makes the engine of a model."""


@lru_cache(maxsize=1)
def bls_maker(backend: Any) -> Maker:
    """Return what makes engines of the server that runs this process."""
    return lambda model, spec: BlsEngine(model, spec, backend)


@lru_cache(maxsize=2)
def _remote(name: str, kinds: tuple[str, ...], threads: int, where: str, make: Maker) -> "Bundle":
    from runtime.engines.bundle.kinds import class_for

    def engine(graph: Graph, _: object, **options: Any) -> RemoteEngine:
        return make(model_name(graph.bundle.name, graph.name), graph.spec)

    return class_for(kinds).load(name, threads=threads, make=engine)


def remote_bundle(task: Task, method: Method[Any], name: str, where: str, make: Maker) -> "Bundle":
    """Return a bundle whose networks run elsewhere; those that pass gradients stay in this process."""
    return _remote(name, method.kinds, task.threads, where, make)


@lru_cache(maxsize=4)
def maker_of(address: str) -> Maker:
    """Return what makes the engines of a server.

    Args:
        address: `http://HOST:PORT` of one on this machine, or `HOST:PORT` of the gRPC of any.
    """
    if not address.startswith("http://"):
        return lambda model, spec: GrpcEngine(model, spec, address)
    host, _, port = address.removeprefix("http://").rpartition(":")
    return lambda model, spec: SharedEngine(model, spec, host, int(port))


def load_remote(task: Task, method: Method[Any], name: str) -> "Bundle":
    """Return a bundle whose networks the Triton server of a task runs."""
    return remote_bundle(task, method, name, task.networks, maker_of(task.networks))
