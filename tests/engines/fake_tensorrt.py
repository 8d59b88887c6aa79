"""A TensorRT module whose engines add their inputs and write what they are asked for down, by address as the real one.

Its plans are JSON: the tensors of an engine. It runs on the CPU, on which `data_ptr` is an address too.
"""

import ctypes
import json
from types import SimpleNamespace
from typing import Any

import numpy as np

NUMPY = {"FLOAT": np.float32, "INT64": np.int64}


class Context:
    def __init__(self, engine: "Engine") -> None:
        self.engine, self.shapes, self.addresses = engine, {}, {}
        self.calls: list[tuple] = []
        self.fails = False
        engine.contexts.append(self)

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.calls.append(("shape", name, shape))
        self.shapes[name] = shape
        return not (self.fails and self.engine.log.log("ERROR", "shape out of profile") is None)

    def update_device_memory_size_for_shapes(self) -> int:
        return 64 * max(shape[0] for shape in self.shapes.values())

    def set_device_memory(self, address: int, size: int) -> None:
        self.calls.append(("memory", size))

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def is_stream_capturable(self, stream: int) -> bool:
        return self.engine.capturable

    def execute_async_v3(self, stream: int) -> bool:
        self.calls.append(("run", stream))
        if self.fails:
            self.engine.log.log("ERROR", "out\n of   memory")
            return False
        inputs = [t for t in self.engine.tensors if t["input"]]
        total = sum(self._array(t["name"], self.shapes[t["name"]], t["type"]).astype(np.float64) for t in inputs)
        for tensor in self.engine.tensors:
            if not tensor["input"]:
                shape = [total.shape[0] if size == -1 else size for size in tensor["shape"]]
                self._array(tensor["name"], shape, tensor["type"])[...] = total * tensor["factor"]
        return True

    def _array(self, name: str, shape: Any, kind: str) -> np.ndarray:
        dtype = np.dtype(NUMPY[kind])
        count = int(np.prod(shape))
        memory = (ctypes.c_char * (count * dtype.itemsize)).from_address(self.addresses[name])
        return np.frombuffer(memory, dtype).reshape(tuple(shape))


class Engine:
    capturable = True

    def __init__(self, plan: bytes, log: Any) -> None:
        self.tensors = json.loads(plan)
        self.log = log
        self.contexts: list[Context] = []
        self.num_io_tensors = len(self.tensors)

    def get_tensor_name(self, index: int) -> str:
        return self.tensors[index]["name"]

    def _of(self, name: str) -> dict:
        return next(tensor for tensor in self.tensors if tensor["name"] == name)

    def get_tensor_shape(self, name: str) -> list[int]:
        return self._of(name)["shape"]

    def get_tensor_dtype(self, name: str) -> str:
        return self._of(name)["type"]

    def create_runtime_config(self) -> SimpleNamespace:
        return SimpleNamespace(set_execution_context_allocation_strategy=lambda strategy: None)

    def create_execution_context(self, config: Any) -> Context:
        return Context(self)


class ILogger:
    ERROR, INTERNAL_ERROR, WARNING = "ERROR", "INTERNAL_ERROR", "WARNING"

    def __init__(self) -> None: ...


class Runtime:
    made: list[Engine] = []  # noqa: RUF012

    def __init__(self, log: Any) -> None:
        self.log = log

    def deserialize_cuda_engine(self, plan: bytes) -> Engine | None:
        try:
            engine = Engine(plan, self.log)
        except ValueError:
            self.log.log("ERROR", "magic tag does not match")
            return None
        Runtime.made.append(engine)
        return engine


__version__ = "1.7.fake"
ExecutionContextAllocationStrategy = SimpleNamespace(USER_MANAGED="user")
DynamicShapesKernelSpecializationStrategy = SimpleNamespace(EAGER="eager")
DataType = SimpleNamespace(FLOAT="FLOAT", INT64="INT64", HALF="HALF")
