import os
import threading

import numpy as np
import pytest
import torch
from onnx import TensorProto

from runtime.engines.backends.graphs import graph_of
from runtime.engines.backends.ort import OrtEngine
from runtime.engines.bundle import DiffusionBundle
from runtime.engines.spec import EngineSpec, TensorSpec
from runtime.errors import UserError
from tests.bundles import Graph, make_denoiser, make_latent_encoder_module
from tests.tolerance import ENGINE_FLOAT32

PAIR = EngineSpec(
    "unet",
    (TensorSpec("z", ("B", 4, 16, 16), "float16"), TensorSpec("t", ("B",), "int64")),
    (TensorSpec("sum", ("B", 4, 16, 16), "float16"), TensorSpec("twice", ("B",), "int64")),
    {"B": (1, 2, 8)},
)


@pytest.fixture(scope="module")
def pair() -> OrtEngine:
    """Gives z + t and 2 t, in float16 and int64."""
    g = Graph(0)
    t = g.op("Unsqueeze", g.op("Cast", "t", to=TensorProto.FLOAT16), g.constant([1, 2, 3], np.int64))
    model = g.model(PAIR, g.op("Add", "z", t), g.op("Add", "t", "t"))
    return OrtEngine(PAIR, model, threads=1)


def half(*shape: int) -> torch.Tensor:
    return torch.arange(torch.Size(shape).numel(), dtype=torch.float16).reshape(shape) / 64


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_values_are_exact_for_every_batch_and_type(pair: OrtEngine, batch: int) -> None:
    z, t = half(batch, 4, 16, 16), torch.arange(batch)
    total, twice = pair(z, t)
    assert torch.equal(total, z + t.half()[:, None, None, None])
    assert torch.equal(twice, 2 * t)


def test_onnx_runtime_is_asked_to_report_to_nobody() -> None:
    assert os.environ["ORT_DISABLE_TELEMETRY"]


def test_outputs_are_fresh_and_inputs_untouched(pair: OrtEngine) -> None:
    z, t = half(2, 4, 16, 16), torch.tensor([1, 2])
    before = z.clone()
    first, second = pair(z, t)[0], pair(z, t)[0]
    assert first.data_ptr() != second.data_ptr()
    kept = first.clone()
    second.zero_()
    assert torch.equal(first, kept)
    assert torch.equal(z, before)


def test_strided_and_channels_last_inputs_give_the_same(pair: OrtEngine) -> None:
    z, t = half(2, 4, 16, 16), torch.arange(8)[::4]
    wide = torch.zeros(2, 4, 16, 32, dtype=torch.float16)
    wide[..., ::2] = z
    for view in (wide[..., ::2], z.to(memory_format=torch.channels_last)):
        assert torch.equal(pair(view, t)[0], pair(z, t.clone())[0])


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (
            (half(1, 4, 16, 16).float(), torch.arange(2)),
            "engine 'unet' input 'z': expected (2, 4, 16, 16) float16, got (1, 4, 16, 16) float32",
        ),
        ((half(2, 4, 16, 16), torch.arange(1)), "engine 'unet' input 't': expected (2,) int64, got (1,) int64"),
        (
            (half(2, 4, 16, 8), torch.arange(2)),
            "engine 'unet' input 'z': expected (2, 4, 16, 16) float16, got (2, 4, 16, 8) float16",
        ),
        (
            (half(4, 16, 16), torch.arange(2)),
            "engine 'unet' input 'z': expected (2, 4, 16, 16) float16, got (4, 16, 16) float16",
        ),
        ((half(2, 4, 16, 16),), "engine 'unet': expected 2 inputs (z, t), got 1"),
        ((half(9, 4, 16, 16), torch.arange(9)), "engine 'unet' dimension 'B': expected 1 to 8, got 9"),
        ((half(0, 4, 16, 16), torch.arange(0)), "engine 'unet' dimension 'B': expected 1 to 8, got 0"),
    ],
)
def test_what_does_not_fit_is_named(pair: OrtEngine, inputs: tuple[torch.Tensor, ...], message: str) -> None:
    with pytest.raises(ValueError, match="engine") as error:
        pair(*inputs)
    assert str(error.value) == message


def test_an_input_that_requires_a_gradient_is_refused_with_the_reason(tiny: DiffusionBundle) -> None:
    engine = tiny.engine("latent_encoder")
    images = torch.rand(1, 3, 128, 128, requires_grad=True)
    with pytest.raises(ValueError, match="input 'images' requires a gradient, but this engine runs forward only") as e:
        engine(images)
    for remedy in ("detach", "PyTorch provider", "autograd.differentiable"):
        assert remedy in str(e.value)
    with torch.no_grad():
        silent = engine(images)[0]
    assert torch.equal(silent, engine(images.detach())[0])
    assert not silent.requires_grad


