from pathlib import Path

import pytest
import torch

from export import icons
from export.icons import NETWORKS, make_manifest
from export.icons.weights import FILES, PROMPTS, Weights, load_weights
from export.samples import noised
from export.verify.gates import verify_exported
from export.vjp.files import vjp_spec
from export.write.network import network_files
from runtime.engines.backends.eager import load_module
from runtime.engines.backends.ort import OrtEngine
from runtime.engines.bundle import DiffusionBundle
from runtime.errors import UserError
from runtime.guidance.schedule import Schedule
from tests.bundles import SPECS
from tests.tolerance import ENGINE_FLOAT32, VJP_FLOAT32
from train.clip.dual import DualEncoder
from train.latent_diffusion.autoencoder import IconAutoencoder
from train.latent_diffusion.text import TextEncoder
from train.latent_diffusion.unet import SCHEDULE, IconDenoiser
from train.quantize import quantize_groups


def frozen(module: torch.nn.Module) -> torch.nn.Module:
    return module.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def weights() -> Weights:
    """Random weights of the true networks, the text encoder with one layer."""
    torch.manual_seed(0)
    text = frozen(TextEncoder({"hidden_size": 384, "num_hidden_layers": 1, "intermediate_size": 64, "vocab_size": 128}))
    table = text.bert.embeddings.word_embeddings.weight
    groups = quantize_groups(table, bits=4, group=64)
    table.data = (groups.low.float() + groups.codes * groups.step.float()).reshape(table.shape)
    count = len(PROMPTS)
    mask = (torch.arange(16) < torch.arange(2, 2 + count)[:, None]).long()
    return Weights(
        autoencoder=frozen(IconAutoencoder()),
        denoiser=frozen(IconDenoiser()),
        dual=frozen(DualEncoder()),
        text_encoder=text,
        text_groups=(groups,),
        tokenizer=b"{}",
        latent_scale=0.5,
        latents=torch.randn(count, 4, 16, 16),
        input_ids=torch.randint(0, 128, (count, 16)) * mask,
        attention_mask=mask,
    )


def test_the_networks_have_the_tensors_that_the_runtime_expects(weights: Weights) -> None:
    assert set(NETWORKS) == set(SPECS)
    for role, make in NETWORKS.items():
        network, wanted = make(weights), SPECS[role]
        assert network.spec.inputs == wanted.inputs
        assert [t.name for t in network.spec.outputs] == [t.name for t in wanted.outputs]
        assert network.spec.outputs[0].shape[1:] == wanted.outputs[0].shape[1:] or role.endswith("embedder")
        output = network.module(*network.samples)
        assert output.shape == (len(PROMPTS), *network.spec.outputs[0].shape[1:])
        assert output.abs().max() > 0


def test_the_manifest_carries_the_scale_and_the_schedule(weights: Weights) -> None:
    manifest = make_manifest(weights)
    assert (manifest.name, manifest.latent_scale, manifest.image_size, manifest.text_length) == ("icons", 0.5, 128, 16)
    assert manifest.schedule["num_timesteps"] == 1000


def test_verification_times_span_the_schedule(weights: Weights) -> None:
    z, t = noised(weights.latents, Schedule.of(SCHEDULE), torch.Generator().manual_seed(0))
    assert t[0] == 0
    assert t[-1] == 999
    signal = torch.nn.functional.cosine_similarity(z.flatten(1), weights.latents.flatten(1))
    assert signal[0] > 0.99
    assert abs(float(signal[-1])) < 0.2
    assert z[-1].std() == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("role", ["latent_encoder", "image_embedder"])
def test_an_encoder_and_its_twin_hold_the_same_network(role: str, weights: Weights) -> None:
    network = NETWORKS[role](weights)
    files = network_files(network).files
    images = weights.images()[:3]
    shared = {"weights.safetensors": files["weights.safetensors"]}
    model = OrtEngine(network.spec, files["model.onnx"], threads=1, shared=shared)(images)[0]
    twin = load_module(files["config.json"], files["weights.safetensors"], "here")
    torch.testing.assert_close(twin(images), model, atol=ENGINE_FLOAT32, rtol=ENGINE_FLOAT32)
    cotangent = torch.randn(model.shape, generator=torch.Generator().manual_seed(1))
    both = OrtEngine(vjp_spec(network.spec), files["vjp.onnx"], threads=1, shared=shared)
    value, product = both(images, cotangent)
    torch.testing.assert_close(value, model, atol=ENGINE_FLOAT32, rtol=ENGINE_FLOAT32)
    x = images.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(twin(x), x, cotangent)
    torch.testing.assert_close(product, wanted, atol=VJP_FLOAT32 * float(wanted.abs().max()), rtol=0)
    exact = load_module(files["config.json"], files["weights.safetensors"], "here")
    exact.load_state_dict(dict(network.torch_module.state))
    torch.testing.assert_close(exact(images), network.module(images), atol=ENGINE_FLOAT32, rtol=ENGINE_FLOAT32)
    images.requires_grad_()
    (gradient,) = torch.autograd.grad(exact(images).square().sum(), images)
    (expected,) = torch.autograd.grad(network.module(images).square().sum(), images)
    torch.testing.assert_close(gradient, expected, atol=VJP_FLOAT32 * float(expected.abs().max()), rtol=0)


@pytest.mark.slow
def test_the_whole_bundle_is_written_and_passes_its_gates(weights: Weights, tmp_path: Path) -> None:
    networks = icons.write_icons(weights, tmp_path / "icons", lambda line: None)
    rows = verify_exported(DiffusionBundle.load(tmp_path / "icons"), networks)
    assert len(rows) == len(NETWORKS) + 4
    assert [row.name for row in rows if not row.passed] == []
    for path in (tmp_path / "icons").rglob("*.onnx"):
        content = path.read_bytes()
        assert [trace for trace in (b"stack_trace", b"site-packages", b"class_hierarchy") if trace in content] == []


@pytest.mark.slow
def test_exporting_again_gives_the_same_bytes(weights: Weights) -> None:
    for role in ("text_embedder", "image_embedder", "latent_decoder"):
        first, second = (network_files(NETWORKS[role](weights)).files for _ in range(2))
        assert first == second


@pytest.mark.parametrize("missing", FILES)
def test_a_missing_file_of_weights_is_named(missing: str, tmp_path: Path) -> None:
    for name in FILES[: FILES.index(missing)]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(UserError, match=f"--weights {tmp_path}: expected {missing} in it, got none"):
        load_weights(tmp_path)
