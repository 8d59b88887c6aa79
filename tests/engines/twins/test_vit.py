"""CLIP's image encoders in plain PyTorch against transformers and timm: values, gradients, and as a bundle's twin."""

import json

import pytest
import torch
from safetensors.torch import save
from torch.nn import functional as F

from export.clip.configurations import CLIP_MODELS, TIMM_MODELS
from export.clip.image import make_encoder
from export.pretrained.names import vision_from_timm, vision_from_transformers
from export.pretrained.weights import RandomWeights, StoredWeights, fill
from runtime.engines.backends.eager import load_module
from runtime.engines.twins.convnext import ConvNextConfig
from runtime.engines.twins.vit import (
    CLIP_MEAN,
    CLIP_STD,
    VisionConfig,
    VisionTransformer,
    patches_by_products,
    resize_matrix,
)
from runtime.errors import UserError
from tests.tolerance import ENGINE_FLOAT32, FLOAT32_ROUNDING, VJP_FLOAT32

SMALL = VisionConfig(
    input_size=48, image_size=32, patch_size=8, width=32, layers=2, heads=2, mlp_width=64, embedding=16
)


def images(size: int, count: int = 2) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def random_encoder(config: VisionConfig | ConvNextConfig) -> torch.nn.Module:
    return fill(make_encoder(config), RandomWeights(0), torch.float32)


@pytest.mark.parametrize("activation", ["gelu", "quick_gelu"])
def test_clips_encoder_is_that_of_transformers_value_and_gradient(activation: str) -> None:
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    reference = CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=32,
            patch_size=8, projection_dim=16, hidden_act=activation,
        )
    ).eval()  # fmt: skip
    config = VisionConfig(**{**SMALL.__dict__, "input_size": 32, "activation": activation})
    weights = StoredWeights(vision_from_transformers(reference.state_dict()), "here")
    ours = fill(make_encoder(config), weights, torch.float32)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (CLIP_MEAN, CLIP_STD))
    x = images(32).requires_grad_()
    wanted = F.normalize(reference((x - mean) / std).image_embeds)
    found = ours(x)
    torch.testing.assert_close(found, wanted, atol=ENGINE_FLOAT32, rtol=0)
    cotangent = torch.randn(found.shape, generator=torch.Generator().manual_seed(1))
    gradients = [torch.autograd.grad(value, x, cotangent)[0] for value in (found, wanted)]
    torch.testing.assert_close(*gradients, atol=VJP_FLOAT32 * float(gradients[1].abs().max()), rtol=0)


@pytest.mark.parametrize(("source", "target"), [(48, 32), (512, 224), (32, 48)])
def test_resizing_is_that_of_interpolate(source: int, target: int) -> None:
    x, matrix = images(source), resize_matrix(source, target)
    wanted = F.interpolate(x, (target, target), mode="bicubic", antialias=True)
    torch.testing.assert_close(matrix @ x @ matrix.T, wanted, atol=FLOAT32_ROUNDING, rtol=0)
    torch.testing.assert_close(matrix.sum(1), torch.ones(target), atol=FLOAT32_ROUNDING, rtol=0)


def test_embeddings_have_unit_norm_and_pixels_all_have_a_gradient() -> None:
    x = images(48).requires_grad_()
    embedding = random_encoder(SMALL)(x)
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(2))
    (gradient,) = torch.autograd.grad(embedding[:, 0].sum(), x)
    assert (gradient != 0).float().mean() > 0.99


