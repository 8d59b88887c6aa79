"""Cleaning pictures: by stand-ins whose clean picture is known."""

from collections.abc import Sequence

import torch
from torch.nn import functional

from benchmarks.few_view.cleaning import TIMES, Cleaner
from runtime.guidance.schedule import Schedule

SCHEDULE = {"num_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


class Reader:
    """Stands for a text encoder: it reads nothing."""

    def __call__(self, prompts: Sequence[str]) -> torch.Tensor:
        return torch.ones(len(prompts), 4, 5)

    def fits(self, prompt: str) -> bool:
        return True


def make_cleaner(seen: list[torch.Tensor]) -> Cleaner:
    """Return networks whose latents are the means of 2 x 2 pixels, and a model that takes every picture for black."""
    schedule = Schedule.of(SCHEDULE)

    def denoise(z: torch.Tensor, t: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        seen.append(context)
        return z / schedule.at(t)[1]  # the noise, if what is clean is 0

    return Cleaner(
        side=16,
        schedule=schedule,
        encode=lambda images: functional.avg_pool2d(images, 2),
        decode=lambda z: functional.interpolate(z, scale_factor=2, mode="nearest"),
        denoise=denoise,
        read=Reader(),
    )


def test_what_is_clean_is_compared_with_the_truth() -> None:
    seen: list[torch.Tensor] = []
    cleaner = make_cleaner(seen)
    angles = (torch.tensor([0.5]), torch.tensor([0.25]))
    grey, dark = torch.full((3, 8, 8), 0.5), torch.full((3, 8, 8), 0.1)
    pictures = cleaner.pictures(grey, angles, "a robot")
    assert set(pictures) == {"autoencoder alone", *(f"from time {t}" for t in TIMES)}
    assert torch.allclose(pictures["autoencoder alone"], grey)
    assert all(pictures[f"from time {t}"].abs().max() < 1e-4 for t in TIMES)
    # The model is told where the camera is.
    assert torch.allclose(seen[0][0, -1, :3], torch.tensor([0.5, 0.25, 1.0]))
    # Errors of .4 before and .1 after: 20 log10(4) dB nearer.
    gains = cleaner.gains(grey, dark, angles, "a robot")
    assert abs(gains["from time 50"] - 12.04) < 0.02
    assert abs(gains["autoencoder alone"]) < 0.02
