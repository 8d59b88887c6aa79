"""TensorRT behind an `EngineSpec`: a verified plan in, tensors through by address on a stream ordered with PyTorch's.

One file for full TensorRT and TensorRT-RTX, which have one interface. Weights are on the GPU once; each bound call has
an execution context of its own, whose scratch memory comes from PyTorch's allocator in the size that the shapes need.
Nothing here waits for the GPU except the capture of a CUDA graph, once for each binding.
"""

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType
from typing import Any, Protocol

import torch
from torch import Tensor

from runtime.engines.backends.base import SpecEngine
from runtime.engines.backends.editions import TITLES, make_log, require_edition
from runtime.engines.dtypes import DTYPES
from runtime.engines.spec import EngineSpec
from runtime.errors import UserError

ALIGNMENT = 256
"""TensorRT needs addresses that are multiples of this many bytes; those of PyTorch's own allocations are."""


class Streams(Protocol):
    """Where work is enqueued, and how it is recorded; `CudaStreams` on a GPU, something else in a test."""

    def enqueue(self, work: Callable[[int], None]) -> None:
        """Call `work` with the address of a stream that is ordered with PyTorch's current one."""
        ...

    def capture(self, work: Callable[[int], None]) -> Callable[[], None] | None:
        """Return what replays `work` as a CUDA graph, or None where a graph is being captured around this call."""
        ...


class CudaStreams:
    """A side stream of one CUDA device, and CUDA graphs that are captured on it."""

    def __init__(self, device: torch.device) -> None:
        """Make the stream."""
        from runtime.engines.backends.streams import SideStream

        self._device, self._side = device, SideStream(device)

    def enqueue(self, work: Callable[[int], None]) -> None:
        """Call `work` with the side stream's address, between what the current stream has and what it gets next."""
        with torch.cuda.device(self._device), self._side.joined() as handle:
            work(handle)

    def capture(self, work: Callable[[int], None]) -> Callable[[], None] | None:
        """Return the replay of a CUDA graph of `work`; None inside another capture, which takes the work as it is."""
        # captures do not nest; the side stream becomes part of the one around it by its events
        if torch.cuda.is_current_stream_capturing():
            return None
        graph = torch.cuda.CUDAGraph()
        # the default mode lets a capture fail when another thread allocates GPU memory meanwhile
        with torch.cuda.device(self._device), torch.cuda.graph(graph, capture_error_mode="thread_local"):
            work(torch.cuda.current_stream().cuda_stream)
        return graph.replay


