"""ONNX files that would read other files, run loops or call strange operators are refused before they are loaded."""

import random
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from runtime.engines.backends.onnx_check import check_onnx
from runtime.engines.bundle import INSTALLED
from runtime.errors import UserError

MODELS = sorted(INSTALLED.rglob("*.onnx"))


def model_of(*nodes: onnx.NodeProto, weights: list[TensorProto] | None = None) -> onnx.ModelProto:
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("x", "y")]
    return helper.make_model(helper.make_graph(list(nodes), "g", infos[:1], infos[1:], weights or []))


def elsewhere(location: str) -> TensorProto:
    """Return a tensor whose values are in a file."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="offset", value="0")
    tensor.external_data.add(key="location", value=location)
    return tensor


ADD = helper.make_node("Add", ["x", "w"], ["y"])


@pytest.mark.parametrize("path", MODELS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_what_ships_passes_at_once(path: Path) -> None:
    content, start = path.read_bytes(), time.process_time()
    check_onnx(content, "it", ["weights.safetensors", "base.onnx"])
    assert time.process_time() - start < 0.5


@pytest.mark.parametrize("location", ["secret.bin", "../weights.safetensors", "/etc/passwd", ""])
def test_weights_come_from_listed_files_alone(location: str) -> None:
    content = model_of(ADD, weights=[elsewhere(location)]).SerializeToString()
    with pytest.raises(UserError, match=r"it: expected weights in files .*\(weights.safetensors\)"):
        check_onnx(content, "it", ["weights.safetensors"])


def test_a_listed_file_is_taken() -> None:
    content = model_of(ADD, weights=[elsewhere("weights.safetensors")]).SerializeToString()
    check_onnx(content, "it", ["weights.safetensors"])


def test_a_constant_s_tensor_and_a_function_s_nodes_are_looked_at() -> None:
    constant = helper.make_node("Constant", [], ["w"], value=elsewhere("secret.bin"))
    function = model_of(ADD)
    imports = [helper.make_opsetid("", 20)]
    function.functions.append(helper.make_function("com.microsoft", "F", ["x"], ["y"], [constant], imports))
    for model in (model_of(constant, ADD), function):
        with pytest.raises(UserError, match=r"got 'secret\.bin'"):
            check_onnx(model.SerializeToString(), "it", [])


def test_loops_branches_and_strange_domains_are_refused() -> None:
    body = helper.make_graph([], "body", [], [])
    loop = helper.make_node("Loop", ["", "", "x"], ["y"], body=body)
    with pytest.raises(UserError, match="it: expected no loops and branches, got the operator Loop"):
        check_onnx(model_of(loop).SerializeToString(), "it", [])
    strange = helper.make_node("Run", ["x"], ["y"], domain="evil.ops")
    with pytest.raises(UserError, match=r"got .Run. of the domain .evil\.ops."):
        check_onnx(model_of(strange).SerializeToString(), "it", [])


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("operator", ["ConstantOfShape", "Expand", "Tile"])
def test_small_files_that_ask_for_large_tensors_are_refused(operator: str, raw: bool) -> None:
    def shape(*numbers: int) -> TensorProto:
        if raw:
            return numpy_helper.from_array(np.array(numbers, np.int64), "s")
        return helper.make_tensor("s", TensorProto.INT64, [len(numbers)], numbers)

    grow = helper.make_node(operator, ["s"] if operator == "ConstantOfShape" else ["x", "s"], ["c"])
    check_onnx(model_of(grow, weights=[shape(64, 3, 512)]).SerializeToString(), "it", [])
    constant = helper.make_node("Constant", [], ["s"], value=shape(2**20, 2**20, 2))
    for model in (model_of(grow, weights=[shape(2**60)]), model_of(constant, grow)):
        with pytest.raises(UserError, match=f"it: expected tensors of at most .* got {operator} to"):
            check_onnx(model.SerializeToString(), "it", [])


def test_any_bytes_are_taken_or_refused_in_words() -> None:
    """Cut and changed files: whatever the bytes are, nothing but a `UserError` is raised."""
    content, rng = MODELS[0].read_bytes()[:4000], random.Random(0)
    for _ in range(2000):
        changed = bytearray(content[: rng.randrange(len(content))])
        for _ in range(rng.randrange(4)):
            if changed:
                changed[rng.randrange(len(changed))] = rng.randrange(256)
        try:
            check_onnx(bytes(changed), "it", [])
        except UserError as error:
            assert str(error).startswith("it: expected")
