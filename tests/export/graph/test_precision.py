import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from export.graph.external_data import ExternalDataModel, load_model, run_model
from export.graph.precision import HALF_TYPES, to_half
from export.graph.quantize import quantize
from export.graph.trace import export_onnx
from export.network import batched
from runtime.engines.precision import Compute, Storage
from runtime.engines.spec import EngineSpec
from tests.bundles import SPECS, make_denoiser, make_latent_decoder
from tests.export.graph.test_quantize import inputs, make_model, run
from tests.tolerance import ENGINE_HALF

HALF_BITS = 2.0**-11
"""Greatest relative error of rounding to float16."""


def half(content: bytes, precision: Compute = Compute.FP16) -> ExternalDataModel:
    return to_half(load_model(content, {}, "net"), precision)


def types(model: ExternalDataModel, strict: bool = True) -> dict[str, int]:
    """Return the inferred type of every tensor; a graph whose types do not fit is refused."""
    inferred = onnx.shape_inference.infer_shapes(model.proto, check_type=strict, strict_mode=strict).graph
    values = [*inferred.input, *inferred.output, *inferred.value_info]
    return {v.name: v.type.tensor_type.elem_type for v in values} | {w.name: w.data_type for w in inferred.initializer}


def feeds(spec: EngineSpec, batch: int = 2) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    shapes = {t.name: t.bound({"B": batch}) for t in spec.inputs}
    return {
        t.name: random.integers(0, 999, shapes[t.name]) if t.dtype == "int64" else normal(random, shapes[t.name])
        for t in spec.inputs
    }


def normal(random: np.random.Generator, shape: tuple) -> np.ndarray:
    return random.standard_normal(shape).astype(np.float32)


def graph_of(nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray], shape: tuple) -> bytes:
    info = helper.make_tensor_value_info
    made = [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "net", [info("x", 1, shape)], [info("y", 1, None)], made)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return onnx.shape_inference.infer_shapes(model).SerializeToString()


@pytest.mark.parametrize(("role", "make"), [("denoiser", make_denoiser), ("latent_decoder", make_latent_decoder)])
def test_a_cast_network_is_near_the_float32_one_and_not_it(role: str, make) -> None:
    content, spec = make(0), SPECS[role]
    names = [tensor.name for tensor in spec.outputs]
    exact = run_model(load_model(content, {}, "net"), feeds(spec), names)[0]
    cast = run_model(half(content), feeds(spec), names)[0]
    assert cast.dtype == np.float32
    error = np.abs(cast - exact).max() / np.abs(exact).max()
    assert 1e-6 < error < ENGINE_HALF


