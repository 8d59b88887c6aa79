from dataclasses import replace
from pathlib import Path

import pytest
import torch

from runtime.command.placement import describe_choices
from runtime.engines.backends import ort, trt_driver
from runtime.engines.backends.choice import available, backend_names, choose, choose_device, make_engine
from runtime.engines.backends.eager import EagerEngine
from runtime.engines.backends.graphs import graph_of
from runtime.engines.backends.ort import OrtEngine
from runtime.engines.backends.plans import write_plan
from runtime.engines.backends.results import write_results
from runtime.engines.backends.table import Choice
from runtime.engines.bundle import DiffusionBundle
from runtime.errors import UserError
from tests.bundles import make_tiny_bundle
from tests.engines.results import ROLE, result
from tests.tolerance import ENGINE_FLOAT32


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TGM_CACHE", str(tmp_path / "cache"))


def chosen(bundle: DiffusionBundle, backend: str = "auto") -> Choice:
    return choose(bundle, graph_of(bundle, ROLE), backend, "cpu")


def test_unverified_networks_run_under_onnx_runtime(tiny: DiffusionBundle) -> None:
    assert chosen(tiny) == Choice("ort", "cpu", "", "not verified on this machine")
    assert {str(choice) for choice in tiny.choices().values()} == {"ort"}


@pytest.mark.parametrize(("ort", "torch_ms", "winner"), [(2.0, 3.0, "ort"), (3.0, 2.0, "torch")])
def test_auto_takes_the_fastest_that_passed_and_says_why(
    tiny: DiffusionBundle, ort: float, torch_ms: float, winner: str
) -> None:
    write_results(tiny.digest, [result("ort", ort), result("torch", torch_ms)])
    choice = chosen(tiny)
    assert choice.backend == winner
    first, second = sorted([(ort, "ort"), (torch_ms, "torch")])
    assert choice.reason == (
        f"the fastest that passed export verify here: {first[1]} {first[0]:.1f} ms, {second[1]} {second[0]:.1f} ms"
    )


def test_one_that_failed_is_left_out_however_fast(tiny: DiffusionBundle) -> None:
    write_results(tiny.digest, [result("ort", 1.0, passed=False), result("torch", 9.0)])
    assert chosen(tiny).backend == "torch"
    write_results(tiny.digest, [result("ort", 1.0, passed=False), result("torch", float("nan"))])
    assert chosen(tiny).backend == "torch"


def test_one_that_was_not_verified_takes_the_place_of_one_that_failed(tiny: DiffusionBundle) -> None:
    write_results(tiny.digest, [result("ort", 1.0, passed=False)])
    assert chosen(tiny) == Choice("torch", "cpu", "", "others failed export verify here")


def test_a_network_whose_every_backend_failed_is_not_used_unless_asked_for(tiny: DiffusionBundle) -> None:
    write_results(tiny.digest, [result(name, 1.0, passed=False, cosine=0.4) for name in ("ort", "torch")])
    with pytest.raises(UserError, match=r"bundle 'tiny' is not used here: latent_encoder .*cosine 0\.4.*--backend"):
        chosen(tiny)
    assert chosen(tiny, "ort").reason == "asked for"
    assert DiffusionBundle.load(tiny.folder, backend="ort").engine(ROLE)
    with pytest.raises(UserError, match="is not used here"):
        DiffusionBundle.load(tiny.folder, backend="auto").choices()


@pytest.mark.parametrize("changes", [{"role": "denoiser"}, {"provider": "gradient"}, {"device": "cuda"}])
def test_results_about_other_things_do_not_count(tiny: DiffusionBundle, changes: dict[str, str]) -> None:
    write_results(tiny.digest, [result("torch", 1.0), result("ort", 0.1, passed=False, **changes)])
    assert chosen(tiny).backend == "torch"


