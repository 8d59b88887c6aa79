"""Options that every training command has."""

from dataclasses import dataclass, fields
from pathlib import Path

from train.clip.__main__ import Config as DualConfig
from train.fit import FitConfig
from train.latent_diffusion import autoencoder, decoder, denoiser
from train.options import TrainOptions


@dataclass(frozen=True, kw_only=True)
class Small(TrainOptions):
    """A command with defaults."""

    steps: int = 7
    batch: int = 2
    lr: float = 0.5


def test_the_loop_gets_what_was_asked_for() -> None:
    fit = Small(out=Path("x"), seed=3).fit_config(warmup=9)
    assert fit == FitConfig(out=Path("x"), steps=7, lr=0.5, seed=3, device="cpu", warmup=9)


def test_every_command_has_them_and_defaults_of_its_own() -> None:
    for config in (DualConfig, autoencoder.Config, decoder.Config, denoiser.Config):
        defaults = {field.name: field.default for field in fields(config)}
        assert issubclass(config, TrainOptions)
        assert all(isinstance(defaults[name], int | float) for name in ("steps", "batch", "lr"))