@pytest.mark.parametrize("batch", [1, 3])
def test_the_latent_encoder_is_its_pytorch_module(tiny: DiffusionBundle, batch: int) -> None:
    images = torch.rand(batch, 3, 128, 128, generator=torch.Generator().manual_seed(batch))
    expected = make_latent_encoder_module(0)(images)
    torch.testing.assert_close(
        tiny.engine("latent_encoder")(images)[0], expected, atol=ENGINE_FLOAT32, rtol=ENGINE_FLOAT32
    )


def test_the_same_bits_from_run_to_run_session_to_session_and_thread_to_thread(tiny: DiffusionBundle) -> None:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(4, 4, 16, 16, generator=generator)
    context = torch.randn(4, 17, 384, generator=generator)
    t = torch.tensor([1, 50, 500, 999])
    spec, model = tiny.specs["denoiser"], make_denoiser(0)
    first = tiny.engine("denoiser")(z, t, context)[0]
    for engine in [tiny.engine("denoiser"), *(OrtEngine(spec, model, threads=n) for n in (1, 2))]:
        for _ in range(3):
            assert torch.equal(engine(z, t, context)[0], first)


def test_calls_from_several_threads_do_not_mix(pair: OrtEngine) -> None:
    wrong = []

    def work(value: int) -> None:
        z, t = half(2, 4, 16, 16) * 0 + value, torch.tensor([value, value])
        wrong.extend(i for i in range(50) if not (pair(z, t)[0] == 2 * value).all())

    workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (TensorSpec("x", ("B", 4, 16, 16), "float16"), r"disagree on inputs: expected \['t', 'x'\], got \['t', 'z'\]"),
        (TensorSpec("z", ("B", 4, 16, 16), "float32"), r"disagree on 'z': expected \(B, 4, 16, 16\) float32, got"),
        (TensorSpec("z", ("B", 5, 16, 16), "float16"), r"disagree on 'z': expected \(B, 5, 16, 16\) float16, got"),
        (TensorSpec("z", ("B", 4, 16), "float16"), r"disagree on 'z': expected \(B, 4, 16\) float16, got"),
    ],
)
def test_a_model_that_disagrees_with_its_spec_is_refused(tensor: TensorSpec, words: str) -> None:
    model = Graph(0).model(PAIR, "z", "t")
    spec = EngineSpec("unet", (tensor, PAIR.inputs[1]), PAIR.outputs, PAIR.ranges)
    with pytest.raises(UserError, match=words):
        OrtEngine(spec, model)


def test_bfloat16_that_this_device_lacks_is_told_with_the_remedy() -> None:
    spec = EngineSpec("unet", (TensorSpec("z", (1, 4, 8, 8), "float32"),), (TensorSpec("y", (1, 2, 8, 8), "float32"),))
    g = Graph(0)
    weight = g.op("Cast", g.draw(2, 4, 1, 1, scale=1.0), to=TensorProto.BFLOAT16)
    product = g.op("Conv", g.op("Cast", "z", to=TensorProto.BFLOAT16), weight)
    model = g.model(spec, g.op("Cast", product, to=TensorProto.FLOAT))
    with pytest.raises(UserError, match=r"bfloat16.*; export it with --precision float16, or run it on TensorRT"):
        OrtEngine(spec, model)


@pytest.mark.parametrize("model", [b"", b"not an onnx file", b"\x08\x0a" * 50])
def test_a_model_that_is_none_is_refused(model: bytes) -> None:
    with pytest.raises(UserError, match="engine 'unet': ONNX Runtime cannot load its model"):
        OrtEngine(PAIR, model)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is there")
def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(UserError, match=r"device 'cuda': expected a CUDA device .* got none; use --device cpu"):
        OrtEngine(PAIR, b"", device="cuda")
    assert OrtEngine(PAIR, Graph(0).model(PAIR, "z", "t"), device="auto").device.type == "cpu"


def test_a_graph_as_it_is_written_gives_the_same_values(tiny: DiffusionBundle) -> None:
    graph = graph_of(tiny, "text_encoder")
    assert graph.as_written and not graph_of(tiny, "denoiser").as_written
    ids, mask = torch.tensor([[1, 2, 3] + [0] * 13]), torch.tensor([[1] * 3 + [0] * 13])
    model = graph.read()[0]
    plain, optimized = (OrtEngine(graph.spec, model, threads=1, as_written=way)(ids, mask)[0] for way in (True, False))
    torch.testing.assert_close(plain, optimized, atol=ENGINE_FLOAT32, rtol=ENGINE_FLOAT32)
