"""The dual encoder: the loss' closed form, unit embeddings, padding without influence."""

import math

import pytest
import torch
from safetensors.torch import save_file

from runtime.guidance.schedule import Schedule
from runtime.guidance.sds import Prompt
from tests.tolerance import FLOAT32_ROUNDING, SAMPLED_BACK, SCALED_AREA
from train.clip import redraw
from train.clip.__main__ import read_redrawn, roughen
from train.clip.dual import DualEncoder, TextEmbedder, contrastive_loss
from train.latent_diffusion.unet import SCHEDULE


def test_equal_logits_give_the_logarithm_of_the_batch() -> None:
    loss = contrastive_loss(torch.zeros(8, 8), torch.eye(8, dtype=torch.bool))
    assert float(loss) == pytest.approx(math.log(8), abs=FLOAT32_ROUNDING)


def test_a_perfect_match_costs_nothing() -> None:
    assert float(contrastive_loss(200.0 * torch.eye(5), torch.eye(5, dtype=torch.bool))) < FLOAT32_ROUNDING


def test_two_pictures_of_one_thing_share_the_target() -> None:
    same = torch.eye(4, dtype=torch.bool)
    same[0, 1] = same[1, 0] = True
    logits = torch.full((4, 4), -200.0).masked_fill(same, 0.0)
    # two rows are split evenly over their two matches, which costs log 2 each; the others cost nothing
    assert float(contrastive_loss(logits, same)) == pytest.approx(math.log(2) / 2, abs=FLOAT32_ROUNDING)


def test_embeddings_are_unit_vectors_and_logits_their_products() -> None:
    torch.manual_seed(0)
    network = DualEncoder().eval()
    images, context = torch.rand(3, 3, 128, 128), torch.randn(3, 17, 384)
    image, text = network.image(images), network.text(context)
    assert torch.allclose(image.norm(dim=1), torch.ones(3), atol=FLOAT32_ROUNDING)
    assert torch.allclose(network(images, context), 14.0 * image @ text.T, atol=1e-4)


def test_padding_does_not_change_a_text() -> None:
    torch.manual_seed(0)
    embedder = TextEmbedder().eval()
    context = torch.randn(2, 9, 384)
    padded = torch.cat([context, torch.zeros(2, 8, 384)], dim=1)
    assert torch.allclose(embedder(context), embedder(padded), atol=FLOAT32_ROUNDING)


def test_roughened_pictures_stay_pictures_and_repeat() -> None:
    images = torch.rand(20, 3, 32, 32)
    first = roughen(images, torch.Generator().manual_seed(3))
    assert torch.equal(first, roughen(images, torch.Generator().manual_seed(3)))
    assert first.shape == images.shape
    assert float(first.min()) >= 0.0 and float(first.max()) <= 1.0
    assert roughen(torch.ones(20, 3, 32, 32), torch.Generator().manual_seed(3)).amin() > 0.5


def test_a_picture_that_is_moved_keeps_its_ink_but_for_the_square_of_its_scale() -> None:
    images = torch.ones(64, 3, 64, 64)
    images[:, :, 24:40, 24:40] = 0.0  # far enough inside for every draw to stay within the picture
    moved = roughen(images, torch.Generator().manual_seed(5))
    clean = moved[moved[:, :, :6].amin((1, 2, 3)) == 1.0]  # the noisy ones are left out
    ink = (1.0 - clean).mean((1, 2, 3)) / (16 / 64) ** 2
    assert len(clean) > 40
    assert 0.8**2 * (1.0 - SCALED_AREA) < float(ink.min()) < 0.7
    assert 1.2 < float(ink.max()) < 1.15**2 * (1.0 + SCALED_AREA)


def test_redrawing_by_a_perfect_denoiser_gives_the_latents_back(tmp_path) -> None:
    schedule, latents = Schedule.of(SCHEDULE), torch.randn(3, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    seen = []

    class Perfect(torch.nn.Module):
        def forward(self, sample, timestep, context):
            seen.append((int(timestep[0]), context[:3].clone(), context[3:].clone()))
            alpha, sigma = schedule.at(timestep)
            return (sample - alpha * torch.cat([latents, latents])) / sigma

    config = redraw.Config(prepared=tmp_path, autoencoder=tmp_path, out=tmp_path)
    prompt = Prompt(torch.randn(3, 17, 384), torch.zeros(1, 17, 384))
    found = redraw.redraw(Perfect(), latents, prompt, config, torch.Generator().manual_seed(2))
    assert (found - latents).abs().max() < SAMPLED_BACK
    first, context, empty = seen[0]
    assert 285 <= first <= 876
    assert torch.equal(context, prompt.context) and not empty.any()


def test_redrawn_pictures_are_read_in_order_and_their_lack_is_named(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"expected pictures of train\.clip\.redraw, found none"):
        read_redrawn(tmp_path)
    for i in range(2):
        part = {"pictures": torch.full((2, 3, 4, 4), i, dtype=torch.uint8), "rows": torch.tensor([i, i + 5])}
        save_file(part | {"captions": torch.tensor([9 + i, 7])}, tmp_path / f"{i:05d}.safetensors")
    found = read_redrawn(tmp_path)
    assert found["rows"].tolist() == [0, 5, 1, 6] and found["captions"].tolist() == [9, 7, 10, 7]
    assert found["pictures"][:, 0, 0, 0].tolist() == [0, 0, 1, 1]
