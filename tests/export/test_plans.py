import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from export import plans as module
from export.__main__ import main
from export.commands.build import Build, run_build
from export.graph.external_data import ExternalDataModel, load_model
from export.plans import (
    FLOAT32_ROLES,
    build_plan,
    build_plans,
    check_targets,
    compute_of,
    load_graph,
    select_graphs,
)
from runtime.engines.backends import editions
from runtime.engines.backends.editions import buildable, installed_editions
from runtime.engines.backends.graphs import GRADIENT, Graph, graph_of
from runtime.engines.backends.plans import PlanKey, list_plans, read_plan
from runtime.engines.bundle import INSTALLED, Bundle
from runtime.engines.precision import Compute
from runtime.engines.spec import EngineSpec, TensorSpec
from runtime.errors import UserError
from tests.bundles import make_tiny_bundle
from tests.export.conftest import make_bundle

CAPABILITIES = ("sm80", "sm86", "sm89", "sm120")
"""A100, RTX 30, RTX 40 and RTX 50: those of the issue's users that TensorRT-RTX builds for."""

KEY = PlanKey(
    network="net", source="0" * 64, edition="tensorrt_rtx", version="1.0", capability="sm89", precision=Compute.MODEL
)
rtx = pytest.mark.tensorrt


@pytest.fixture(scope="module")
def tiny(tiny_folder: Path) -> Bundle:
    return Bundle.load(tiny_folder)


@pytest.fixture
def only_rtx() -> None:
    if "tensorrt_rtx" not in installed_editions():
        pytest.skip("needs TensorRT-RTX, which builds without a GPU")


def build(graph: Graph, capabilities: tuple[str, ...], compute: Compute = Compute.MODEL) -> list[int]:
    """Return the sizes of a graph's plans, which are checked to hold its weights and thrown away."""
    made = compute_of(graph, compute)
    model, sizes = load_graph(graph, made), []
    for capability in capabilities:
        plan = memoryview(build_plan(model, graph.spec, graph.key("tensorrt_rtx", "1", capability, made)))
        assert len(plan) > model.nbytes
        sizes.append(len(plan))
    return sizes


def roles_of(folder: Path) -> list[str]:
    return list(Bundle.load(folder).specs)


@rtx
@pytest.mark.parametrize("role", roles_of(INSTALLED / "icons"))
def test_every_graph_of_icons_builds_for_every_capability(only_rtx: None, role: str) -> None:
    for graph in select_graphs(Bundle.load("icons"), [role]):
        sizes = build(graph, CAPABILITIES)
        assert max(sizes) < 1.1 * min(sizes)


@rtx
@pytest.mark.parametrize("role", [pytest.param("denoiser", marks=pytest.mark.slow), "text_embedder"])
def test_a_cast_graph_of_icons_builds_to_a_smaller_plan(only_rtx: None, role: str) -> None:
    graph = graph_of(Bundle.load("icons"), role)
    plain = build(graph, ("sm89",))[0]
    for compute in (Compute.FP16, Compute.BF16):
        assert build(graph, ("sm89",), compute)[0] < 0.75 * plain


@rtx
@pytest.mark.parametrize("role", ["prefill", "step"])
@pytest.mark.parametrize("compute", [Compute.MODEL, Compute.FP16])
def test_the_networks_that_draw_digits_build(only_rtx: None, role: str, compute: Compute) -> None:
    for graph in select_graphs(Bundle.load("mnist"), [role]):
        assert build(graph, ("sm89",), compute)


@rtx
@pytest.mark.parametrize(
    "role",
    [
        "text_encoder",
        pytest.param("denoiser", marks=pytest.mark.slow),
        pytest.param("latent_encoder", marks=pytest.mark.slow),
        "latent_decoder",
        "image_embedder",
        "text_embedder",
    ],
)
def test_every_graph_of_small_twins_of_sd_and_clip_builds(only_rtx: None, sd_folder: Path, role: str) -> None:
    for graph in select_graphs(Bundle.load(sd_folder), [role]):
        assert build(graph, CAPABILITIES)


@rtx
@pytest.mark.slow
@pytest.mark.parametrize("family", ["tiny-sd21", "tiny-sdxl"])
def test_every_graph_of_small_twins_of_other_families_builds(only_rtx: None, tmp_path: Path, family: str) -> None:
    for graph in select_graphs(Bundle.load(make_bundle(tmp_path / family, family))):
        assert build(graph, ("sm89",))


@rtx
@pytest.mark.slow
def test_the_true_size_unet_and_latent_encoder_build(only_rtx: None, tmp_path: Path) -> None:
    from export.commands.sd import Sd, run_sd

    run_sd(Sd(weights="random:sd15", out=tmp_path / "sd15"))
    bundle = Bundle.load(tmp_path / "sd15")
    parameters = {"denoiser": 859_520_964, "latent_encoder": 34_163_664}
    for role, count in parameters.items():
        for graph in select_graphs(bundle, [role]):
            (size,) = build(graph, ("sm89",))
            assert size > count * (2 if role == "denoiser" else 4)


