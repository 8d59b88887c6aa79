"""Each library's own table of types, against ours."""

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from safetensors.torch import load, save

from runtime.engines.backends.editions import installed_editions, require_edition
from runtime.engines.dtypes import DTYPES, Dtype


@pytest.fixture(params=DTYPES.values(), ids=lambda dtype: dtype.name)
def dtype(request: pytest.FixtureRequest) -> Dtype:
    return request.param


def test_pytorch_and_numpy_know_the_name(dtype: Dtype) -> None:
    assert isinstance(getattr(torch, dtype.name), torch.dtype)
    if dtype.name != "bfloat16":
        assert np.dtype(dtype.name).name == dtype.name


def test_onnx_has_the_number(dtype: Dtype) -> None:
    assert helper.np_dtype_to_tensor_dtype(helper.tensor_dtype_to_np_dtype(dtype.onnx)) == dtype.onnx
    numbers = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE}
    assert numbers.get(dtype.name, getattr(TensorProto, dtype.name.upper(), None)) == dtype.onnx


def test_onnx_runtime_has_the_name(dtype: Dtype) -> None:
    value = helper.make_tensor_value_info("x", dtype.onnx, [1])
    out = helper.make_tensor_value_info("y", dtype.onnx, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [value], [out])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].type == f"tensor({dtype.ort})"


def test_safetensors_has_the_name(dtype: Dtype) -> None:
    content = save({"x": torch.zeros(1, dtype=getattr(torch, dtype.name))})
    assert f'"dtype":"{dtype.safetensors}"'.encode() in content
    assert load(content)["x"].dtype == getattr(torch, dtype.name)


@pytest.mark.tensorrt
def test_tensorrt_has_the_name(dtype: Dtype) -> None:
    for name in installed_editions():
        assert not dtype.tensorrt or hasattr(require_edition(name).DataType, dtype.tensorrt)
