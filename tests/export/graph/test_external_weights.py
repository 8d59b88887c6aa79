"""Weights that two models share are stored once, and both find them."""

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import load

from export.graph.external_weights import WeightsFile, externalize_weights, refer_to_file, take_weights_in
from runtime.engines.backends.ort import OrtEngine
from runtime.engines.spec import EngineSpec, TensorSpec

SHARED = np.random.default_rng(0).normal(size=(32, 16)).astype(np.float32)
OTHER = np.random.default_rng(1).normal(size=(32, 16)).astype(np.float16)


def make_model(weights: dict[str, np.ndarray]):
    nodes, last = [], "x"
    for name in weights:
        nodes.append(helper.make_node("Cast", [name], [f"{name}.float"], to=TensorProto.FLOAT))
        nodes.append(helper.make_node("MatMul", [last, f"{name}.float"], [f"{name}.y"]))
        nodes.append(helper.make_node("Concat", [f"{name}.y", f"{name}.y"], [f"{name}.z"], axis=1))
        last = f"{name}.z"
    nodes.append(helper.make_node("Identity", [last], ["y"]))
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["B", 32]) for name in ("x", "y")]
    constants = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "g", infos[:1], infos[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def test_equal_weights_are_stored_once_and_run(tmp_path) -> None:
    models = {"a": make_model({"w": SHARED}), "b": make_model({"w": OTHER, "v": SHARED})}
    shared, content = externalize_weights(models, "weights.safetensors")
    stored = load(content)
    assert {name: tuple(value.shape) for name, value in stored.items()} == {"w": (32, 16), "b.w": (32, 16)}
    assert torch.equal(stored["w"], torch.from_numpy(SHARED))
    x = torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
    for role, model in models.items():
        small = shared[role].SerializeToString()
        assert len(small) < len(model.SerializeToString()) - 900
        spec = EngineSpec(role, (TensorSpec("x", ("B", 32), "float32"),), (TensorSpec("y", ("B", 32), "float32"),))
        spec = EngineSpec(role, spec.inputs, spec.outputs, {"B": (1, 2, 9)})
        (expected,) = OrtEngine(spec, model.SerializeToString())(x)
        (found,) = OrtEngine(spec, small, shared={"weights.safetensors": content})(x)
        assert torch.equal(found, expected)
        (tmp_path / "weights.safetensors").write_bytes(content)
        (tmp_path / f"{role}.onnx").write_bytes(small)
        session = onnxruntime.InferenceSession(tmp_path / f"{role}.onnx", providers=["CPUExecutionProvider"])
        assert np.array_equal(session.run(None, {"x": x.numpy()})[0], expected.numpy())


def test_weights_of_another_model_are_read_out_of_it() -> None:
    rng = np.random.default_rng(2)
    shared, own, other = (rng.integers(-127, 128, (32, 128), np.int8) for _ in range(3))
    base = make_wide({"first": other, "second": shared}).SerializeToString()
    model = make_wide({"a": shared, "b": own})
    whole, stored = model.SerializeToString(), WeightsFile.of_model("base.onnx", base)
    assert {name: base[p.offset : p.offset + p.length] for name, p in stored.places.items()} == {
        "first": other.tobytes(),
        "second": shared.tobytes(),
    }
    refer_to_file(model, stored, base)
    small = model.SerializeToString()
    assert len(small) < len(whole) - shared.nbytes + 200
    again = onnx.load_from_string(small)
    take_weights_in(again, {"base.onnx": base})
    assert {w.name: w.raw_data for w in again.graph.initializer} == {"a": shared.tobytes(), "b": own.tobytes()}
    tensors = (TensorSpec("x", ("B", 32), "float32"),), (TensorSpec("y", ("B", 256), "float32"),)
    spec = EngineSpec("wide", *tensors, {"B": (1, 2, 9)})
    x = torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
    (expected,), (found,) = OrtEngine(spec, whole)(x), OrtEngine(spec, small, shared={"base.onnx": base})(x)
    assert torch.equal(found, expected)


def make_wide(weights: dict[str, np.ndarray]):
    """Return a model x -> x A + x B of int8 matrices of 4,096 values."""
    nodes = []
    for name in weights:
        nodes.append(helper.make_node("Cast", [name], [f"{name}.float"], to=TensorProto.FLOAT))
        nodes.append(helper.make_node("MatMul", ["x", f"{name}.float"], [f"{name}.y"]))
    first, second = weights
    nodes.append(helper.make_node("Concat", [f"{first}.y", f"{second}.y"], ["y"], axis=1))
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["B", s]) for n, s in (("x", 32), ("y", 256))]
    constants = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "g", infos[:1], infos[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