@rtx
def test_a_build_goes_on_where_it_stopped_and_mends_what_is_damaged(only_rtx: None, tmp_path: Path) -> None:
    folder = make_tiny_bundle(tmp_path / "tiny")
    graphs = select_graphs(Bundle.load(folder), ["text_embedder", "latent_decoder"])
    told: list[str] = []
    first = build_plans(graphs, check_targets("sm80, SM_89"), Compute.MODEL, told.append)
    assert [key.capability for key, _ in first] == ["sm80", "sm89"] * 2
    assert all("built in" in line for line in told)
    kept, damaged = first[0], first[1]
    before = kept[1].stat().st_mtime_ns
    damaged[1].write_bytes(damaged[1].read_bytes()[:-1])
    told.clear()
    again = build_plans(graphs, check_targets("sm80,sm89"), Compute.MODEL, told.append)
    assert again == first
    assert kept[1].stat().st_mtime_ns == before
    assert sum(": kept, " in line for line in told) == 3
    assert any("built anew: plan " in line and "is truncated" in line for line in told)
    for key, path in again:
        assert path.parent.name == "plans"
        assert read_plan(path.parent, key)


@rtx
def test_a_plan_of_an_older_model_is_removed(only_rtx: None, tmp_path: Path) -> None:
    folders = [make_tiny_bundle(tmp_path / name, name="tiny", seed=seed) for seed, name in enumerate(("old", "new"))]
    targets = check_targets("sm89")
    graphs = [graph_of(Bundle.load(folder), "text_embedder") for folder in folders]
    ((old, _),) = build_plans(graphs[:1], targets, Compute.MODEL, lambda line: None)
    shutil.copytree(graphs[0].plans, graphs[1].plans)
    told: list[str] = []
    ((new, _),) = build_plans(graphs[1:], targets, Compute.MODEL, told.append)
    assert [plan.key for plan in list_plans(graphs[1].plans)] == [new]
    assert told[-1].endswith(f"removed {old.stem}.plan, which was built of another model")


@rtx
def test_every_operator_of_the_tiny_bundle_builds(only_rtx: None, tiny: Bundle) -> None:
    for graph in select_graphs(tiny):
        build(graph, ("sm120",))


@rtx
def test_a_graph_with_a_gradient_is_built_in_the_models_own_precision(tiny: Bundle) -> None:
    graph = graph_of(tiny, "latent_decoder")
    assert compute_of(graph, Compute.FP16) is Compute.FP16
    assert compute_of(replace(graph, file=GRADIENT), Compute.FP16) is Compute.MODEL
    assert compute_of(replace(graph, file=GRADIENT), Compute.TF32) is Compute.TF32
    for role in FLOAT32_ROLES:
        assert compute_of(replace(graph, role=role), Compute.BF16) is Compute.MODEL


