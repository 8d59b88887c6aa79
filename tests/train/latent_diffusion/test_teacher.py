"""Training of the camera-aware denoiser: its draws, its first loss, and a cut run that ends where an uncut one does."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from runtime.engines.bundle.diffusion import DiffusionBundle
from tests.train.latent_diffusion.made import write_prepared
from train.fit import FitConfig, factor_of, fit
from train.latent_diffusion.camera import CameraDenoiser
from train.latent_diffusion.camera_weights import make_denoiser
from train.latent_diffusion.prepared import Examples, Icons, ObjectViews
from train.latent_diffusion.teacher import FACTORS, Config, draw_times, drop, make_loss
from train.norm import to_channels_last


def config(tmp_path: Path, **changes) -> Config:
    return Config(objects=tmp_path, icons=tmp_path, out=tmp_path / "run", batch=4, **changes)


def test_seven_in_ten_times_are_high_ones_only() -> None:
    t = draw_times(40000, 0.7, torch.Generator().manual_seed(0))
    assert int(t.min()) >= 0
    assert int(t.max()) == 999
    assert float((t < 300).float().mean()) == pytest.approx(0.3 * 0.3, abs=0.005)
    assert int(draw_times(1000, 1.0, torch.Generator().manual_seed(0)).min()) >= 300


def test_captions_are_dropped_of_all_and_cameras_of_objects_only(tmp_path: Path) -> None:
    count = 4000
    examples = Examples(
        torch.zeros(count, 4, 1, 1), torch.ones(count, 2, 3), torch.zeros(count, 2), torch.ones(count, dtype=torch.bool)
    )
    chosen = config(tmp_path, dropout=0.2, camera_dropout=0.1)
    contexts, present = drop(examples, torch.full((2, 3), 7.0), chosen, torch.Generator().manual_seed(0))
    empty = (contexts == 7.0).all(-1).all(-1)
    assert torch.equal(contexts[~empty], torch.ones(int((~empty).sum()), 2, 3))
    assert float(empty.float().mean()) == pytest.approx(0.2, abs=0.02)
    assert float((~present[: count // 2]).float().mean()) == pytest.approx(0.1, abs=0.02)
    assert bool(present[count // 2 :].all())


def test_a_camera_is_never_given_to_what_has_none(tmp_path: Path) -> None:
    examples = Examples(
        torch.zeros(8, 4, 1, 1), torch.ones(8, 2, 3), torch.zeros(8, 2), torch.zeros(8, dtype=torch.bool)
    )
    assert not drop(examples, torch.zeros(2, 3), config(tmp_path), torch.Generator())[1].any()


def test_token_learns_faster_than_what_reads_it_and_that_faster_than_the_rest(tmp_path: Path) -> None:
    fitted = FitConfig(out=tmp_path, steps=1, factors=FACTORS)
    block = "base.unet.mid_block.attentions.0.transformer_blocks.0"
    assert factor_of("camera.project.weight", fitted) == 4.0
    assert factor_of(f"{block}.attn2.to_k.weight", fitted) == 1.0
    assert factor_of(f"{block}.attn1.to_k.weight", fitted) == 0.5


@pytest.fixture(scope="module")
def bundle() -> DiffusionBundle:
    return DiffusionBundle.load("icons", threads=1)


def network_of(bundle: DiffusionBundle) -> CameraDenoiser:
    torch.manual_seed(0)
    return to_channels_last(make_denoiser(bundle))


class Cut(Exception):
    """Stands for a process that dies."""


def test_a_cut_run_goes_on_to_the_same_bytes(tmp_path: Path, bundle: DiffusionBundle) -> None:
    folders = write_prepared(tmp_path)
    loss = make_loss(config(tmp_path), ObjectViews.load(folders[0]), Icons.load(folders[1]))

    def train(out: Path, steps: int, stop: int | None = None) -> None:
        def loss_of_step(network: CameraDenoiser, generator: torch.Generator) -> torch.Tensor:
            nonlocal stop
            if stop is not None and (stop := stop - 1) < 0:
                raise Cut
            return loss(network, generator)

        changes = {"factors": FACTORS, "warmup": 1, "bf16": False, "minutes": 0.0}
        fit(network_of(bundle), loss_of_step, FitConfig(out=out, steps=steps, **changes), lambda _: None)

    train(tmp_path / "whole", 3)
    with pytest.raises(Cut):
        train(tmp_path / "cut", 3, stop=2)
    train(tmp_path / "cut", 3)
    whole, cut = ((tmp_path / name / "checkpoint.safetensors").read_bytes() for name in ("whole", "cut"))
    assert whole == cut


def test_convolutions_stay_the_bundles(tmp_path: Path, bundle: DiffusionBundle) -> None:
    folders = write_prepared(tmp_path)
    loss = make_loss(config(tmp_path), ObjectViews.load(folders[0]), Icons.load(folders[1]))
    network = network_of(bundle)
    before = {name: weight.detach().clone() for name, weight in network.named_parameters()}
    fit(network, loss, FitConfig(out=tmp_path / "run", steps=2, warmup=1, bf16=False, ema=0.0), lambda _: None)
    changed = {name for name, weight in network.named_parameters() if not torch.equal(weight, before[name])}
    assert changed <= load_file(tmp_path / "run" / "ema.safetensors").keys()
    assert "camera.project.weight" in changed
    assert not [name for name in changed if ".resnets." in name]