@pytest.mark.parametrize("precision", HALF_TYPES)
def test_products_are_half_and_the_rest_of_the_list_is_float32(precision: Compute) -> None:
    class Block(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.conv = torch.nn.GroupNorm(2, 8), torch.nn.Conv2d(8, 8, 3, padding=1)
            self.line, self.layer = torch.nn.Linear(8, 24), torch.nn.LayerNorm(8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x + self.conv(torch.nn.functional.silu(self.norm(x)))
            parts = self.line(self.layer(x.flatten(2).transpose(1, 2))).chunk(3, dim=-1)
            q, k, v = (part.unsqueeze(1) for part in parts)
            return torch.nn.functional.scaled_dot_product_attention(q, k, v)[:, 0]

    spec = batched("net", {"x": (8, 4, 4)}, {"y": (16, 8)})
    module = Block().eval().requires_grad_(False)
    model = export_onnx(module, spec, (torch.randn(2, 8, 4, 4),))
    model = half(model.SerializeToString(), precision)
    kind = HALF_TYPES[precision][0]
    found = types(model, strict=precision == Compute.FP16)  # ONNX' Conv has bfloat16 from version 22 on only
    inside = {"Conv": kind, "MatMul": kind, "Softmax": 1, "LayerNormalization": 1, "GroupNormalization": 1}
    inside["InstanceNormalization"] = 1
    seen = set()
    for node in model.proto.graph.node:
        if node.op_type in inside:
            seen.add(node.op_type)
            assert found[node.input[0]] == inside[node.op_type], node.op_type
    assert {"Conv", "MatMul", "Softmax", "LayerNormalization"} <= seen
    assert found["x"] == found["y"] == TensorProto.FLOAT
    if precision == Compute.FP16:
        x = torch.randn(2, 8, 4, 4)
        (value,) = run_model(model, {"x": x.numpy()}, ["y"])
        np.testing.assert_allclose(value, module(x).numpy(), atol=ENGINE_HALF)


def test_the_deviations_of_a_written_out_normalization_do_not_overflow() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("ReduceMean", ["h", "axes"], ["mean"]),
        helper.make_node("Sub", ["h", "mean"], ["d"]),
        helper.make_node("Mul", ["d", "d"], ["square"]),
        helper.make_node("ReduceMean", ["square", "axes"], ["variance"]),
        helper.make_node("Add", ["variance", "epsilon"], ["moved"]),
        helper.make_node("Sqrt", ["moved"], ["deviation"]),
        helper.make_node("Div", ["d", "deviation"], ["y"]),
    ]
    weights = {
        "w": 1000.0 * np.eye(8, dtype=np.float32),
        "axes": np.array([1], np.int64),
        "epsilon": np.array(1e-12, np.float32),
    }
    content = graph_of(nodes, weights, (2, 8))
    x = normal(np.random.default_rng(0), (2, 8))
    exact = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
    (found,) = run_model(half(content), {"x": x}, ["y"])
    np.testing.assert_allclose(found, exact, atol=8 * HALF_BITS)


@pytest.mark.parametrize("value", [1e6, 1e-12])
def test_a_constant_that_half_precision_cannot_hold_keeps_its_operator_in_float32(value: float) -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Mul", ["h", "c"], ["y"])]
    weights = {"w": np.eye(4, dtype=np.float32), "c": np.array(value, np.float32)}
    (found,) = run_model(half(graph_of(nodes, weights, (1, 4))), {"x": np.ones((1, 4), np.float32)}, ["y"])
    np.testing.assert_allclose(found, np.full((1, 4), value, np.float32), rtol=1e-6)


def test_a_weight_of_a_product_that_overflows_keeps_the_product_in_float32() -> None:
    weights = {"w": np.full((4, 4), 1e5, np.float32)}
    content = graph_of([helper.make_node("MatMul", ["x", "w"], ["y"])], weights, (1, 4))
    (found,) = run_model(half(content), {"x": np.ones((1, 4), np.float32)}, ["y"])
    np.testing.assert_allclose(found, np.full((1, 4), 4e5, np.float32))


def test_a_tensor_that_two_operators_read_is_cast_once() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("MatMul", ["x", "v"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["y"]),
    ]
    weights = {"w": np.eye(4, dtype=np.float32), "v": np.eye(4, dtype=np.float32)}
    model = half(graph_of(nodes, weights, (1, 4)))
    assert [node.op_type for node in model.proto.graph.node] == ["Cast", "MatMul", "MatMul", "Add", "Cast"]
    assert {weight.data_type for weight in model.proto.graph.initializer} == {TensorProto.FLOAT16}


def test_weights_that_are_stored_in_half_precision_keep_their_names_apart() -> None:
    stored = quantize(make_model()[0], Storage.FLOAT16, threshold=1)
    assert {"kernel.half", "kernel"} <= {name for node in stored.graph.node for name in (*node.input, *node.output)}
    model = half(stored.SerializeToString())
    types(model)
    x, ids = inputs()
    (found,) = run_model(model, {"x": x.numpy(), "ids": ids.numpy()}, ["y"])
    expected = run(stored, x, ids).numpy()
    assert np.abs(found - expected).max() < ENGINE_HALF * np.abs(expected).max()


def test_scales_of_a_resize_keep_their_type() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["h"]),
        helper.make_node("Resize", ["h", "", "scales"], ["y"], mode="nearest"),
    ]
    weights = {"w": np.ones((1, 1, 1, 1), np.float32), "scales": np.array([1, 1, 2, 2], np.float32)}
    model = half(graph_of(nodes, weights, (1, 1, 2, 2)))
    types(model)
    (found,) = run_model(model, {"x": np.ones((1, 1, 2, 2), np.float32)}, ["y"])
    assert found.shape == (1, 1, 4, 4)


def test_branches_are_refused() -> None:
    info = helper.make_tensor_value_info
    branch = helper.make_graph([helper.make_node("Identity", ["x"], ["z"])], "b", [], [info("z", 1, [1])])
    node = helper.make_node("If", ["flag"], ["y"], name="fork", then_branch=branch, else_branch=branch)
    graph = helper.make_graph([node], "net", [info("x", 1, [1]), info("flag", 9, [])], [info("y", 1, [1])])
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10).SerializeToString()
    with pytest.raises(ValueError, match=r"node 'fork' \(If\): expected a graph without branches and loops"):
        half(content)


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ValueError, match="compute: expected one of fp16, bf16, got tf32"):
        half(make_denoiser(0), Compute.TF32)


def test_onnx_runtime_takes_every_cast_graph_of_the_tiny_networks() -> None:
    for make in (make_denoiser, make_latent_decoder):
        model = half(make(0))
        options = onnxruntime.SessionOptions()
        names = list(model.weights)
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(model.weights[name]) for name in names]
        options.add_external_initializers(names, values)
        assert onnxruntime.InferenceSession(model.proto.SerializeToString(), options)
