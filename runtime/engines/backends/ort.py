"""ONNX Runtime behind an `EngineSpec`: verified bytes in, tensors through without copies, the same bits every run."""

import ctypes
import os
import threading
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor

from runtime.engines.backends.base import SpecEngine
from runtime.engines.backends.graphs import Graph
from runtime.engines.backends.streams import SideStream
from runtime.engines.backends.table import Choice
from runtime.engines.dtypes import DTYPES
from runtime.engines.spec import EngineSpec
from runtime.errors import UserError
from runtime.memory import return_freed_memory
from runtime.threads import thread_count

# Its wheels report to their makers by default; nothing here asks the network for anything.
onnxruntime.disable_telemetry_events()

# NumPy has no bfloat16: ONNX Runtime then takes the number of ONNX's TensorProto
_ELEMENT = {name: dtype.onnx if name == "bfloat16" else np.dtype(name).type for name, dtype in DTYPES.items()}
"""How a binding names each type."""

LARGE = 1 << 28
"""Bytes of weights beyond which memory goes back to the system after each run: the U-Net of Stable Diffusion 1.5 held
9.5 GB with ONNX Runtime's arena and 4.4 without, in the same time."""


class OrtEngine(SpecEngine):
    """A network run by ONNX Runtime. Calls are safe from several threads."""

    def __init__(
        self,
        spec: EngineSpec,
        model: bytes | Path,
        *,
        device: str = "cpu",
        threads: int | None = None,
        shared: Mapping[str, bytes] | None = None,
        shards: int = 1,
        as_written: bool = False,
    ) -> None:
        """Make a session.

        Args:
            spec: what the network takes and gives; a model that disagrees with it is refused.
            model: the ONNX file's verified content, or its path where its weights are in files beside it.
            device: `cpu`, `cuda`, `cuda:N`, or `auto`: CUDA where PyTorch and ONNX Runtime both have it.
            threads: threads of one operator, at least 1; None means `thread_count()`.
            shared: verified content of the model's external weights, by file name.
            shards: parts of a batch that run side by side on a CPU, at least 1 and at most `threads`.
            as_written: on a CPU, run the graph without optimizing it: quickly there, slower and often smaller.

        Raises:
            UserError: the device is not there, ONNX Runtime cannot read the model, or it does not fit its spec.
        """
        super().__init__(spec, _choose_device(device))
        self._side = SideStream(self._device) if self._device.type == "cuda" else None
        self._lock = threading.Lock()
        threads = threads or thread_count()
        # on a GPU the parts would only follow each other: a session has one stream, and a lock around it
        self._shards = min(shards, threads) if self._device.type == "cpu" and _is_batched(spec) else 1
        try:
            self._session = onnxruntime.InferenceSession(
                model if isinstance(model, bytes) else str(model),
                # all shards share the session's pool, and each of them but the first adds the thread that runs it
                _options_with(shared or {}, threads - self._shards + 1, self._device.type == "cpu", as_written),
                providers=_providers(self._device, self._side),
            )
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            # not every device has kernels for bfloat16, and ONNX Runtime's own words name no remedy
            if "bfloat16" in reason:
                reason += "; export it with --precision float16, or run it on TensorRT or PyTorch"
            raise UserError(f"engine '{spec.name}': ONNX Runtime cannot load its model: {reason}") from None
        return_freed_memory()
        _check_session(spec, self._session)
        self._process = os.getpid()
        _LIVE.add(self)

    def _run(self, inputs: tuple[Tensor, ...], sizes: dict[str, int]) -> tuple[Tensor, ...]:
        # a binding has address and shape but no strides: a strided view would be read in the wrong order
        inputs = tuple(tensor.detach().contiguous() for tensor in inputs)
        outputs = self.empty_outputs(sizes, inputs[0].device)
        self._runner(inputs, outputs)()
        return outputs

    def _bind(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> Callable[[], None]:
        # ONNX Runtime would copy a tensor from elsewhere now, and not see what is written to it later
        if not all(t.is_contiguous() and t.device.type == self._device.type for t in (*inputs, *outputs)):
            raise ValueError(f"engine '{self._spec.name}': expected contiguous tensors on {self._device} to bind")
        return self._runner(inputs, outputs)

    def _runner(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> Callable[[], None]:
        if self._process != os.getpid():
            raise UserError(
                f"engine '{self._spec.name}': it was made before this process was forked, and its threads stayed "
                "behind; ask the bundle for it again, or start processes by 'spawn'"
            )
        # a shard without rows would be a batch of 0, which no spec allows
        shards = min(self._shards, len(inputs[0])) if self._shards > 1 else 1
        if shards == 1:
            return self._bound(inputs, outputs)
        # the parts are views: a shard writes straight into its rows of the outputs, and nothing is joined later
        parts = (
            zip(*(tensor.tensor_split(shards) for tensor in tensors), strict=True) for tensors in (inputs, outputs)
        )
        first, *others = [self._bound(*part) for part in zip(*parts, strict=True)]

        def run() -> None:
            under_way = [_helpers().submit(other) for other in others]
            try:
                first()
            finally:
                wait(under_way)  # even where the first failed: the others still write into the outputs
            # an error in another shard would be lost with its future
            for other in under_way:
                other.result()

        return run

    def _bound(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> Callable[[], None]:
        binding = self._session.io_binding()
        for declared, tensor in zip(self._spec.inputs, inputs, strict=True):
            binding.bind_input(
                declared.name, *_place(tensor), _ELEMENT[declared.dtype], tensor.shape, tensor.data_ptr()
            )
        for declared, tensor in zip(self._spec.outputs, outputs, strict=True):
            binding.bind_output(
                declared.name, *_place(tensor), _ELEMENT[declared.dtype], tensor.shape, tensor.data_ptr()
            )
        # the host waits for results that it reads itself, and for nothing that stays on the GPU
        options = _unsynchronized() if all(tensor.is_cuda for tensor in (*inputs, *outputs)) else None

        # the default argument keeps the tensors alive as long as the function: the binding has only their addresses
        def run(held: object = (inputs, outputs)) -> None:
            if self._side is None:
                self._session.run_with_iobinding(binding)
                return
            # a session has one stream, and the events around a run would interleave with those of another thread's
            with self._lock, self._side.joined():
                self._session.run_with_iobinding(binding, options)

        return run


@cache
def _unsynchronized() -> onnxruntime.RunOptions:
    """Return options of a run that ends when its work is enqueued; events order what follows."""
    options = onnxruntime.RunOptions()
    options.add_run_config_entry("disable_synchronize_execution_providers", "1")
    return options


@cache
def _helpers() -> ThreadPoolExecutor:
    """Return the threads of the shards but the first, started as they are needed."""
    return ThreadPoolExecutor(thread_name_prefix="shard")


_LIVE: "weakref.WeakSet[OrtEngine]" = weakref.WeakSet()
"""The engines of this process."""


def _leave_threads_behind() -> None:
    """Forget, in a forked child, what waits for threads that only its parent has."""
    _helpers.cache_clear()
    for engine in list(_LIVE):
        # One reference more than there are, so that no session is ever freed here: that would wait forever, too.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(engine._session))


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_leave_threads_behind)


def _is_batched(spec: EngineSpec) -> bool:
    """Return whether all tensors have one free first dimension, along which a batch can be cut into parts."""
    firsts = {tensor.shape[:1] for tensor in (*spec.inputs, *spec.outputs)}
    first = firsts.pop()
    return not firsts and bool(first) and isinstance(first[0], str)


def _options_with(
    shared: Mapping[str, bytes], threads: int, on_cpu: bool, as_written: bool
) -> onnxruntime.SessionOptions:
    as_written = as_written and on_cpu
    is_large = sum(map(len, shared.values())) > LARGE
    one_arena = on_cpu and not is_large
    if not shared:
        return session_options(threads, as_written, one_arena)
    # not the cached ones, which would hold the weights for as long as the process
    options = _new_options(threads, as_written, one_arena)
    options.add_external_initializers_from_files_in_memory(
        list(shared), list(shared.values()), [len(content) for content in shared.values()]
    )
    if is_large:
        # the arena keeps what it once needed, and never gives it back
        options.enable_cpu_mem_arena = False
    return options


@cache
def session_options(threads: int, as_written: bool = False, one_arena: bool = False) -> onnxruntime.SessionOptions:
    """Return options for one stream of small networks, the same object for the same arguments."""
    return _new_options(threads, as_written, one_arena)


@cache
def _share_arena() -> None:
    """Make the arena that all sessions take memory from: one network's is then the next one's.

    They run one after another, and each would keep what it has needed once: 45 MiB for a drawing from `icons`.
    """
    memory = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    # somebody else in the process may have made one, which does as well; the exceptions share no base class
    with suppress(Exception):
        onnxruntime.create_and_register_allocator(memory, None)


def _new_options(threads: int, as_written: bool, one_arena: bool) -> onnxruntime.SessionOptions:
    """Return options for one stream of small networks: deterministic kernels, no warnings.

    Threads spin between the operators of a run, and stop with it: the rasterizer's and PyTorch's threads run between
    two calls on the same cores.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_DISABLE_ALL if as_written else levels.ORT_ENABLE_ALL
    options.use_deterministic_compute = True
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if one_arena:
        _share_arena()
        options.add_session_config_entry("session.use_env_allocators", "1")
    return options


# written out, since the runtime does without the package onnx
_IDENTITY = (
    b'\x08\x08\x12\x00:7\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x01gZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01'
    b"b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\r"
)
"""The model y = x of one float32."""


@cache
def has_cuda() -> bool:
    """Return whether a session really gets CUDA: a build that names it may lack its libraries, or a GPU."""
    if not torch.cuda.is_available() or "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        return False
    options = onnxruntime.SessionOptions()
    # a machine without CUDA is an answer here, not an error to print
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(_IDENTITY, options, providers=["CUDAExecutionProvider"])
    except Exception:  # ONNX Runtime's exceptions share no base class
        return False
    # without CUDA's libraries a session may come up on the CPU instead of failing
    return "CUDAExecutionProvider" in session.get_providers()


def _choose_device(device: str) -> torch.device:
    if device == "auto":
        device = "cuda" if has_cuda() else "cpu"
    chosen = torch.device(device)
    if chosen.type == "cuda" and not has_cuda():
        raise _no_cuda(device)
    return chosen


def _no_cuda(device: str) -> UserError:
    return UserError(
        f"device {device!r}: expected a CUDA device that PyTorch and ONNX Runtime both see, got none; "
        "use --device cpu, or install CUDA builds of torch and onnxruntime-gpu"
    )


def _providers(device: torch.device, side: SideStream | None) -> list[Any]:
    if side is None:
        return ["CPUExecutionProvider"]
    options = {
        "device_id": device.index or 0,
        # TF32 keeps 10 bits of a product's factors: float32 networks would differ from those on a CPU
        "use_tf32": 0,
        # an exhaustive search picks by measured time, so that two sessions could differ in their last bits
        "cudnn_conv_algo_search": "HEURISTIC",
        "user_compute_stream": str(side.handle),  # never PyTorch's default one, 0, which would be taken for none
    }
    return [("CUDAExecutionProvider", options), "CPUExecutionProvider"]


def _place(tensor: Tensor) -> tuple[str, int]:
    return tensor.device.type, tensor.device.index or 0


def _check_session(spec: EngineSpec, session: onnxruntime.InferenceSession) -> None:
    for side, declared, nodes in (
        ("inputs", spec.inputs, session.get_inputs()),
        ("outputs", spec.outputs, session.get_outputs()),
    ):
        expected, got = {tensor.name for tensor in declared}, {node.name for node in nodes}
        if expected != got:
            raise UserError(
                f"engine '{spec.name}': model.onnx and spec.json disagree on {side}: "
                f"expected {sorted(expected)}, got {sorted(got)}; export the bundle again"
            )
    types = {node.name: (node.type, node.shape) for node in (*session.get_inputs(), *session.get_outputs())}
    for tensor in (*spec.inputs, *spec.outputs):
        kind, shape = types[tensor.name]
        fits = len(shape) == len(tensor.shape) and all(
            # only sizes that both fix: free dimensions of the model may have other names, or none
            not isinstance(got, int) or not isinstance(want, int) or got == want
            for want, got in zip(tensor.shape, shape, strict=True)
        )
        if kind != f"tensor({DTYPES[tensor.dtype].ort})" or not fits:
            raise UserError(
                f"engine '{spec.name}': model.onnx and spec.json disagree on '{tensor.name}': "
                f"expected {tensor}, got {tuple(shape)} {kind}; export the bundle again"
            )


def ready(graph: Graph, device: str) -> list[Choice]:
    """Return the one way to run a graph: on the device, or on the CPU where ONNX Runtime lacks CUDA."""
    return [Choice("ort", device if device == "cpu" or has_cuda() else "cpu")]


def missing(graph: Graph, device: str) -> str:
    """Raise a `UserError`: what is missing is CUDA."""
    raise _no_cuda(device)


def make(graph: Graph, choice: Choice, *, threads: int | None = None, compile: bool = False) -> OrtEngine:
    """Return the engine of a graph; arguments and errors as of `table.Driver`."""
    model, weights = graph.read()
    threads = 1 if graph.in_one_thread else threads
    return OrtEngine(
        graph.spec,
        model,
        device=choice.device,
        threads=threads,
        shared=weights,
        shards=graph.shards,
        as_written=graph.as_written,
    )
