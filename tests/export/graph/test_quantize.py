from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save

from export.graph.quantize import quantize, quantize_state
from runtime.engines.backends.eager import expand_weights
from runtime.engines.backends.ort import OrtEngine
from runtime.engines.precision import Storage
from runtime.engines.spec import EngineSpec, TensorSpec
from train.quantize import dequantize_groups, quantize_groups

SPEC = EngineSpec(
    "net",
    (TensorSpec("x", ("B", 8, 6, 6), "float32"), TensorSpec("ids", ("B", 5), "int64")),
    (TensorSpec("y", ("B", 5, 64), "float32"),),
    {"B": (1, 2, 8)},
)
STORAGE = {"Cast", "BitShift", "BitwiseAnd", "BitwiseOr", "Concat"}
"""Operators that unpack weights and stand nowhere else in the test's network."""


def make_model(seed: int = 0) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """Return a network with a kernel, a transposed kernel, two matrices, a table, and values that are no weights."""
    random = np.random.default_rng(seed)
    weights = {
        "kernel": random.normal(size=(16, 8, 3, 3)),
        "back": random.normal(size=(16, 8, 2, 2)),
        "matrix": random.normal(size=(288, 32)),
        "gemm": random.normal(size=(64, 32)),
        "table": random.normal(size=(50, 64)),
        "offset": random.normal(size=(1, 5, 64)),
        "bias": random.normal(size=(64,)),
    }
    weights = {name: value.astype(np.float32) for name, value in weights.items()}
    weights["kernel"][3] = 0.0
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("ConvTranspose", ["a", "back"], ["b0"], strides=[1, 1], pads=[1, 1, 0, 0]),
        helper.make_node("Flatten", ["b0"], ["b"], axis=1),
        helper.make_node("MatMul", ["b", "matrix"], ["c"]),
        helper.make_node("Gemm", ["c", "gemm", "bias"], ["d"], transB=1),
        helper.make_node("Unsqueeze", ["d", "one"], ["e"]),
        helper.make_node("Gather", ["table", "ids"], ["f"]),
        helper.make_node("Add", ["f", "offset"], ["g"]),
        helper.make_node("Add", ["e", "g"], ["y"]),
    ]
    constants = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    constants.append(numpy_helper.from_array(np.array([1]), "one"))
    infos = [
        [
            helper.make_tensor_value_info(t.name, TensorProto.INT64 if t.name == "ids" else 1, list(t.shape))
            for t in side
        ]
        for side in (SPEC.inputs, SPEC.outputs)
    ]
    graph = helper.make_graph(nodes, "net", *infos, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), weights


