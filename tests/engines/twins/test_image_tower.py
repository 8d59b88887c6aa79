"""The dual encoder's image tower: its pooling by brute force, its gradient by differences, the bundle's own weights."""

import json

import pytest
import torch
from safetensors.torch import save
from torch import Tensor

from export.graph.quantize import quantize_state
from runtime.engines.backends.eager import expand_weights, load_module
from runtime.engines.bundle import DiffusionBundle
from runtime.engines.precision import Storage
from runtime.engines.spec import WEIGHTS
from runtime.engines.twins.image_tower import ImageTower, ImageTowerConfig
from runtime.errors import UserError
from tests.tolerance import DIFFERENCE_FLOAT32, ENGINE_FLOAT32, FLOAT32_ROUNDING, VJP_FLOAT32

SMALL = ImageTowerConfig(channels=(8, 16), blocks=(1, 1), unshuffle=2, groups=4, embedding=6)


def random_tower(config: ImageTowerConfig) -> ImageTower:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return ImageTower(config).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def icons() -> DiffusionBundle:
    return DiffusionBundle.load("icons", threads=1)


@pytest.fixture(scope="module")
def pictures(icons: DiffusionBundle) -> Tensor:
    z = torch.randn(2, *icons.latent_shape, generator=torch.Generator().manual_seed(0))
    return icons.latent_decoder()(z)


def test_the_embedding_is_of_the_mean_and_of_each_quarters_mean() -> None:
    tower, images = random_tower(SMALL), torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    maps = tower.tower(2.0 * images - 1.0)
    assert maps.shape == (2, 16, 4, 4)
    for row, embedding in zip(maps, tower(images), strict=True):
        numbers = [float(channel.mean()) for channel in row]
        # a channel's quarters stand together: upper left, upper right, lower left, lower right
        for channel in row:
            numbers += [float(channel[y : y + 2, x : x + 2].mean()) for y in (0, 2) for x in (0, 2)]
        vector = tower.head.weight @ torch.tensor(numbers) + tower.head.bias
        torch.testing.assert_close(embedding, vector / vector.norm(), atol=FLOAT32_ROUNDING, rtol=0)


def test_the_towers_of_icons_have_the_sizes_that_they_were_trained_with() -> None:
    state = ImageTower(ImageTowerConfig()).state_dict()
    # weight and bias of thirteen convolutions, one matrix and eleven normalizations
    assert len(state) == 2 * (13 + 1 + 11)
    assert state["tower.1.weight"].shape == (48, 48, 3, 3)
    assert state["tower.8.body.5.weight"].shape == (128, 128, 3, 3)
    assert state["head.weight"].shape == (256, 640)


@pytest.mark.parametrize("gradients", ["torch", "engine"])
def test_the_gradient_is_that_of_central_differences(gradients: str, icons: DiffusionBundle, pictures: Tensor) -> None:
    encode, images = icons.image_encoder(gradients), pictures.clone().requires_grad_()
    draws = torch.Generator().manual_seed(1)
    cotangent = torch.randn(2, 256, generator=draws)
    (gradient,) = torch.autograd.grad(encode(images), images, cotangent)
    step = 2e-3
    # towards the gradient, where the value changes most, and across some squares of 16 pixels
    ways = [gradient.sign()]
    for _ in range(4):
        way, (y, x) = torch.zeros_like(pictures), torch.randint(0, 112, (2,), generator=draws).tolist()
        way[:, :, y : y + 16, x : x + 16] = 1.0
        ways.append(way)
    for way in ways:
        ahead, behind = (encode(pictures + sign * step * way).double() for sign in (1.0, -1.0))
        expected = float(((ahead - behind) * cotangent.double()).sum()) / (2.0 * step)
        assert float((gradient * way).sum()) == pytest.approx(expected, rel=DIFFERENCE_FLOAT32)


def test_pytorch_and_the_engines_agree_on_the_bundles_own_weights(icons: DiffusionBundle, pictures: Tensor) -> None:
    cotangent = torch.randn(2, 256, generator=torch.Generator().manual_seed(1))
    value = icons.image_encoder("none")(pictures)
    torch.testing.assert_close(value.norm(dim=1), torch.ones(2), atol=FLOAT32_ROUNDING, rtol=0)
    products = []
    for gradients in ("torch", "engine"):
        x = pictures.clone().requires_grad_()
        ours = icons.image_encoder(gradients)(x)
        torch.testing.assert_close(ours, value, atol=ENGINE_FLOAT32, rtol=0)
        products += torch.autograd.grad(ours, x, cotangent)
    torch.testing.assert_close(*products, atol=VJP_FLOAT32 * float(products[0].abs().max()), rtol=0)


def test_stored_weights_are_stored_again_to_the_same_bytes(icons: DiffusionBundle) -> None:
    content = icons.read_file("image_embedder", WEIGHTS)
    assert save(quantize_state(expand_weights(content, "here"), Storage.INT8)) == content


def test_a_tower_is_made_of_its_files() -> None:
    module, images = random_tower(SMALL), torch.rand(2, 3, 16, 16)
    arguments = {name: list(v) if isinstance(v, tuple) else v for name, v in SMALL.__dict__.items()}
    document = json.dumps({"class": "ImageTower", "arguments": arguments}).encode()
    assert torch.equal(load_module(document, save(module.state_dict()), "here").eval()(images), module(images))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"channels": [48, 96]}, "channels, blocks: expected as many of each, up to 8, got"),
        ({"channels": [], "blocks": []}, "channels, blocks: expected as many of each, up to 8, got"),
        ({"channels": [48, 90, 128]}, "channels: expected multiples of groups 16 up to 4096, got"),
        ({"blocks": [1, 2, -1]}, "blocks: expected 0 to 1024 of each level, got"),
        # in tests beartype may see the type first; it looks at one element, drawn at random
        ({"blocks": [1, 2, 2.5]}, "blocks"),
        ({"groups": 0}, "groups: expected 1 to 4096, got 0"),
        ({"unshuffle": 5000}, "unshuffle: expected 1 to 4096, got 5000"),
        ({"embedding": 2.0}, "field 'embedding': expected int, got float 2.0"),
        ({"depth": 2}, "unknown field 'depth'"),
    ],
)
def test_arguments_that_make_no_tower_are_refused(change: dict, words: str) -> None:
    document = json.dumps({"class": "ImageTower", "arguments": change}).encode()
    with pytest.raises(UserError, match=words):
        load_module(document, b"", "here")