def net(kind: str, shape: list[int | str], **attributes: object) -> tuple[ExternalDataModel, EngineSpec]:
    """Return a model of one operator."""
    info = helper.make_tensor_value_info
    node = helper.make_node(kind, ["x"], ["y"], name="only", **attributes)
    graph = helper.make_graph([node], "net", [info("x", 1, shape)], [info("y", 1, shape)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    tensors = [TensorSpec(name, tuple(shape), "float32") for name in "xy"]
    ranges = {size: (1, 2, 8) for size in shape if isinstance(size, str)}
    return load_model(model.SerializeToString(), {}, "net"), EngineSpec("net", (tensors[0],), (tensors[1],), ranges)


@rtx
def test_an_operator_that_tensorrt_has_not_is_named(only_rtx: None) -> None:
    with pytest.raises(
        UserError, match=r"plan of net for sm89 .*cannot read the model: it does not support Det"
    ) as error:
        build_plan(*net("Det", ["B", 3, 3]), KEY)
    assert "1 nodes, the first 'only'" in str(error.value)


@rtx
def test_a_weight_that_is_not_handed_over_is_an_error_and_no_file_is_opened(only_rtx: None, tmp_path: Path) -> None:
    model, spec = net("Relu", ["B", 512])
    model.put("w", np.ones((512,), np.float32))
    model.proto.graph.node[0].CopyFrom(helper.make_node("Add", ["x", "w"], ["y"]))
    assert build_plan(model, spec, KEY)
    model.weights.clear()
    with pytest.raises(UserError, match="cannot read the model"):
        build_plan(model, spec, KEY)


@rtx
def test_a_shape_that_cannot_be_built_is_told(only_rtx: None) -> None:
    model, spec = net("Relu", ["B", 2**30])
    with pytest.raises(UserError, match="TensorRT-RTX cannot build the network: "):
        build_plan(model, replace(spec, ranges={"B": (1, 2**20, 2**30)}), KEY)


@rtx
def test_targets(only_rtx: None) -> None:
    assert check_targets("sm89,SM80,sm89") == {"sm89": "tensorrt_rtx", "sm80": "tensorrt_rtx"}
    assert set(CAPABILITIES) <= set(buildable("tensorrt_rtx"))


@rtx
@pytest.mark.parametrize("target", ["sm90", "SM_90", "sm80,sm90"])
def test_a_capability_that_tensorrt_rtx_lacks_names_those_it_has_and_the_remedy(only_rtx: None, target: str) -> None:
    if "tensorrt" in installed_editions():
        pytest.skip("full TensorRT may build for it")
    with pytest.raises(UserError, match=r"--target sm90 \(H100, H200\): .*sm80, sm86, sm89, sm120.*full TensorRT"):
        check_targets(target)


@rtx
@pytest.mark.parametrize("target", ["", "ada", "sm", "89", "sm80;sm89", "current", "none"])
def test_a_target_that_is_none_is_refused(only_rtx: None, target: str) -> None:
    with pytest.raises(
        UserError, match="expected compute capabilities such as sm89, separated by commas; TensorRT-RTX"
    ):
        check_targets(target)


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("tensorrt", "tensorrt_bindings", "tensorrt_rtx", "tensorrt_rtx_bindings"):
        monkeypatch.setitem(sys.modules, name, None)
    editions.load_edition.cache_clear()
    yield
    editions.load_edition.cache_clear()


def test_without_tensorrt_the_command_names_the_extra(nothing_installed: None, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r'is not installed here; .*pip install -e ".*\[tensorrt\]"'):
        run_build(Build(bundle=str(tmp_path), target="sm89"))


@rtx
def test_the_command_prints_what_it_built(
    only_rtx: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_tiny_bundle(tmp_path / "tiny")
    options = Build(bundle=str(folder), target="sm86", precision="fp16", roles="text_embedder, latent_encoder")
    assert run_build(options) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("text_embedder for sm86 in fp16 (tensorrt_rtx ")
    assert lines[1].startswith("latent_encoder for sm86 in model (tensorrt_rtx ")
    assert lines[2].startswith("2 plans of bundle tiny, ")
    with pytest.raises(UserError, match=r"--roles: expected some of text_encoder, .*, got 'vae'"):
        run_build(replace(options, roles="vae"))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UserError, match="--target: PyTorch sees no NVIDIA GPU here, so name compute capabilities"):
        run_build(replace(options, target=""))


@rtx
def test_too_little_room_is_told_before_the_build(
    only_rtx: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = graph_of(Bundle.load(make_tiny_bundle(tmp_path / "tiny")), "denoiser")
    monkeypatch.setattr(module.shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(100, 90, 10))  # pyright: ignore
    with pytest.raises(UserError, match=r"plan of denoiser .*: expected 64 MiB free in '.*', got 0; make room"):
        build_plans([graph], check_targets("sm89"), Compute.MODEL, lambda line: None)
    assert list(graph.plans.iterdir()) == []


@rtx
def test_a_folder_that_cannot_be_written_is_told(only_rtx: None, tmp_path: Path) -> None:
    graph = graph_of(Bundle.load(make_tiny_bundle(tmp_path / "tiny")), "text_embedder")
    graph.plans.write_text("a file in the place of the folder")
    with pytest.raises(UserError, match=r"plans' cannot be written: .*; copy the bundle to a folder of yours"):
        build_plans([graph], check_targets("sm89"), Compute.MODEL, lambda line: None)


@rtx
def test_ctrl_c_ends_a_build_and_leaves_nothing(
    only_rtx: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    graph = graph_of(Bundle.load(make_tiny_bundle(tmp_path / "tiny")), "latent_encoder")
    monkeypatch.setattr(module.time, "sleep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build_plans([graph], check_targets("sm89"), Compute.MODEL, lambda line: None)
    assert list(graph.plans.iterdir()) == []


def test_an_unknown_precision_is_refused(tiny: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["build", str(tiny.folder), "--precision", "int4"])
    printed = " ".join(capsys.readouterr().err.split())
    assert "invalid choice 'int4' for argument '--precision'" in printed
    assert "'model', 'tf32', 'fp16', 'bf16'" in printed


def test_weights_that_no_builder_could_take_are_a_user_error(tiny: Bundle) -> None:
    info = helper.make_tensor_value_info
    codes = helper.make_tensor("codes", TensorProto.INT8, [3], [1, 2, 3])
    node = helper.make_node("Add", ["x", "codes"], ["y"])
    graph = helper.make_graph([node], "net", [info("x", 3, [3])], [info("y", 3, [3])], [codes])
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)]).SerializeToString()

    class Edited(Graph):
        def read(self) -> tuple[bytes, dict[str, bytes]]:
            return content, {}

    known = graph_of(tiny, "denoiser")
    with pytest.raises(UserError, match="engine 'denoiser' cannot be made ready for TensorRT: net: weights of bytes"):
        load_graph(Edited(known.bundle, known.role, known.spec), Compute.MODEL)
