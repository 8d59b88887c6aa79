import pytest
import torch

from benchmarks.pixelnerf.tower import TowerDistance


@pytest.fixture(scope="module")
def distance() -> TowerDistance:
    return TowerDistance()


def test_equal_pictures_are_not_apart_and_noise_is_farther_than_a_small_change(distance: TowerDistance) -> None:
    draws = torch.Generator().manual_seed(0)
    picture = torch.ones(1, 3, 64, 64)
    picture[:, :, 16:48, 16:48] = torch.tensor([0.8, 0.2, 0.1])[:, None, None]
    shifted = picture.roll(2, dims=3)
    noise = torch.rand(1, 3, 64, 64, generator=draws)
    assert distance(picture, picture) == 0
    assert 0 < distance(picture, shifted) < 0.5 * distance(picture, noise)
    # Vectors of unit length are at most 2 apart, squared 4.
    assert distance(picture, noise) <= 4


def test_it_is_the_mean_over_blocks_of_squared_distances_of_unit_features(distance: TowerDistance) -> None:
    draws = torch.Generator().manual_seed(1)
    a, b = torch.rand(2, 2, 3, 64, 64, generator=draws)
    x, y = distance.features(a), distance.features(b)
    assert [level.shape[1] for level in x] == [48, 96, 96, 128, 128]
    # Of unit vectors, |x - y|^2 = 2 - 2 x.y.
    expected = sum(float((2 - 2 * (p * q).sum(1)).mean()) for p, q in zip(x, y, strict=True)) / len(x)
    assert distance(a, b) == pytest.approx(expected, rel=1e-4)