def test_torch_leaves_to_onnx_runtime_what_has_no_pytorch_weights(tiny_folder: Path) -> None:
    bundle = DiffusionBundle.load(tiny_folder, backend="torch")
    choices = bundle.choices()
    assert {name for name, choice in choices.items() if choice.backend == "torch"} == {ROLE}
    assert choices["denoiser"].reason == "the bundle has no PyTorch weights of it"
    assert isinstance(bundle.engine(ROLE), EagerEngine)
    assert isinstance(bundle.engine("denoiser"), OrtEngine)


def test_every_backend_that_runs_here_computes_the_same(tiny: DiffusionBundle) -> None:
    images = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    graph = graph_of(tiny, ROLE)
    names = [choice.backend for choice in available(graph, "cpu")]
    assert names == ["ort", "torch"]
    with torch.no_grad():
        values = [make_engine(graph, Choice(name, "cpu"), threads=1)(images)[0] for name in names]
    torch.testing.assert_close(values[0], values[1], atol=ENGINE_FLOAT32, rtol=0)


def test_what_an_earlier_load_chose_holds_whatever_was_verified_since(tiny: DiffusionBundle) -> None:
    told = {name: str(choice) for name, choice in DiffusionBundle.load(tiny.folder, backend="torch").choices().items()}
    write_results(tiny.digest, [result("torch", 1.0, passed=False)])
    again = DiffusionBundle.load(tiny.folder, backend=told)
    assert {name: str(choice) for name, choice in again.choices().items()} == told
    assert isinstance(again.engine(ROLE), EagerEngine)


@pytest.mark.parametrize("text", ["", "auto", "ort fp64", "magic", "ort ort"])
def test_a_choice_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="backend: expected one of ort, tensorrt, torch, got"):
        Choice.from_text(text, "cpu")


def test_choices_survive_their_text() -> None:
    for choice in (Choice("ort", "cpu"), Choice("tensorrt", "cuda", "fp16"), Choice("torch", "cuda:1")):
        assert replace(Choice.from_text(str(choice), choice.device), reason="") == choice


def test_an_unknown_backend_is_refused(tiny: DiffusionBundle) -> None:
    with pytest.raises(UserError, match=f"--backend: expected one of {', '.join(backend_names())}, got 'onnx'"):
        chosen(tiny, "onnx")


def test_tensorrt_without_a_gpu_names_another(tiny: DiffusionBundle) -> None:
    with pytest.raises(UserError, match=r"--backend tensorrt: expected an NVIDIA GPU.*use --backend ort or torch"):
        chosen(tiny, "tensorrt")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is there")
def test_devices(tiny: DiffusionBundle) -> None:
    assert (choose_device("cpu"), choose_device("auto")) == ("cpu", "cpu")
    for device in ("cuda", "cuda:0"):
        with pytest.raises(UserError, match=f"device '{device}': expected a CUDA device .* got none; use --device cpu"):
            choose_device(device)
    for device in ("gpu", "", "cuda:", "cuda:x", "cpu:0", "cuda:99999"):
        with pytest.raises(UserError, match="device: expected cpu, cuda, cuda:N or auto, got"):
            choose_device(device)


