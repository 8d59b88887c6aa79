import json

import pytest
import torch
from safetensors.torch import save

from runtime.engines.backends.eager import EagerEngine, expand_weights, load_module
from runtime.engines.bundle import DiffusionBundle
from runtime.engines.twins.kl_encoder import KLEncoder, KLEncoderConfig
from runtime.errors import UserError
from tests.bundles import KL_CONFIG, SPECS, make_latent_encoder_module
from tests.tolerance import ENGINE_FLOAT32, VJP_FLOAT32

CONFIG = json.dumps({"class": "KLEncoder", "arguments": KL_CONFIG}).encode()


def weights() -> dict[str, torch.Tensor]:
    return make_latent_encoder_module(0).state_dict()


@pytest.mark.parametrize(("attention", "widths"), [(True, (16, 32, 32)), (False, (8, 16))])
def test_the_kl_encoder_is_that_of_diffusers_in_value_and_gradient(attention: bool, widths: tuple[int, ...]) -> None:
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    theirs = AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * len(widths),
        up_block_types=["UpDecoderBlock2D"] * len(widths),
        block_out_channels=widths,
        layers_per_block=2,
        norm_num_groups=8,
        mid_block_add_attention=attention,
    ).eval()
    ours = KLEncoder(
        KLEncoderConfig(
            in_channels=3,
            block_out_channels=widths,
            norm_num_groups=8,
            mid_block_add_attention=attention,
            latent_scale=0.18215,
        )
    )
    ours.load_state_dict({k: v for k, v in theirs.state_dict().items() if k.startswith(("encoder.", "quant_conv."))})
    images = torch.rand(2, 3, 32, 32, requires_grad=True)
    expected = 0.18215 * theirs.encode(2.0 * images - 1.0).latent_dist.mean
    value = ours(images)
    torch.testing.assert_close(value, expected, atol=ENGINE_FLOAT32, rtol=ENGINE_FLOAT32)
    cotangent = torch.randn_like(value)
    (gradient,), (wanted,) = (torch.autograd.grad(y, images, cotangent) for y in (value, expected))
    torch.testing.assert_close(gradient, wanted, atol=VJP_FLOAT32 * float(wanted.abs().max()), rtol=0)


def test_gradients_pass_to_the_images_only(tiny: DiffusionBundle) -> None:
    engine = tiny.eager_engine("latent_encoder")
    images = torch.rand(2, 3, 128, 128, requires_grad=True)
    engine(images)[0].square().sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0
    assert all(not p.requires_grad and p.grad is None for p in engine.module.parameters())


def test_the_gradient_is_the_slope_of_the_value() -> None:
    module = make_latent_encoder_module(0).double()
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(1, 3, 128, 128, dtype=torch.float64, generator=generator).requires_grad_()
    direction = torch.randn(images.shape, dtype=torch.float64, generator=generator)
    cotangent = torch.randn(1, 4, 16, 16, dtype=torch.float64, generator=generator)
    (gradient,) = torch.autograd.grad(module(images), images, cotangent)
    step = 1e-5
    with torch.no_grad():
        slope = ((module(images + step * direction) - module(images - step * direction)) * cotangent).sum() / (2 * step)
    torch.testing.assert_close((gradient * direction).sum(), slope, rtol=1e-7, atol=0)


def test_an_input_that_does_not_fit_is_named_as_every_backend_names_it(tiny: DiffusionBundle) -> None:
    with pytest.raises(ValueError, match="engine") as error:
        tiny.eager_engine("latent_encoder")(torch.zeros(1, 3, 64, 64))
    wanted = "engine 'latent_encoder' input 'images': expected (B, 3, 128, 128) float32, got (1, 3, 64, 64) float32"
    assert str(error.value) == wanted


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"class": "os.system", "arguments": {}}, r"field 'class': expected one of KLEncoder, .*, got 'os\.system'"),
        ({"class": "KLEncoder"}, "the field 'arguments' is missing"),
        ({"class": "KLEncoder", "arguments": {**KL_CONFIG, "_target_": "x"}}, "unknown field '_target_'"),
        ({"class": "KLEncoder", "arguments": {**KL_CONFIG, "in_channels": 3}}, "in_channels: expected 48 = 3 unshuff"),
        ({"class": "KLEncoder", "arguments": {**KL_CONFIG, "block_out_channels": [10**9]}}, "block_out_channels: exp"),
        ({"class": "KLEncoder", "arguments": {**KL_CONFIG, "block_out_channels": ["8"]}}, "expected integers"),
        ({"class": "KLEncoder", "arguments": {**KL_CONFIG, "layers_per_block": 10**6}}, "layers_per_block: expected 1"),
        ({"class": "KLEncoder", "arguments": {**KL_CONFIG, "norm_num_groups": 0}}, "norm_num_groups: expected 1 to"),
    ],
)
def test_a_configuration_that_is_not_on_the_list_is_refused(config: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        load_module(json.dumps(config).encode(), save(weights()), "here")


def test_weights_that_do_not_fit_are_refused() -> None:
    state = weights()
    del state["quant_conv.bias"]
    with pytest.raises(UserError, match=r"here/weights\.safetensors does not fit KLEncoder: .*quant_conv\.bias"):
        load_module(CONFIG, save(state), "here")
    wide = weights() | {"quant_conv.bias": torch.zeros(9)}
    with pytest.raises(UserError, match="does not fit KLEncoder"):
        load_module(CONFIG, save(wide), "here")


@pytest.mark.parametrize("content", [b"", b"\x80\x04pickle", b"\xff" * 64, b"\x08" + b"\0" * 7 + b'{"a": 1}'])
def test_weights_that_are_no_safetensors_are_refused(content: bytes) -> None:
    with pytest.raises(UserError, match=r"here/weights\.safetensors: expected a safetensors file"):
        load_module(CONFIG, content, "here")


def test_stored_weights_expand_to_code_times_scale() -> None:
    codes = torch.tensor([[-127, 0], [5, 127]], dtype=torch.int8)
    scale = torch.tensor([0.5, 0.25])
    half = torch.tensor([1.5], dtype=torch.float16)
    expanded = expand_weights(save({"w": codes, "w.scale": scale, "b": half}), "here")
    assert set(expanded) == {"w", "b"}
    assert torch.equal(expanded["w"], torch.tensor([[-63.5, 0.0], [1.25, 31.75]]))
    assert expanded["b"].dtype == torch.float32
    for bad in ({"w": codes}, {"w": codes, "w.scale": scale[:1]}, {"w": codes[0, 0].clone(), "w.scale": scale}):
        with pytest.raises(UserError, match="'w': expected a scale for each of its rows"):
            expand_weights(save(bad), "here")


def test_outputs_come_as_a_tuple_of_tensors() -> None:
    engine = EagerEngine(SPECS["latent_encoder"], make_latent_encoder_module(0))
    outputs = engine(torch.zeros(2, 3, 128, 128))
    assert isinstance(outputs, tuple)
    assert outputs[0].shape == (2, 4, 16, 16)


def test_the_runtime_needs_no_diffusers_for_gradients(tiny_folder) -> None:
    import subprocess
    import sys

    code = (
        "import sys, torch; from runtime.engines.bundle import DiffusionBundle;"
        f"DiffusionBundle.load({str(tiny_folder)!r}).latent_encoder()(torch.zeros(1, 3, 128, 128));"
        "print([m for m in ('diffusers', 'transformers', 'onnx', 'onnxruntime', 'pandas') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