class TrtEngine(SpecEngine):
    """A network run by TensorRT. Calls are safe from several threads, one at a time."""

    def __init__(
        self,
        spec: EngineSpec,
        plan: bytes,
        *,
        edition: str = "tensorrt_rtx",
        device: str | torch.device = "cuda",
        streams: Streams | None = None,
    ) -> None:
        """Deserialize a plan: native code, so its content has to be verified (`plans.read_plan`).

        Args:
            spec: what the network takes and gives; a plan that disagrees with it is refused.
            plan: the plan's verified content.
            edition: which TensorRT built it.
            device: `cuda` or `cuda:N`, a GPU of the plan's compute capability.
            streams: where work is enqueued; None means a side stream of the device.

        Raises:
            UserError: TensorRT isn't installed, there is no such GPU, the plan is for another GPU or version, or it
                does not fit its spec.
        """
        trt = require_edition(edition)
        super().__init__(spec, torch.device(device))
        if streams is None and not torch.cuda.is_available():
            raise UserError(f"engine '{spec.name}': {TITLES[edition]} needs an NVIDIA GPU, got none; use --backend ort")
        self._streams: Streams = CudaStreams(self._device) if streams is None else streams
        self._trt, self._log = trt, make_log(trt)
        with _current(self._device):
            self._runtime = trt.Runtime(self._log)  # it has to outlive the engine, which holds no reference to it
            self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise UserError(
                f"engine '{spec.name}': {TITLES[edition]} {trt.__version__} cannot load its plan: {self._log.last()}; "
                "build it for this GPU with: python -m export build"
            )
        _check_engine(spec, self._engine, trt)
        self._lock = threading.Lock()
        self._context: _Context | None = None

    def _run(self, inputs: tuple[Tensor, ...], sizes: dict[str, int]) -> tuple[Tensor, ...]:
        held = tuple(_aligned(tensor.detach().to(self._device).contiguous()) for tensor in inputs)
        outputs = self.empty_outputs(sizes, self._device)
        # one context serves all calls, and its addresses are those of one call until that is enqueued
        with self._lock:
            if self._context is None:
                self._context = self._new_context()
            self._context.prepare(held, outputs)
            self._streams.enqueue(self._context.enqueue)
        # copies come after the run: the current stream waits for the engine's
        return tuple(tensor.to(inputs[0].device) for tensor in outputs)

    def bind(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Callable[[], None]:
        """Return a function that runs the network on these very tensors; arguments and errors as of `SpecEngine.bind`.

        The address of each has to be a multiple of `ALIGNMENT`. The function's second call captures a CUDA graph of the
        work, and later ones replay that. Inside the capture of another graph it enqueues the work itself, to become
        part of that one.
        """
        return super().bind(inputs, outputs)

    def _bind(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> Callable[[], None]:
        for tensor in (*inputs, *outputs):
            # no copy here as in `_run`: the caller writes to this tensor later, and a copy would not follow
            if not tensor.is_contiguous() or tensor.device.type != self._device.type or tensor.data_ptr() % ALIGNMENT:
                raise ValueError(
                    f"engine '{self._spec.name}': expected contiguous tensors on {self._device} whose address is a "
                    f"multiple of {ALIGNMENT} to bind"
                )
        # addresses belong to a context: in a shared one, a call or another binding would replace them
        context = self._new_context()
        context.prepare(inputs, outputs)
        return _Bound(context, self._streams)

    def _new_context(self) -> "_Context":
        with _current(self._device):
            return _Context(self._spec, self._engine, self._trt, self._log, self._device)


class _Context:
    """An execution context with its scratch memory and the tensors that it works on."""

    def __init__(self, spec: EngineSpec, engine: Any, trt: ModuleType, log: Any, device: torch.device) -> None:
        self._spec, self._log, self._device = spec, log, device
        managed = trt.ExecutionContextAllocationStrategy.USER_MANAGED
        if hasattr(engine, "create_runtime_config") and hasattr(trt, "DynamicShapesKernelSpecializationStrategy"):
            config = engine.create_runtime_config()
            config.set_execution_context_allocation_strategy(managed)
            # lazily compiled kernels would change what a call computes, and be missing from a captured graph
            config.dynamic_shapes_kernel_specialization_strategy = trt.DynamicShapesKernelSpecializationStrategy.EAGER
            self._context = engine.create_execution_context(config)
        else:
            self._context = engine.create_execution_context(managed)
        if self._context is None:
            raise RuntimeError(f"engine '{spec.name}': TensorRT cannot make an execution context: {log.last()}")
        self._shapes: tuple[torch.Size, ...] = ()
        self._scratch = torch.empty(0, dtype=torch.uint8, device=device)
        self._held: tuple[tuple[Tensor, ...], ...] = ()

    def prepare(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> None:
        """Take the tensors of the next run; shapes and scratch memory change only where they have to."""
        shapes = tuple(tensor.shape for tensor in inputs)
        if shapes != self._shapes:
            self._shapes = ()  # should one be refused, the others have changed already: no later call may rely on them
            for declared, shape in zip(self._spec.inputs, shapes, strict=True):
                if not self._context.set_input_shape(declared.name, tuple(shape)):
                    raise RuntimeError(f"engine '{self._spec.name}' input '{declared.name}': {self._log.last()}")
            # asked only now, since it depends on the shapes of all inputs
            size = self._context.update_device_memory_size_for_shapes()
            # grows and never shrinks: batches of two sizes in turn would otherwise allocate in every call
            if size > self._scratch.numel():
                self._scratch = torch.empty(size, dtype=torch.uint8, device=self._device)
            self._context.set_device_memory(self._scratch.data_ptr(), self._scratch.numel())
            self._shapes = shapes
        pairs = zip((*self._spec.inputs, *self._spec.outputs), (*inputs, *outputs), strict=True)
        for declared, tensor in pairs:
            self._context.set_tensor_address(declared.name, tensor.data_ptr())
        self._held = (inputs, outputs)  # the context has only their addresses

    def enqueue(self, stream: int) -> None:
        """Put a run on a stream."""
        if not self._context.execute_async_v3(stream):
            raise RuntimeError(f"engine '{self._spec.name}': TensorRT could not run: {self._log.last()}")

    def capturable(self, stream: int) -> bool:
        """Return whether a run on a stream can be captured; full TensorRT cannot tell, and counts as capturable."""
        ask = getattr(self._context, "is_stream_capturable", None)
        return True if ask is None else bool(ask(stream))


class _Bound:
    """A run on fixed tensors: plain at first, which lets TensorRT settle, then as a CUDA graph."""

    def __init__(self, context: _Context, streams: Streams) -> None:
        self._context, self._streams = context, streams
        self._replay: Callable[[], None] | None = None
        self._capturable = False
        self._lock = threading.Lock()

    def __call__(self) -> None:
        with self._lock:
            # under the lock, or two threads could both capture, or enqueue on one context at once
            if self._replay is None and self._capturable:
                self._replay = self._streams.capture(self._context.enqueue)
            if self._replay is None:
                self._streams.enqueue(self._first)
            else:
                self._replay()

    def _first(self, stream: int) -> None:
        self._context.enqueue(stream)
        self._capturable = self._context.capturable(stream)


def _current(device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which a GPU is the current one: TensorRT puts there what it makes."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def _aligned(tensor: Tensor) -> Tensor:
    return tensor if tensor.data_ptr() % ALIGNMENT == 0 else tensor.clone()


def _check_engine(spec: EngineSpec, engine: Any, trt: ModuleType) -> None:
    """Refuse a plan that has other tensors than its spec."""
    names = {engine.get_tensor_name(i) for i in range(engine.num_io_tensors)}
    declared = {tensor.name for tensor in (*spec.inputs, *spec.outputs)}
    if names != declared:
        raise UserError(
            f"engine '{spec.name}': its plan and spec.json disagree on tensors: "
            f"expected {sorted(declared)}, got {sorted(names)}; build it again with: python -m export build"
        )
    for tensor in (*spec.inputs, *spec.outputs):
        shape, kind = tuple(engine.get_tensor_shape(tensor.name)), engine.get_tensor_dtype(tensor.name)
        # -1 is a dimension that the plan leaves free, even where the spec has a number
        fits = len(shape) == len(tensor.shape) and all(
            got in (-1, want) or isinstance(want, str) for want, got in zip(tensor.shape, shape, strict=True)
        )
        if not fits or kind != getattr(trt.DataType, DTYPES[tensor.dtype].tensorrt, None):
            raise UserError(
                f"engine '{spec.name}': its plan and spec.json disagree on '{tensor.name}': expected {tensor}, "
                f"got {shape} {kind}; build it again with: python -m export build"
            )
