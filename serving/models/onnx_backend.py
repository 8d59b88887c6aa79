"""ONNX Runtime as a python-based backend of Triton, for machines without NVIDIA's container.

It stands in for the C++ backends `onnxruntime` and `tensorrt`, which no registry has: the same repository loads here
and there. As they do, it refuses a model whose names, types or sizes are not those of its configuration.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb  # pyright: ignore[reportMissingImports]

onnxruntime.disable_telemetry_events()  # its wheels report to their makers by default

TYPES = {
    "tensor(float)": "TYPE_FP32", "tensor(float16)": "TYPE_FP16", "tensor(double)": "TYPE_FP64",
    "tensor(int64)": "TYPE_INT64", "tensor(int32)": "TYPE_INT32", "tensor(int8)": "TYPE_INT8",
    "tensor(uint8)": "TYPE_UINT8", "tensor(bool)": "TYPE_BOOL", "tensor(bfloat16)": "TYPE_BF16",
}  # fmt: skip
"""Triton's name of each type of ONNX Runtime."""


class TritonPythonModel:
    """The entry that Triton looks for."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the model of a version and compare it with its configuration."""
        self.config = json.loads(args["model_config"])
        self.batched = self.config["max_batch_size"] > 0
        path = Path(args["model_repository"]) / args["model_version"] / "model.onnx"
        options = onnxruntime.SessionOptions()
        threads = self.config.get("parameters", {}).get("intra_op_thread_count", {}).get("string_value", "1")
        options.intra_op_num_threads, options.inter_op_num_threads = int(threads), 1
        options.use_deterministic_compute = True
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.check("input", self.session.get_inputs())
        self.check("output", self.session.get_outputs())
        self.inputs = [entry["name"] for entry in self.config["input"]]
        self.outputs = [entry["name"] for entry in self.config["output"]]

    def check(self, side: str, nodes: Sequence[Any]) -> None:
        """Refuse a model whose inputs or outputs are not the configuration's."""
        have = {node.name: node for node in nodes}
        for entry in self.config[side]:
            dims = [-1] * self.batched + [
                int(size) for size in entry.get("reshape", entry)["shape" if "reshape" in entry else "dims"]
            ]
            node = have.get(entry["name"])
            shape = [size if isinstance(size, int) else -1 for size in node.shape] if node else []
            fits = len(shape) == len(dims) and all(
                -1 in pair or pair[0] == pair[1] for pair in zip(shape, dims, strict=True)
            )
            if node is None or TYPES.get(node.type) != entry["data_type"] or not fits:
                got = f"{node.type} {shape}" if node else f"none; it has {sorted(have)}"
                expected = f"{entry['data_type']} {dims}"
                raise pb.TritonModelException(f"{side} {entry['name']!r}: expected {expected}, got {got}")

    def execute(self, requests: list) -> list:
        """Run all requests that the batcher has put together as one batch."""
        if not self.batched:
            return [self.run([request])[0] for request in requests]
        return self.run(requests)

    def run(self, requests: list) -> list:
        """Return the responses to requests that are run in one call."""
        values = {
            name: [pb.get_input_tensor_by_name(each, name).as_numpy() for each in requests] for name in self.inputs
        }
        sizes = [len(value) if value.ndim else 1 for value in values[self.inputs[0]]]
        feeds = {name: parts[0] if len(parts) == 1 else np.concatenate(parts) for name, parts in values.items()}
        try:
            results: Any = self.session.run(self.outputs, feeds)
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            failed = pb.TritonError(f"{type(error).__name__}: {error}"[:500])
            return [pb.InferenceResponse(error=failed) for _ in requests]
        if len(requests) == 1:
            return [pb.InferenceResponse(list(map(pb.Tensor, self.outputs, results)))]
        ends = np.cumsum(sizes)[:-1]
        split = [np.split(result, ends) for result in results]
        return [
            pb.InferenceResponse(
                [pb.Tensor(n, np.ascontiguousarray(p[i])) for n, p in zip(self.outputs, split, strict=True)]
            )
            for i in range(len(requests))
        ]
