from pathlib import Path

import pytest

from runtime.engines.backends.graphs import graphs_of
from runtime.engines.bundle import Bundle
from runtime.engines.spec import EngineSpec, FileSpec, TensorSpec
from runtime.errors import UserError
from serving.triton.configs import (
    Placement,
    batch_of,
    describe,
    from_text,
    method_config,
    network_config,
    spec_of,
    to_text,
)
from tests.bundles import make_tiny_bundle


def specs(folder: Path) -> list[EngineSpec]:
    bundles = [Bundle.load("icons"), Bundle.load("mnist"), Bundle.load(make_tiny_bundle(folder / "tiny"))]
    return [graph.spec for bundle in bundles for role in bundle.specs for graph in graphs_of(bundle, role)]


@pytest.mark.parametrize("platform", ["onnxruntime", "tensorrt_plan"])
def test_a_configuration_gives_back_its_spec(tmp_path: Path, platform: str) -> None:
    checked = specs(tmp_path)
    assert len(checked) >= 14
    for spec in checked:
        plans = (("8.6", "sm86.plan"), ("8.9", "sm89.plan")) if platform == "tensorrt_plan" else ()
        config = network_config("model", spec, Placement(platform, plans, 7))
        text = to_text(config)
        again = from_text(text, "config.pbtxt")
        assert again == config and spec_of(again) == spec, spec.name
        assert again.max_batch_size == (spec.ranges["B"][2] if batch_of(spec) else 0)
        assert dict(again.cc_model_filenames) == dict(plans)
        assert list(again.version_policy.specific.versions) == [7]
        assert again.HasField("dynamic_batching") == bool(batch_of(spec))
        assert len(again.model_warmup[0].inputs) == len(spec.inputs)


def test_sizes_and_types_by_hand() -> None:
    spec = EngineSpec(
        "net",
        (TensorSpec("x", ("B", 3, "H"), "float16"), TensorSpec("t", ("B",), "int64")),
        (TensorSpec("y", ("B", "H"), "bool"),),
        {"B": (1, 2, 8), "H": (4, 16, 64)},
        {"model.onnx": FileSpec(10, "a" * 64)},
    )
    config = network_config("net", spec, Placement())
    assert config.max_batch_size == 8 and config.backend == "onnxruntime"
    assert list(config.input[0].dims) == [3, -1] and list(config.input[1].dims) == [1]
    assert list(config.input[1].reshape.shape) == [] and config.input[1].HasField("reshape")
    assert describe(config) == "net (onnxruntime): x [3, -1], t [1]"
    assert spec_of(from_text(to_text(config), "")) == spec
    warm = config.model_warmup[0].inputs
    assert list(warm["x"].dims) == [3, 16] and warm["x"].random_data and warm["t"].zero_data


def test_a_batch_needs_a_dimension_that_all_share_and_that_may_be_one() -> None:
    def spec(*shapes: tuple[int | str, ...], low: int = 1) -> EngineSpec:
        tensors = [TensorSpec(f"t{n}", shape, "float32") for n, shape in enumerate(shapes)]
        return EngineSpec("n", tuple(tensors[:-1]), tuple(tensors[-1:]), {"B": (low, 2, 4), "P": (1, 1, 9)})

    assert batch_of(spec(("B", 2), ("B",))) == "B"
    assert batch_of(spec(("B", 2), (2,), ("B",))) is None
    assert batch_of(spec(("B", 2), ("P", 2))) is None
    assert batch_of(spec(("B", 2), ("B",), low=2)) is None


@pytest.mark.parametrize(
    "text", ["nothing: 3", 'name: "x" max_batch_size: "y"', "input [ { data_type: TYPE_X } ]", "{"]
)
def test_text_that_triton_would_not_take(text: str) -> None:
    with pytest.raises(UserError, match=r"a/config.pbtxt: expected a model configuration"):
        from_text(text, "a/config.pbtxt")


def test_a_configuration_of_something_else() -> None:
    with pytest.raises(UserError, match="without its spec"):
        spec_of(method_config("toy", "tests.serving.toy:METHOD", networks="process"))


def test_a_method_is_decoupled_and_each_copy_is_a_model_of_one_process() -> None:
    config = from_text(to_text(method_config("toy", "a:B", number=3, networks="triton")), "")
    assert config.model_transaction_policy.decoupled and config.instance_group[0].count == 1
    assert (config.name, config.parameters["method"].string_value) == ("toy-3", "toy")
    assert config.parameters["networks"].string_value == "triton" and config.backend == "python"
    assert not config.HasField("dynamic_batching"), "a decoupled model gets none"
