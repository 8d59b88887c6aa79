import statistics
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import benchmarks.step
from benchmarks.floor import best_rate, inputs_of, operations
from benchmarks.step import measure
from benchmarks.step.baseline import PeerScene, PeerStep, PlainEngine, self_intersection_by_loops
from benchmarks.step.measure import Config, Variant, error_of, format_rows, our_variant, summarize, take_turns, variants
from benchmarks.step.networks import peer_networks
from benchmarks.step.parts import PARTS, new_clock
from export.verify.scene import PROMPT, Replaced, scene_gradients
from runtime.command.listing import is_command
from runtime.engines.bundle import DiffusionBundle
from runtime.errors import UserError
from runtime.vector.trace.live import self_intersection_loss
from runtime.vectorfusion import SDS_FROM_SCRATCH
from tests.bundles import SPECS, make_latent_encoder_module
from tests.tolerance import FLOAT32_ROUNDING

DRAWING = replace(SDS_FROM_SCRATCH, prompt=PROMPT, steps=measure.STEPS, paths=6)


@pytest.fixture(scope="module")
def bundle(tiny_folder: Path) -> DiffusionBundle:
    return DiffusionBundle.load(tiny_folder)


@pytest.fixture
def drawing():
    from runtime.vectorfusion.stages import random_start

    return random_start(DRAWING, (128, 128), torch.Generator().manual_seed(3))


# --- the peers' recipe ------------------------------------------------------------------------------------------------


def test_the_loops_compute_our_self_intersection_term(drawing) -> None:
    points = drawing.points + 30 * torch.randn(drawing.points.shape, generator=torch.Generator().manual_seed(0))
    scene = PeerScene.of(replace(drawing, points=points))
    loss = self_intersection_by_loops(scene.points)
    points.requires_grad_()
    expected = self_intersection_loss(points, drawing.layout)
    assert expected > 0.01
    torch.testing.assert_close(loss, expected, atol=FLOAT32_ROUNDING, rtol=FLOAT32_ROUNDING)
    loss.backward()
    expected.backward()
    gradient = torch.cat([part.grad for part in scene.points])
    torch.testing.assert_close(gradient, points.grad[0], atol=FLOAT32_ROUNDING, rtol=1e-4)


def test_taken_apart_and_joined_a_drawing_is_the_same(drawing) -> None:
    joined = PeerScene.of(drawing).together()
    for name, tensor in drawing.tensors.items():
        assert torch.equal(joined.tensors[name], tensor), name


def test_the_peers_step_has_the_gradient_of_ours(bundle: DiffusionBundle) -> None:
    clock = new_clock()
    peers = PeerStep(DRAWING, Replaced(bundle, {}), clock, "numba")
    peers(0)
    ours = scene_gradients(bundle, "torch", draws=1, steps=DRAWING.steps, paths=DRAWING.paths)
    points, colours = (
        torch.cat([p.grad for p in peers.scene.points]),
        torch.stack([c.grad for c in peers.scene.colours]),
    )
    for got, wanted in ((points, ours["points"][0]), (colours, ours["colours"][0])):
        torch.testing.assert_close(got, wanted, atol=1e-5 * float(wanted.abs().max()), rtol=1e-3)
    (parts,) = clock.steps
    assert all(parts[part].wall_s > 0 for part in PARTS)


def test_a_plain_engine_leaves_weights_trainable(bundle: DiffusionBundle) -> None:
    module = make_latent_encoder_module(0)
    engine = PlainEngine(SPECS["latent_encoder"], module)
    images = torch.rand(1, 3, 128, 128, requires_grad=True)
    engine(images)[0].sum().backward()
    assert all(weight.requires_grad for weight in module.parameters())
    assert module.encoder.conv_in.weight.grad is not None
    assert images.grad is not None


# --- variants ---------------------------------------------------------------------------------------------------------


def test_our_loop_is_timed_part_by_part_and_stays_where_it_is(bundle: DiffusionBundle) -> None:
    variant = our_variant("ours", bundle, DRAWING)
    take_turns([variant], 0.0)
    assert len(variant.clock.steps) == 2 * (measure.STEPS - 1)
    row = summarize(variant)
    assert row["parts_ms"]["text"] == 0.0
    assert all(row["parts_ms"][part] > 0 for part in PARTS if part != "text")
    steps = [{part: 1e3 * time.wall_s for part, time in step.items()} for step in variant.clock.steps]
    for parts in steps:
        assert sum(parts[part] for part in PARTS) == pytest.approx(parts["step"])
    rendering = [parts["step"] - parts["render"] - parts["render_backward"] for parts in steps]
    assert row["without_renderer_ms"] == pytest.approx(statistics.median(rendering), abs=1e-3)