def inputs(batch: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(batch)
    return torch.randn(batch, 8, 6, 6, generator=generator), torch.randint(0, 50, (batch, 5), generator=generator)


def run(model: onnx.ModelProto, *tensors: torch.Tensor) -> torch.Tensor:
    return OrtEngine(SPEC, model.SerializeToString(), threads=1)(*tensors)[0]


def optimized(model: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    """Return the graph that ONNX Runtime really runs."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return onnx.load(folder / "optimized.onnx")


def folded(model: onnx.ModelProto, folder: Path) -> dict[tuple[int, ...], list[np.ndarray]]:
    """Return the float32 constants of the optimized graph by shape."""
    constants: dict[tuple[int, ...], list[np.ndarray]] = {}
    for weight in optimized(model, folder).graph.initializer:
        if weight.data_type == TensorProto.FLOAT:
            value = numpy_helper.to_array(weight)
            constants.setdefault(value.shape, []).append(value)
    return constants


@pytest.mark.parametrize(
    ("name", "axes"),
    [("kernel", (1, 2, 3)), ("back", (0, 2, 3)), ("matrix", (0,)), ("gemm", (1,)), ("table", (1,))],
)
def test_int8_weights_are_within_half_a_step_of_each_output_channel(
    name: str, axes: tuple[int, ...], tmp_path: Path
) -> None:
    model, weights = make_model()
    weight = weights[name]
    stored = {w.name: numpy_helper.to_array(w) for w in quantize(model, Storage.INT8, threshold=100).graph.initializer}
    value = stored[f"{name}.codes"].astype(np.float32) * stored[f"{name}.step"]
    greatest = np.abs(weight).max(axis=axes, keepdims=True)
    assert stored[f"{name}.codes"].dtype == np.int8
    assert stored[f"{name}.step"].shape == greatest.shape
    assert (np.abs(value - weight) <= greatest / 127 / 2 * (1 + 1e-5)).all()
    assert np.abs(value - weight).max() > 0
    peaks = np.abs(weight) == greatest
    np.testing.assert_allclose(value[peaks], weight[peaks], rtol=1e-6)


@pytest.mark.parametrize("batch", [1, 3])
def test_the_session_computes_with_the_stored_values(batch: int) -> None:
    model, _ = make_model()
    small = quantize(model, Storage.INT8, threshold=100)
    stored = {w.name: numpy_helper.to_array(w) for w in small.graph.initializer}
    for weight in model.graph.initializer:
        if f"{weight.name}.codes" in stored:
            value = stored[f"{weight.name}.codes"].astype(np.float32) * stored[f"{weight.name}.step"]
            weight.CopyFrom(numpy_helper.from_array(value, weight.name))
    assert torch.equal(run(small, *inputs(batch)), run(model, *inputs(batch)))


@pytest.mark.parametrize("storage", [Storage.INT8, Storage.FLOAT16])
def test_unpacking_is_folded_into_float32_constants_at_load(storage: Storage, tmp_path: Path) -> None:
    model, _ = make_model()
    graph = optimized(quantize(model, storage, threshold=100), tmp_path).graph
    wanted = Counter(node.op_type for node in optimized(model, tmp_path).graph.node)
    assert Counter(node.op_type for node in graph.node) == wanted
    kinds = {weight.data_type for weight in graph.initializer}
    assert kinds <= {TensorProto.FLOAT, TensorProto.INT64}


def test_float16_weights_are_the_rounded_ones(tmp_path: Path) -> None:
    model, weights = make_model()
    constants = folded(quantize(model, Storage.FLOAT16, threshold=100), tmp_path)
    kernel = weights["kernel"]
    assert any(np.array_equal(v, kernel.astype(np.float16).astype(np.float32)) for v in constants[kernel.shape])


def test_small_and_one_dimensional_weights_and_offsets_stay(tmp_path: Path) -> None:
    model, weights = make_model()
    stored = {w.name: numpy_helper.to_array(w) for w in quantize(model, Storage.INT8, threshold=1100).graph.initializer}
    for name in ("offset", "bias", "back"):
        assert np.array_equal(stored[name], weights[name])
    assert "kernel" not in stored


def test_a_channel_of_zeros_stays_zero() -> None:
    model, _ = make_model()
    stored = {w.name: numpy_helper.to_array(w) for w in quantize(model, Storage.INT8, threshold=100).graph.initializer}
    assert (stored["kernel.codes"][3] == 0).all()
    assert np.isfinite(stored["kernel.step"]).all()


def test_the_model_that_came_is_untouched() -> None:
    model, _ = make_model()
    before = model.SerializeToString(deterministic=True)
    quantize(model, Storage.INT8, threshold=100)
    assert model.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize(
    ("bits", "group"), [(1, 64), (2, 32), (3, 64), (4, 32), (4, 64), (5, 16), (6, 64), (7, 32), (8, 64)]
)
@pytest.mark.parametrize("name", ["table", "gemm"])
def test_groups_run_to_the_bit_as_they_were_trained(name: str, bits: int, group: int) -> None:
    model, weights = make_model()
    group = min(group, weights[name].shape[1])
    groups = quantize_groups(torch.from_numpy(weights[name]), bits=bits, group=group)
    for weight in model.graph.initializer:
        if weight.name == name:
            weight.CopyFrom(numpy_helper.from_array(dequantize_groups(groups).numpy(), name))
    small = quantize(model, Storage.FLOAT32, groups=[groups])
    assert name not in {w.name for w in small.graph.initializer}
    for batch in (1, 3):
        assert torch.equal(run(small, *inputs(batch)), run(model, *inputs(batch)))


def test_groups_of_a_transposed_matrix_are_found() -> None:
    model, weights = make_model()
    groups = quantize_groups(torch.from_numpy(weights["matrix"].T.copy()), bits=6, group=32)
    for weight in model.graph.initializer:
        if weight.name == "matrix":
            weight.CopyFrom(numpy_helper.from_array(dequantize_groups(groups).numpy().T.copy(), "matrix"))
    small = quantize(model, Storage.FLOAT32, groups=[groups])
    assert torch.equal(run(small, *inputs()), run(model, *inputs()))


def test_a_table_is_looked_up_packed(tmp_path: Path) -> None:
    model, weights = make_model()
    groups = quantize_groups(torch.from_numpy(weights["table"]), bits=4, group=64)
    for weight in model.graph.initializer:
        if weight.name == "table":
            weight.CopyFrom(numpy_helper.from_array(dequantize_groups(groups).numpy(), "table"))
    constants = optimized(quantize(model, Storage.FLOAT32, groups=[groups]), tmp_path).graph.initializer
    assert not any(w.data_type == TensorProto.FLOAT and list(w.dims) == [50, 64] for w in constants)
    packed = [numpy_helper.to_array(w) for w in constants if w.data_type == TensorProto.UINT8 and len(w.dims) == 2]
    assert [p.shape for p in packed] == [(50, 32)]


def test_a_matrix_in_groups_is_folded(tmp_path: Path) -> None:
    model, weights = make_model()
    groups = quantize_groups(torch.from_numpy(weights["gemm"]), bits=6, group=32)
    value = dequantize_groups(groups).numpy()
    for weight in model.graph.initializer:
        if weight.name == "gemm":
            weight.CopyFrom(numpy_helper.from_array(value, "gemm"))
    small = quantize(model, Storage.FLOAT32, groups=[groups])
    assert any(np.array_equal(v, value) for v in folded(small, tmp_path)[value.shape])
    assert not STORAGE & {node.op_type for node in optimized(small, tmp_path).graph.node}


def test_groups_that_fit_no_weight_are_refused() -> None:
    groups = quantize_groups(torch.rand(50, 64), bits=4, group=64)
    with pytest.raises(ValueError, match=r"groups of a weight of shape \(50, 64\): expected its values in the model"):
        quantize(make_model()[0], Storage.FLOAT32, groups=[groups])


def test_bfloat16_is_refused() -> None:
    with pytest.raises(ValueError, match="storage: expected float32, float16 or int8, got bfloat16"):
        quantize(make_model()[0], Storage.BFLOAT16)


def test_a_weight_beyond_float16_is_refused() -> None:
    model, weights = make_model()
    weights["kernel"][0, 0, 0, 0] = 1e5
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights["kernel"], "kernel"))
    with pytest.raises(ValueError, match="weight 'kernel': expected magnitudes that float16 holds, got 100000"):
        quantize(model, Storage.FLOAT16, threshold=100)


@pytest.mark.parametrize("storage", [Storage.FLOAT32, Storage.FLOAT16, Storage.INT8])
def test_a_twin_has_the_values_of_the_model(storage: Storage) -> None:
    model, weights = make_model()
    state = {name: torch.from_numpy(weights[name]) for name in ("kernel", "gemm", "bias")}
    expanded = expand_weights(save(quantize_state(state, storage, threshold=100)), "here")
    stored = {w.name: numpy_helper.to_array(w) for w in quantize(model, storage, threshold=100).graph.initializer}
    for name, weight in state.items():
        if f"{name}.codes" in stored:
            value = stored[f"{name}.codes"].astype(np.float32) * stored[f"{name}.step"]
        else:
            value = stored.get(f"{name}.half", stored.get(name)).astype(np.float32)
        assert np.array_equal(expanded[name].numpy(), value)
        assert np.abs(value - weight.numpy()).max() <= (0.0 if storage is Storage.FLOAT32 else 0.05)
