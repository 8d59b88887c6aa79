import torch

from runtime.guidance.repaint import advance, plan_moves
from runtime.guidance.sampler import times
from runtime.guidance.solvers import Ancestral, State
from tests.guidance.linear import SCHEDULE


def test_moves_go_down_and_back_and_end_at_the_picture() -> None:
    assert plan_moves(3, 5, 4) == [(0, 1), (1, 2), (2, 3)]
    assert plan_moves(4, 2, 2) == [(0, 1), (1, 2), (2, 0), (0, 1), (1, 2), (2, 3), (3, 4)]
    assert len(plan_moves(50, 5, 5)) == 50 + 9 * 4 * 6


def correlated(z: torch.Tensor, t: int) -> torch.Tensor:
    """Return eps_hat of two pixels that are normal with deviation 1/2 and correlation 0.8."""
    alpha, sigma = SCHEDULE.alphas[t], SCHEDULE.sigmas[t]
    covariance = 0.25 * torch.tensor([[1.0, 0.8], [0.8, 1.0]], dtype=torch.float64)
    inverse = torch.linalg.inv(alpha**2 * covariance + sigma**2 * torch.eye(2, dtype=torch.float64))
    return sigma * (z.flatten(1) @ inverse).view(z.shape)


def test_the_hidden_pixel_has_the_conditional_distribution() -> None:
    # Given 0.6: mean 0.8 * 0.6, deviation 0.5 * 0.6. RePaint comes nearer to it as it goes back more often.
    once, often = draw(1), draw(8)
    assert abs(often.mean().item() - 0.48) < 0.07
    assert abs(often.std().item() - 0.30) < 0.03
    assert abs(once.mean().item() - 0.48) > 0.1


def draw(resamples: int) -> torch.Tensor:
    """Return the second pixel, drawn where the first one is 0.6."""
    visited, count = times(SCHEDULE, 40), 2000
    sampler = Ancestral(SCHEDULE, visited, kind="fixedsmall")
    x = torch.tensor([[[[0.6, 0.0]]]], dtype=torch.float64)
    hidden = torch.tensor([[False, True]])
    generator = torch.Generator().manual_seed(0)
    state = State(*(torch.randn((count, 1, 1, 2), generator=generator, dtype=torch.float64) for _ in range(2)))
    for move in plan_moves(40, 4, resamples):
        state = advance(sampler, correlated, state, move, x, hidden, generator)
    assert (state.x_hat[..., 0] - 0.6).abs().max() == 0
    return state.x_hat[..., 1]
