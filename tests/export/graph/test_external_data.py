import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from export.graph.external_data import LARGE, ExternalDataModel, load_model, run_model
from export.graph.external_weights import externalize_weights
from runtime.errors import UserError
from tests.export.graph.test_quantize import inputs, make_model, run
from tests.tolerance import ENGINE_FLOAT32


def test_weights_inside_and_in_another_file_load_to_the_same_values() -> None:
    model, weights = make_model()
    shared, content = externalize_weights({"net": model}, "weights.safetensors")
    inside = load_model(model.SerializeToString(), {}, "net").values()
    outside = load_model(shared["net"].SerializeToString(), {"weights.safetensors": content}, "net").values()
    assert set(inside) == set(outside) == {*weights, "one"}
    for name, value in weights.items():
        np.testing.assert_array_equal(inside[name], value)
        np.testing.assert_array_equal(outside[name], value)


def test_weights_of_another_file_are_not_copied() -> None:
    model, _ = make_model()
    shared, content = externalize_weights({"net": model}, "w")
    model = load_model(shared["net"].SerializeToString(), {"w": content}, "net")
    file = np.frombuffer(content, np.uint8)
    assert model.weights
    assert all(np.shares_memory(value, file) for name, value in model.weights.items() if value.nbytes >= LARGE)


def test_a_model_with_external_data_computes_what_the_model_does() -> None:
    model, _ = make_model()
    x, ids = inputs()
    external = load_model(model.SerializeToString(), {}, "net")
    assert all(not weight.raw_data for weight in external.proto.graph.initializer if weight.name in external.weights)
    (found,) = run_model(external, {"x": x.numpy(), "ids": ids.numpy()}, ["y"])
    expected = run(model, x, ids).numpy()
    np.testing.assert_allclose(found, expected, atol=ENGINE_FLOAT32 * np.abs(expected).max())


def test_putting_a_weight_replaces_it() -> None:
    model = ExternalDataModel(helper.make_model(helper.make_graph([], "g", [], [])), {})
    for size in (4, LARGE, 4, LARGE // 4 - 1):
        value = np.arange(size, dtype=np.float32)
        model.put("w", value)
        assert [weight.name for weight in model.proto.graph.initializer] == ["w"]
        np.testing.assert_array_equal(model.values()["w"], value)
        assert model.nbytes == (value.nbytes if value.nbytes >= LARGE else 0)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"location": "../secret", "offset": "0", "length": "24"}, r"'w' lies in the file '\.\./secret', which the bu"),
        ({"location": "w", "offset": "80", "length": "24"}, "expected 24 bytes within the 100 of 'w', got 24 at 80"),
        ({"location": "w", "offset": "-8", "length": "24"}, "got 24 at -8"),
        ({"location": "w", "offset": "0", "length": "20"}, "got 20 at 0"),
        ({"location": "w", "offset": "x", "length": "24"}, "expected numbers, got 'x' and '24'"),
        ({}, "lies in the file ''"),
    ],
)
def test_a_weight_that_lies_elsewhere_is_named(entries: dict[str, str], words: str) -> None:
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2, 3], data_location=TensorProto.EXTERNAL)
    for key, value in entries.items():
        weight.external_data.add(key=key, value=value)
    node = helper.make_node("Identity", ["w"], ["y"])
    graph = helper.make_graph([node], "g", [], [helper.make_tensor_value_info("y", 1, [2, 3])], [weight])
    with pytest.raises(UserError, match=words) as error:
        load_model(helper.make_model(graph).SerializeToString(), {"w": bytes(100)}, "engine 'g'")
    assert str(error.value).startswith("engine 'g': weight 'w'")


@pytest.mark.parametrize("content", [b"", b"not an onnx file", b"\x08\x0a" * 50])
def test_what_is_no_model_is_refused(content: bytes) -> None:
    with pytest.raises(UserError, match="engine 'g': expected an ONNX model"):
        load_model(content, {}, "engine 'g'")


def test_bfloat16_weights_load(tmp_path) -> None:
    weight = helper.make_tensor("w", TensorProto.BFLOAT16, [2], [1.0, 2.5])
    node = helper.make_node("Cast", ["w"], ["y"], to=TensorProto.FLOAT)
    graph = helper.make_graph([node], "g", [], [helper.make_tensor_value_info("y", 1, [2])], [weight])
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)]).SerializeToString()
    model = load_model(content, {}, "g")
    assert model.values()["w"].astype(np.float32).tolist() == [1.0, 2.5]
    onnx.checker.check_model(model.proto)
