"""The bundle's networks, float again: the graphs' own outputs, and training that begins from them."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from runtime.engines.bundle.pixelnerf import PixelNeRFBundle
from runtime.errors import UserError
from tests.tolerance import ENGINE_FLOAT32
from tests.train.pixelnerf.set_of_objects import write_set
from train.pixelnerf.__main__ import Config, train
from train.pixelnerf.network import PIXEL, Architecture
from train.pixelnerf.restore import restore_pixelnerf
from train.quantize import quantize_channels


@pytest.fixture(scope="module")
def bundle() -> PixelNeRFBundle:
    return PixelNeRFBundle.load("pixelnerf", threads=1)


def test_the_restored_networks_compute_what_the_graphs_do(bundle: PixelNeRFBundle) -> None:
    network = restore_pixelnerf(bundle, Architecture())
    generator = torch.Generator().manual_seed(3)
    pictures = torch.rand(2, 4, 64, 64, generator=generator)
    features = torch.rand(3, 7, 64 + PIXEL, generator=generator)
    points = torch.rand(3, 7, 3, generator=generator) - 0.5
    with torch.no_grad():
        encoded, values = network.encoder(pictures), network.field(features, points)
    (expected,) = bundle.engine("picture_encoder")(pictures)
    (asked,) = bundle.engine("field")(features.transpose(0, 1), points.transpose(0, 1))
    torch.testing.assert_close(encoded, expected, atol=ENGINE_FLOAT32, rtol=ENGINE_FLOAT32)
    torch.testing.assert_close(values, asked, atol=ENGINE_FLOAT32, rtol=ENGINE_FLOAT32)


def test_restored_weights_are_codes_times_steps(bundle: PixelNeRFBundle) -> None:
    weight = restore_pixelnerf(bundle, Architecture()).encoder.get_parameter("down.2.weight").detach()
    codes, step = quantize_channels(weight)
    torch.testing.assert_close(codes * step, weight, atol=1e-7, rtol=1e-5)


def test_training_begins_from_the_bundle(bundle: PixelNeRFBundle, tmp_path: Path) -> None:
    write_set(tmp_path / "set", side=64)
    # A learning rate at which one step of Adam moves a weight by 1e-8 at most, less than float32 resolves.
    config = Config(data=tmp_path / "set", out=tmp_path / "run", objects=1, rays=4, steps=1, lr=1e-8, start="pixelnerf")
    trained, restored = train(config, lambda line: None), restore_pixelnerf(bundle, Architecture())
    for ours, theirs in zip(trained.parameters(), restored.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-8, rtol=0)
    with pytest.raises(UserError, match="expected to start --encoder small from it, got resnet34"):
        train(replace(config, out=tmp_path / "other", encoder="resnet34"), lambda line: None)
    with pytest.raises(UserError, match="--side: expected 64 px, as the bundle has, got 32"):
        train(replace(config, out=tmp_path / "other", side=32), lambda line: None)
    with pytest.raises(UserError, match="expected the name of an installed bundle"):
        train(replace(config, out=tmp_path / "other", start="nonsense"), lambda line: None)
    assert not (tmp_path / "other").exists()


def test_a_graph_of_another_network_is_refused(bundle: PixelNeRFBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bundle.read_file("field", "model.onnx")
    with monkeypatch.context() as patch:
        patch.setattr(bundle, "read_file", lambda role, file: content)
        with pytest.raises(UserError, match=r"its picture_encoder: expected that of .*, got another"):
            restore_pixelnerf(bundle, Architecture())
    with pytest.raises(UserError, match=r"its picture_encoder: expected that of .*, got another"):
        restore_pixelnerf(bundle, Architecture(width=32))
