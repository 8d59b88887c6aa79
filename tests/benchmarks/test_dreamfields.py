"""The rows of Dream Fields' benchmark, and its second opinion."""

from pathlib import Path

import pytest
import torch

from benchmarks.dreamfields.measure import CAPTIONS, ROWS, TIMES, Config, chosen_by_denoiser, options_of
from runtime.command.method import checked
from runtime.dreamfields import METHOD
from runtime.engines.bundle import DiffusionBundle
from tests.bundles import make_tiny_bundle


def test_each_row_is_a_configuration_that_is_accepted() -> None:
    rows = [options_of(Config(out=Path()), row, CAPTIONS[0]) for row in ROWS]
    assert len({checked(METHOD, row) for row in rows}) == len(ROWS)
    short = options_of(Config(out=Path(), steps=40), "mlp", CAPTIONS[0])
    assert (short.steps, short.tau_steps) == (40, 20)


def test_the_denoiser_chooses_the_caption_that_predicts_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = DiffusionBundle.load(str(make_tiny_bundle(tmp_path / "tiny")))
    contexts = torch.arange(float(len(CAPTIONS)))[:, None, None]

    class Texts:
        def __call__(self, texts: list[str]) -> torch.Tensor:
            return contexts.expand(-1, 2, 3)

        def fits(self, text: str) -> bool:
            return True

    def denoise(z: torch.Tensor, t: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        # Worse by the caption's distance from the seventh, whatever the latents.
        return torch.zeros_like(z) + 9 * (context[:, :1, :1, None] - 7).abs()

    monkeypatch.setattr(DiffusionBundle, "text_encoder", lambda self: Texts())
    monkeypatch.setattr(DiffusionBundle, "denoiser", lambda self: denoise)
    pictures = torch.rand(3, 3, bundle.image_size, bundle.image_size)
    assert chosen_by_denoiser(bundle, pictures, 7).tolist() == [True] * 3
    assert chosen_by_denoiser(bundle, pictures, 2).tolist() == [False] * 3
    assert TIMES[-1] < 1000
