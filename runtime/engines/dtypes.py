"""The types of tensors, each by the names that PyTorch, ONNX, ONNX Runtime, TensorRT and safetensors have for it."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Dtype:
    """One type of tensor."""

    name: str
    """As PyTorch and NumPy spell it, and spec.json."""
    onnx: int
    """Number in ONNX' `TensorProto.DataType`."""
    ort: str
    """As ONNX Runtime spells it between the brackets of `tensor(...)`."""
    tensorrt: str
    """Member of TensorRT's `DataType`; empty where it has none."""
    safetensors: str
    """As the header of a safetensors file spells it."""


DTYPES: Mapping[str, Dtype] = {
    dtype.name: dtype
    for dtype in (
        Dtype("float32", 1, "float", "FLOAT", "F32"),
        Dtype("float16", 10, "float16", "HALF", "F16"),
        Dtype("bfloat16", 16, "bfloat16", "BF16", "BF16"),
        Dtype("float64", 11, "double", "", "F64"),
        Dtype("int64", 7, "int64", "INT64", "I64"),
        Dtype("int32", 6, "int32", "INT32", "I32"),
        Dtype("int8", 3, "int8", "INT8", "I8"),
        Dtype("uint8", 2, "uint8", "UINT8", "U8"),
        Dtype("bool", 9, "bool", "BOOL", "BOOL"),
    )
}
"""Every type that a spec may name, by that name."""
