"""Bundles of run folders, of diffusers' folders and of converted checkpoints; what is refused."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from export.commands.ddpm import Ddpm, run_ddpm
from export.commands.verify import Verify, run_verify
from export.ddpm.source import source_of_run, source_of_weights
from runtime.engines.bundle import DdpmBundle
from runtime.errors import UserError
from tests.train.ddpm.test_network import ported_names
from train.ddpm.network import Architecture, PixelDenoiser
from train.ddpm.runs import SCHEDULE, RunConfig, write_run

TINY = Architecture(size=8, widths=(8, 16), blocks=1, attention=(4,), dropout=0.0, groups=4)


def network(architecture: Architecture = TINY) -> PixelDenoiser:
    made = PixelDenoiser(architecture).eval()
    with torch.no_grad():
        for weight in made.parameters():
            weight.add_(0.1 * torch.randn(weight.shape))
    return made


def write_folder(folder: Path, made: PixelDenoiser, **changes) -> Path:
    """Write a folder as diffusers does."""
    (folder / "unet").mkdir(parents=True)
    (folder / "scheduler").mkdir()
    config = {
        "in_channels": 3, "out_channels": 3, "sample_size": 8, "block_out_channels": [8, 16], "layers_per_block": 1,
        "down_block_types": ["DownBlock2D", "AttnDownBlock2D"], "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
        "norm_num_groups": 4, "attention_head_dim": None, "downsample_padding": 0, "flip_sin_to_cos": False,
        "freq_shift": 1, "norm_eps": 1e-6, "act_fn": "silu", **changes,
    }  # fmt: skip
    (folder / "unet" / "config.json").write_text(json.dumps(config))
    scheduler = {"num_train_timesteps": 500, "beta_start": 1e-4, "beta_end": 0.03, "beta_schedule": "linear"}
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler))
    save_file(made.state_dict(), folder / "unet" / "diffusion_pytorch_model.safetensors")
    return folder


def test_a_run_becomes_a_bundle_that_is_verified_and_samples(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made, run, out = network(replace(TINY, patch=2)), tmp_path / "run", tmp_path / "mine"
    write_run(run, RunConfig(architecture=made.architecture, data="icons", sets="noto"))
    save_file(made.state_dict(), run / "ema.safetensors")
    assert run_ddpm(Ddpm(run=run, out=out)) == 0
    assert "| denoiser |" in capsys.readouterr().out
    bundle = DdpmBundle.load(out)
    assert bundle.schedule == SCHEDULE and bundle.shape == (3, 8, 8) and bundle.manifest.variance == "fixedlarge"
    assert (out / "ATTRIBUTION.md").is_file() and "icon sets noto" in bundle.manifest.provenance
    z, t = torch.randn(3, 3, 8, 8), torch.tensor([0, 10, 900])
    with torch.no_grad():
        expected = made(z, t)
    assert torch.nn.functional.cosine_similarity(bundle.denoiser()(z, t), expected, dim=0).mean() > 0.99
    for weights in (None, str(run)):
        assert run_verify(Verify(bundle=str(out), weights=weights, backend="ort", device="cpu")) == 0


def test_a_folder_of_diffusers_is_the_same_network(tmp_path: Path) -> None:
    made = network()
    source = source_of_weights(write_folder(tmp_path / "model", made))
    assert source.architecture == TINY and source.variance == "fixedlarge"
    assert source.schedule == SCHEDULE | {"num_timesteps": 500, "beta_end": 0.03}
    z, t = torch.randn(2, 3, 8, 8), torch.tensor([3, 400])
    with torch.no_grad():
        assert torch.equal(source.network(z, t), made(z, t))


def test_a_converted_official_checkpoint_is_the_same_network(tmp_path: Path, capsys, monkeypatch) -> None:
    # One folder: config.json, the port's names in model.safetensors, and the scheduler beside them.
    made, folder = network(), write_folder(tmp_path / "model", network())
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    (folder / "unet" / "config.json").rename(folder / "config.json")
    (folder / "scheduler" / "scheduler_config.json").rename(folder / "scheduler_config.json")
    (folder / "unet").rmdir()
    weights = {name: value.contiguous() for name, value in ported_names(made.state_dict(), 1).items()}
    assert weights["down.1.attn.0.q.weight"].ndim == 4
    save_file(weights, folder / "model.safetensors")
    source = source_of_weights(folder)
    assert source.schedule == SCHEDULE | {"num_timesteps": 500, "beta_end": 0.03}
    z, t = torch.randn(2, 3, 8, 8), torch.tensor([3, 400])
    with torch.no_grad():
        assert torch.equal(source.network(z, t), made(z, t))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert run_ddpm(Ddpm(weights=folder, out=tmp_path / "mine")) == 0
    assert "| denoiser |" in capsys.readouterr().out and DdpmBundle.load(tmp_path / "mine").shape == (3, 8, 8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"freq_shift": 0}, "field 'freq_shift': expected 1"),
        ({"down_block_types": ["DownBlock2D", "SkipDownBlock2D"]}, "expected a UNet2DModel of DDPM"),
        ({"attention_head_dim": 8}, "heads of 8"),
        ({"block_out_channels": [8, 32]}, "do not fit config.json"),
        ({"sample_size": None}, "expected a UNet2DModel of DDPM"),
    ],
)
def test_another_network_is_refused(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        source_of_weights(write_folder(tmp_path / "model", network(), **changes))


def test_pickles_are_refused_with_the_command_that_converts_them(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "model", network())
    (folder / "unet" / "diffusion_pytorch_model.safetensors").rename(folder / "unet" / "weights.bin")
    with pytest.raises(UserError, match=r"is a pickle.*convert it with: python -c .*weights\.safetensors"):
        source_of_weights(folder)
    (folder / "unet" / "weights.bin").unlink()
    with pytest.raises(UserError, match=r"expected a \.safetensors file, got none"):
        source_of_weights(folder)


def test_one_source_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="got both or neither"):
        run_ddpm(Ddpm(out=tmp_path / "x"))
    with pytest.raises(UserError, match=r"no config\.json is here"):
        source_of_run(tmp_path)
