import numpy as np
import pytest
import torch

from runtime.vector.trace.smoothing import ALMOST_WHITE, despeckle, kuwahara, smooth


def test_despeckling_is_the_median_of_nine_taken_twice() -> None:
    picture = torch.rand(2, 3, 6, 7, generator=torch.Generator().manual_seed(1)) * 0.9  # nothing is almost white
    expected = picture
    for _ in range(2):
        padded = torch.nn.functional.pad(expected, (1, 1, 1, 1), mode="replicate")
        windows = padded.unfold(2, 3, 1).unfold(3, 3, 1).flatten(-2)
        expected = windows.sort(-1).values[..., 4]
    assert torch.equal(despeckle(picture), expected)
    assert torch.equal(despeckle(picture[1]), expected[1])


def test_despeckling_keeps_straight_edges_and_takes_specks_and_rings() -> None:
    flat = torch.full((3, 16, 16), 0.2)
    flat[:, :, 8:] = 0.8
    rough = flat.clone()
    rough[:, 4, 3], rough[1, 12, 12] = 0.9, 0.0  # specks
    assert torch.equal(despeckle(rough), flat)
    ringed = flat.clone()
    ringed[:, :, 7], ringed[:, :, 8] = 0.15, 0.85  # one pixel wide, along the edge
    assert torch.equal(despeckle(ringed)[:, :, :7], flat[:, :, :7])


def test_what_is_almost_white_turns_white_in_all_channels_or_none() -> None:
    picture = torch.full((3, 8, 8), ALMOST_WHITE + 0.01)
    assert torch.equal(smooth(picture), torch.ones(3, 8, 8))
    picture[2] = ALMOST_WHITE - 0.01
    torch.testing.assert_close(smooth(picture), picture)


def test_kuwahara_takes_the_mean_of_the_calmest_corner() -> None:
    picture = torch.rand(1, 3, 5, 6, generator=torch.Generator().manual_seed(2))
    filtered, radius = kuwahara(picture, radius=2), 2
    padded = np.pad(picture[0].numpy().astype(np.float64), ((0, 0), (radius, radius), (radius, radius)), "edge")
    for y in range(5):
        for x in range(6):
            squares = [padded[:, y + a : y + a + 3, x + b : x + b + 3] for a in (0, radius) for b in (0, radius)]
            calmest = min(squares, key=lambda square: square.var((1, 2)).sum())
            assert filtered[0, :, y, x].numpy() == pytest.approx(calmest.mean((1, 2)), abs=1e-6)
    torch.testing.assert_close(kuwahara(picture, radius=2, passes=2), kuwahara(filtered, radius=2))
    assert torch.equal(kuwahara(picture, radius=2, passes=0), picture)


def test_a_soft_edge_becomes_a_hard_one_where_it_was() -> None:
    """A ramp six pixels wide about column 16; afterwards no pixel but those at the edge lies between the levels."""
    ramp = ((torch.arange(32) + 0.5 - 13) / 6).clamp(0, 1) * 0.6 + 0.2
    smoothed = smooth(ramp.expand(3, 32, 32).contiguous())
    torch.testing.assert_close(smoothed[..., :15], torch.full((3, 32, 15), 0.2), atol=0.02, rtol=0)
    torch.testing.assert_close(smoothed[..., 17:], torch.full((3, 32, 15), 0.8), atol=0.02, rtol=0)
    assert float(smoothed.mean()) == pytest.approx(0.5, abs=0.01)


def test_smoothing_a_blurred_disc_gives_most_of_the_disc_back() -> None:
    y, x = torch.meshgrid(torch.arange(64) + 0.5, torch.arange(64) + 0.5, indexing="ij")
    distance = ((x - 30) ** 2 + (y - 34) ** 2).sqrt()
    crisp, soft = ((18 - distance) / width + 0.5 for width in (1.0, 5.0))
    colours = torch.tensor([0.9, 0.2, 0.1])[:, None, None]
    crisp, soft = (1 - part.clamp(0, 1) * (1 - colours) for part in (crisp, soft))
    before, after = ((picture - crisp).abs().mean() for picture in (soft, smooth(soft)))
    assert after < 0.35 * before