@pytest.fixture
def on_ada(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let backends believe in an Ada GPU, a TensorRT 1.0, and an ONNX Runtime with CUDA."""
    monkeypatch.setattr(trt_driver, "capability_of", lambda device: "sm89")
    monkeypatch.setattr(trt_driver, "installed_editions", lambda: ["tensorrt_rtx"])
    monkeypatch.setattr(trt_driver, "require_edition", lambda name: type("Module", (), {"__version__": "1.0"}))
    monkeypatch.setattr(ort, "has_cuda", lambda: True)


def test_plans_that_fit_the_gpu_are_found(on_ada: None, tmp_path: Path) -> None:
    bundle = DiffusionBundle.load(make_tiny_bundle(tmp_path / "tiny"))
    graph = graph_of(bundle, ROLE)
    for capability, precision in (("sm89", "fp16"), ("sm89", "tf32"), ("sm80", "model")):
        write_plan(graph.plans, graph.key("tensorrt_rtx", "1.0", capability, precision), b"plan")
    write_plan(graph.plans, graph.key("tensorrt_rtx", "0.9", "sm89", "model"), b"plan")
    ready = [str(choice) for choice in available(graph, "cuda")]
    assert ready == ["ort", "tensorrt tf32", "tensorrt fp16", "torch"]
    assert choose(bundle, graph, "tensorrt", "cuda") == Choice("tensorrt", "cuda", "tf32", "asked for")
    write_results(bundle.digest, [result("tensorrt", 1.0, device="cuda", precision="fp16")])
    assert str(choose(bundle, graph, "auto", "cuda")) == "tensorrt fp16"


def test_a_plan_in_the_models_own_precision_is_told_from_a_cast_one(on_ada: None, tmp_path: Path) -> None:
    bundle = DiffusionBundle.load(make_tiny_bundle(tmp_path / "tiny"))
    graph = graph_of(bundle, ROLE)
    for precision in ("model", "fp16"):
        write_plan(graph.plans, graph.key("tensorrt_rtx", "1.0", "sm89", precision), b"plan")
    told = [result("tensorrt", 3.0, device="cuda", precision="int8"), result("tensorrt", 2.0, device="cuda")]
    write_results(bundle.digest, [told[0], replace(told[1], precision="fp16", passed=False)])
    assert str(choose(bundle, graph, "auto", "cuda")) == "tensorrt model"
    write_results(bundle.digest, [replace(told[0], passed=False), replace(told[1], precision="fp16")])
    assert str(choose(bundle, graph, "auto", "cuda")) == "tensorrt fp16"


def test_a_missing_plan_names_those_that_are_there_and_the_command(on_ada: None, tmp_path: Path) -> None:
    bundle = DiffusionBundle.load(make_tiny_bundle(tmp_path / "tiny"))
    graph = graph_of(bundle, ROLE)
    write_plan(graph.plans, graph.key("tensorrt_rtx", "1.0", "sm80", "model"), b"plan")
    words = r"no TensorRT plan for sm89 .* but latent_encoder for sm80 in model .* export build BUNDLE --target sm89"
    with pytest.raises(UserError, match=words):
        choose(bundle, graph, "tensorrt", "cuda")


def test_onnx_runtime_stays_on_the_processor_where_it_has_no_cuda(
    on_ada: None, tiny: DiffusionBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ort, "has_cuda", lambda: False)
    assert choose(tiny, graph_of(tiny, ROLE), "auto", "cuda").backend == "torch"
    assert choose(tiny, graph_of(tiny, "denoiser"), "auto", "cuda").device == "cpu"
    assert choose(tiny, graph_of(tiny, "denoiser"), "torch", "cuda").device == "cpu"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # inside PyTorch's compiler
def test_a_compiled_network_computes_the_same_values_and_gradients(tiny_folder: Path) -> None:
    plain, compiled = (DiffusionBundle.load(tiny_folder, compile=flag).latent_encoder() for flag in (False, True))
    for batch in (1, 2):
        images = torch.rand(batch, 3, 128, 128, requires_grad=True)
        values = [encoder(images) for encoder in (plain, compiled)]
        torch.testing.assert_close(*values, atol=ENGINE_FLOAT32, rtol=0)
        first, second = (torch.autograd.grad(value.square().sum(), images)[0] for value in values)
        torch.testing.assert_close(first, second, atol=ENGINE_FLOAT32 * float(first.abs().max()), rtol=0)


def test_choices_are_told_by_backend() -> None:
    same = Choice("ort", "cpu", reason="not verified on this machine")
    assert describe_choices({"a": same, "b": same}) == ["ort on cpu runs all networks: not verified on this machine"]
    told = describe_choices({"a": same, "b": Choice("tensorrt", "cuda", "fp16", "why"), "c": same})
    assert told == ["ort on cpu runs a, c: not verified on this machine", "tensorrt fp16 on cuda runs b: why"]