def test_all_variants_of_a_bundle_with_its_modules(bundle: DiffusionBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    class Text(nn.Module):
        def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
            return torch.ones(len(ids), 17, 384) * mask.float().mean()

    class Noise(nn.Module):
        def forward(self, z: Tensor, t: Tensor, context: Tensor) -> Tensor:
            return z * 0.1 + context.mean() + t.reshape(-1, 1, 1, 1) * 1e-4

    def networks(*_: object) -> object:
        modules = {"text_encoder": Text(), "denoiser": Noise(), "latent_encoder": make_latent_encoder_module(0)}
        return measure.PeerNetworks(modules=modules, trained=True, origin="made for this test")

    monkeypatch.setattr(measure, "peer_networks", networks)
    notes: list[str] = []
    found = list(variants(Config(bundle=str(bundle.folder), baseline=True), notes.append))
    assert [v.name.partition(" (")[0] for v in found] == [
        "ONNX Runtime float32, gradient PyTorch",
        "our loop, PyTorch eager float32",
        "peers' recipe",
    ]
    assert notes[-1] == "PyTorch networks: made for this test"
    take_turns(found, 0.0, rounds=1)
    rows = [summarize(variant) for variant in found]
    lines = format_rows(rows).splitlines()
    assert len(lines) == 5
    assert lines[-1].endswith("| 1.00 |")
    assert rows[-1]["parts_ms"]["text"] > 0


def test_the_error_is_none_against_itself_and_seen_against_another(bundle: DiffusionBundle) -> None:
    wanted = scene_gradients(bundle, "torch", measure.DRAWS)
    same = Variant(name="same", round=lambda clock: None, bundle=bundle)
    assert error_of(same, wanted)["cosine"] == pytest.approx(1.0)
    flipped = {name: -gradient for name, gradient in wanted.items()}
    assert error_of(same, flipped)["cosine"] == pytest.approx(-1.0)
    assert error_of(Variant(name="reference", round=lambda clock: None), wanted) == {}


def test_modules_of_another_bundle_have_to_be_named(bundle: DiffusionBundle) -> None:
    class Other(DiffusionBundle):
        def __init__(self) -> None:
            pass

        folder, latent_shape, specs = bundle.folder, (4, 32, 32), bundle.specs

    with pytest.raises(UserError, match="--weights"):
        peer_networks(Other())


# --- the floor --------------------------------------------------------------------------------------------------------


def test_operations_are_counted_forward_and_backward() -> None:
    class Denoiser(nn.Module):
        def forward(self, z: Tensor, t: Tensor, context: Tensor) -> Tensor:
            return context @ torch.ones(384, 10)

    encoder = nn.Conv2d(3, 4, 8, stride=8)
    found = operations({"denoiser": Denoiser(), "latent_encoder": encoder}, SPECS)
    assert found["denoise"] == pytest.approx(2 * 2 * 17 * 384 * 10 / 1e9)
    assert found["encode"] == pytest.approx(2 * 2 * 16 * 16 * 4 * 3 * 64 / 1e9)


def test_inputs_have_the_spec_s_shapes_and_types() -> None:
    z, t, context = inputs_of(SPECS["denoiser"], 2)
    assert (z.shape, t.shape, context.shape) == ((2, 4, 16, 16), (2,), (2, 17, 384))
    assert t.dtype == torch.int64


def test_the_best_rate_is_operations_over_the_least_time() -> None:
    assert best_rate(lambda: time.sleep(0.01), 1e9, seconds=0.1) == pytest.approx(100.0, rel=0.2)


def test_the_random_networks_of_icons_fit_its_specs(bundle: DiffusionBundle) -> None:
    networks = peer_networks(bundle, None)
    assert not networks.trained
    assert "random weights" in networks.origin
    with torch.no_grad():
        for role, module in networks.modules.items():
            output = module(*inputs_of(bundle.specs[role], 2))
            assert tuple(output.shape[1:]) == SPECS[role].outputs[0].shape[1:]


def test_the_benchmark_is_where_its_text_says() -> None:
    assert "python -m benchmarks.step" in (benchmarks.step.__doc__ or "")
    assert is_command("benchmarks.step")