@pytest.mark.parametrize("config", [SMALL, CLIP_MODELS["tiny-clip-convnext"].vision])
def test_a_twin_is_made_of_its_files(config: VisionConfig | ConvNextConfig) -> None:
    module = random_encoder(config)
    arguments = {name: list(v) if isinstance(v, tuple) else v for name, v in config.__dict__.items()}
    document = json.dumps({"class": type(module).__name__, "arguments": arguments}).encode()
    twin = load_module(document, save(module.state_dict()), "here")
    x = images(config.input_size)
    assert torch.equal(twin.eval()(x), module(x))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"heads": 3}, "width: expected a multiple of heads 3, got 32"),
        ({"patch_size": 5}, "image_size: expected a multiple of patch_size 5, got 32"),
        ({"activation": "relu"}, "activation: expected one of gelu, quick_gelu, got 'relu'"),
        ({"width": 0}, "width: expected 1 to 16384, got 0"),
        ({"layers": 2.0}, "field 'layers': expected int, got float 2.0"),
        ({"std": [1.0, 0.0, 1.0]}, "deviations above 0"),
        ({"mean": ["a", 0, 0]}, "mean: expected numbers"),
        ({"mean": [0.0]}, "three numbers each"),
        ({"depth": 2}, "unknown field 'depth'"),
        ({"embedding": -1}, "embedding: expected 0 to 16384, got -1"),
    ],
)
def test_arguments_that_make_no_network_are_refused(change: dict, words: str) -> None:
    arguments = {"input_size": 32, "image_size": 32, "patch_size": 8, "width": 32, "heads": 2, **change}
    document = json.dumps({"class": "VisionTransformer", "arguments": arguments}).encode()
    with pytest.raises(UserError, match=words):
        load_module(document, b"", "here")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"depths": [1]}, "depths, widths: expected as many of each"),
        ({"image_size": 40}, "image_size: expected a multiple of 32, got 40"),
        ({"widths": [0, 1, 1, 1]}, "depths, widths: expected 1 to 1024 and to 16384"),
        ({"embedding": 0}, "embedding: expected 1 to 16384, got 0"),
    ],
)
def test_arguments_that_make_no_convolutional_network_are_refused(change: dict, words: str) -> None:
    document = json.dumps({"class": "ConvNext", "arguments": {"input_size": 64, **change}}).encode()
    with pytest.raises(UserError, match=words):
        load_module(document, b"", "here")


@pytest.mark.parametrize(("name", "millions"), [("ViT-B-32", 87.8), ("ViT-L-14", 304.0), ("ViT-H-14", 632.1)])
def test_true_sizes_are_the_published_ones(name: str, millions: float) -> None:
    count = sum(parameter.numel() for parameter in make_encoder(CLIP_MODELS[name].vision).parameters())
    assert count / 1e6 == pytest.approx(millions, abs=0.1)


def test_timms_transformer() -> None:
    timm = pytest.importorskip("timm", reason="needs timm with torchvision")
    config = TIMM_MODELS["tiny-vit"].vision
    reference = timm.models.vision_transformer.VisionTransformer(
        img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=2, mlp_ratio=4, num_classes=0
    ).eval()
    ours = fill(make_encoder(config), StoredWeights(vision_from_timm(reference.state_dict()), "here"), torch.float32)
    x = images(32)
    wanted = F.normalize(reference(2.0 * x - 1.0))
    torch.testing.assert_close(ours(x), wanted, atol=ENGINE_FLOAT32, rtol=0)


def test_timms_convolutional_network() -> None:
    timm = pytest.importorskip("timm", reason="needs timm with torchvision")
    config = ConvNextConfig(input_size=64, image_size=64, depths=(1, 2, 1, 1), widths=(8, 16, 16, 32), embedding=16)
    reference = timm.models.convnext.ConvNeXt(depths=config.depths, dims=config.widths, num_classes=0).eval()
    state = {f"trunk.{name}": value for name, value in reference.state_dict().items()}
    state["head.proj.weight"] = torch.randn(config.embedding, config.widths[-1])
    ours = fill(make_encoder(config), StoredWeights(state, "here"), torch.float32)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (CLIP_MEAN, CLIP_STD))
    x = images(64)
    with torch.no_grad():
        wanted = F.normalize(reference((x - mean) / std) @ state["head.proj.weight"].T)
    torch.testing.assert_close(ours(x), wanted, atol=ENGINE_FLOAT32, rtol=0)


def test_half_precision_keeps_the_direction() -> None:
    config = VisionConfig(**{**SMALL.__dict__, "width": 128, "heads": 4, "mlp_width": 512, "layers": 6})
    exact, half = (fill(make_encoder(config), RandomWeights(0), dtype) for dtype in (torch.float32, torch.float16))
    assert isinstance(half, VisionTransformer)
    assert half.ln_post.weight.dtype == torch.float32
    x = images(48, 4)
    with torch.no_grad():
        assert float(F.cosine_similarity(exact(x), half(x)).min()) > 0.9999


@pytest.mark.parametrize("bias", [False, True])
def test_patches_are_those_of_the_convolution(bias: bool) -> None:
    conv = torch.nn.Conv2d(3, 10, 7, 7, bias=bias).double()
    pixels = torch.randn(2, 3, 30, 22, dtype=torch.float64)  # not a multiple of 7
    torch.testing.assert_close(patches_by_products(pixels, conv), conv(pixels), rtol=0, atol=1e-13)
