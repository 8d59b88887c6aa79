import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from export.graph.external_data import ExternalDataModel, load_model, run_model
from export.graph.fold import fold_bytes
from export.graph.quantize import quantize
from runtime.engines.precision import Storage
from tests.export.graph.test_quantize import inputs, make_model, run
from tests.tolerance import ENGINE_FLOAT32
from train.quantize import dequantize_groups, quantize_groups

UNPACKING = {"BitShift", "BitwiseAnd", "BitwiseOr"}


def folded(model: onnx.ModelProto) -> ExternalDataModel:
    return fold_bytes(load_model(model.SerializeToString(), {}, "net"))


@pytest.mark.parametrize("storage", [Storage.FLOAT32, Storage.FLOAT16, Storage.INT8])
def test_folding_changes_no_value_and_leaves_no_bytes(storage: Storage) -> None:
    stored = quantize(make_model()[0], storage, threshold=1)
    model = folded(stored)
    x, ids = inputs()
    (found,) = run_model(model, {"x": x.numpy(), "ids": ids.numpy()}, ["y"])
    expected = run(stored, x, ids).numpy()
    np.testing.assert_allclose(found, expected, atol=ENGINE_FLOAT32 * np.abs(expected).max())
    kinds = {weight.data_type for weight in model.proto.graph.initializer}
    assert not kinds & {TensorProto.INT8, TensorProto.UINT8}


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 7, 8])
@pytest.mark.parametrize("shape", [(2, 5), (5,)])
def test_a_table_whose_packed_rows_are_looked_up_is_unpacked_whole(bits: int, shape: tuple[int, ...]) -> None:
    table = torch.randn(50, 64, generator=torch.Generator().manual_seed(bits))
    groups = quantize_groups(table, bits=bits, group=16)
    values = dequantize_groups(groups)
    nodes = [helper.make_node("Gather", ["table", "ids"], ["f"]), helper.make_node("Sin", ["f"], ["y"])]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "net",
        [info("ids", TensorProto.INT64, ["B", 5][-len(shape) :])],
        [info("y", 1, [*["B", 5][-len(shape) :], 64])],
        [numpy_helper.from_array(values.numpy(), "table")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    stored = quantize(model, Storage.FLOAT32, groups=[groups])
    assert UNPACKING & {node.op_type for node in stored.graph.node} or bits == 8
    model = folded(stored)
    assert [node.op_type for node in model.proto.graph.node] == ["Gather", "Sin"]
    ids = torch.randint(0, 50, shape, generator=torch.Generator().manual_seed(0))
    (found,) = run_model(model, {"ids": ids.numpy()}, ["y"])
    np.testing.assert_array_equal(next(iter(model.weights.values())), values.numpy())
    np.testing.assert_allclose(found, values[ids].sin().numpy(), atol=ENGINE_FLOAT32)


def test_a_matrix_in_groups_that_is_transposed_folds_to_its_values() -> None:
    weight = torch.randn(32, 288, generator=torch.Generator().manual_seed(0))
    groups = quantize_groups(weight, bits=6, group=32)
    model, _ = make_model()
    place = next(w for w in model.graph.initializer if w.name == "matrix")
    place.CopyFrom(numpy_helper.from_array(dequantize_groups(groups).numpy().T.copy(), "matrix"))
    model = folded(quantize(model, Storage.FLOAT32, groups=[groups]))
    np.testing.assert_array_equal(model.weights["matrix"], dequantize_groups(groups).numpy().T)


def test_constants_without_bytes_stay_as_they_are() -> None:
    model = quantize(make_model()[0], Storage.FLOAT16, threshold=1)
    assert folded(model).proto.graph.node == load_model(model.SerializeToString(), {}, "net").proto.graph.node


def test_bytes_in_an_unknown_use_are_refused() -> None:
    info = helper.make_tensor_value_info
    nodes = [helper.make_node("Add", ["x", "codes"], ["y"])]
    codes = numpy_helper.from_array(np.ones(3, np.int8), "codes")
    graph = helper.make_graph(nodes, "net", [info("x", 3, [3])], [info("y", 3, [3])], [codes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    with pytest.raises(ValueError, match="net: weights of bytes are used in an unknown way: codes"):
        folded(model)
