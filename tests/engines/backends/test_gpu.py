"""Engines on a real GPU: values, order without waiting, CUDA graphs. Skipped where there is none."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from runtime.engines.bundle import DiffusionBundle
from runtime.engines.protocols import BindableEngine
from tests.bundles import make_tiny_bundle
from tests.tolerance import ENGINE_FLOAT32

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("whole_factors")]

BACKENDS = ["ort", pytest.param("tensorrt", marks=pytest.mark.tensorrt), "torch"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture(scope="module")
def load(folder: Path) -> Callable[[str], DiffusionBundle]:
    """Gives the tiny bundle on the GPU under a backend, with plans built for this GPU where they are needed."""

    def load(backend: str) -> DiffusionBundle:
        if backend == "ort":
            import onnxruntime

            if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
                pytest.skip("needs ONNX Runtime with CUDA")
        if backend == "tensorrt":
            from export.plans import build_plans, check_targets, select_graphs
            from runtime.engines.backends.editions import buildable, capability_of, installed_editions
            from runtime.engines.precision import Compute

            if not any(capability_of() in buildable(name) for name in installed_editions()):
                pytest.skip(f"the TensorRT that is installed builds nothing for {capability_of()}")
            graphs, targets = select_graphs(DiffusionBundle.load(folder)), check_targets(capability_of())
            build_plans(graphs, targets, Compute.MODEL, lambda line: None)
        return DiffusionBundle.load(folder, device="cuda", backend=backend)

    return load


@pytest.fixture
def sleeping() -> Iterator[Callable[[], None]]:
    """Keeps the GPU busy for some milliseconds, so that what is not ordered after it comes too early."""
    yield lambda: torch.cuda._sleep(50_000_000)  # pyright: ignore
    torch.cuda.synchronize()


def engine_and_inputs(bundle: DiffusionBundle, backend: str) -> tuple[BindableEngine, tuple[Tensor, ...]]:
    """Return the latent encoder, the one network of the tiny bundle that PyTorch has too."""
    assert backend in {choice.backend for choice in bundle.choices().values()}
    return bundle.engine("latent_encoder"), (torch.rand(2, 3, 128, 128, device="cuda"),)


@pytest.mark.parametrize("backend", BACKENDS)
def test_values_are_those_of_the_processor(load: Callable[[str], DiffusionBundle], folder: Path, backend: str) -> None:
    engine, inputs = engine_and_inputs(load(backend), backend)
    expected = DiffusionBundle.load(folder).engine("latent_encoder")(*(tensor.cpu() for tensor in inputs))[0]
    for place in ("cuda", "cpu"):
        (value,) = engine(*(tensor.to(place) for tensor in inputs))
        assert value.device.type == place
        torch.testing.assert_close(value.cpu(), expected, atol=20 * ENGINE_FLOAT32, rtol=0)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("side", [False, True], ids=["default-stream", "side-stream"])
def test_a_call_comes_after_what_made_its_inputs_and_before_what_reads_its_outputs(
    load: Callable[[str], DiffusionBundle], backend: str, side: bool, sleeping: Callable[[], None]
) -> None:
    engine, (images,) = engine_and_inputs(load(backend), backend)
    expected = engine(images)[0].clone()
    with torch.cuda.stream(torch.cuda.Stream() if side else torch.cuda.current_stream()):
        late = torch.zeros_like(images)
        sleeping()
        late.copy_(images)
        (value,) = engine(late)
        late.zero_()  # would spoil a call that runs after it
        found = value.clone()
    torch.cuda.synchronize()
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_call_does_not_wait_for_the_gpu(
    load: Callable[[str], DiffusionBundle], backend: str, sleeping: Callable[[], None]
) -> None:
    engine, inputs = engine_and_inputs(load(backend), backend)
    for _ in range(3):
        engine(*inputs)
    torch.cuda.synchronize()
    sleeping()
    engine(*inputs)
    done = torch.cuda.Event()
    done.record()
    assert not done.query()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_binding_follows_its_tensors(load: Callable[[str], DiffusionBundle], backend: str) -> None:
    engine, (images,) = engine_and_inputs(load(backend), backend)
    latents = torch.empty(2, 4, 16, 16, device="cuda")
    run = engine.bind((images,), (latents,))
    for _ in range(4):  # plain, captured, replayed, replayed
        images.copy_(torch.rand_like(images))
        run()
        torch.testing.assert_close(latents, engine(images)[0])


@pytest.mark.parametrize("backend", [pytest.param("tensorrt", marks=pytest.mark.tensorrt), "torch"])
def test_a_binding_becomes_part_of_a_graph_that_is_captured_around_it(
    load: Callable[[str], DiffusionBundle], backend: str
) -> None:
    engine, (images,) = engine_and_inputs(load(backend), backend)
    latents, twice = torch.empty(2, 4, 16, 16, device="cuda"), torch.empty(2, 4, 16, 16, device="cuda")
    run = engine.bind((images,), (latents,))
    run()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
        torch.mul(latents, 2.0, out=twice)
    images.copy_(torch.rand_like(images))
    graph.replay()
    torch.testing.assert_close(twice, 2.0 * engine(images)[0])


@pytest.mark.tensorrt
def test_a_plan_that_is_missing_names_the_command(tmp_path: Path) -> None:
    bundle = DiffusionBundle.load(make_tiny_bundle(tmp_path / "tiny"), device="cuda", backend="tensorrt")
    with pytest.raises(ValueError, match=r"has no TensorRT plan for sm.*python -m export build BUNDLE --target sm"):
        bundle.denoiser()
