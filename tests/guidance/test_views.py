import math

import pytest
import torch

from runtime.guidance.prompt import Prompt
from runtime.guidance.views import (
    BACK,
    FRONT,
    OVERHEAD,
    SIDE,
    STABLE_DREAMFUSION,
    VIEWS,
    negatives_of,
    prompt_of_views,
    view_weights,
    views_of,
)
from tests.tolerance import FLOAT32_ROUNDING


def radians(*degrees: float) -> torch.Tensor:
    return torch.tensor(degrees) * math.pi / 180


def prompt() -> Prompt:
    """Return a prompt whose context for each view is a unit vector."""
    return Prompt(VIEWS, torch.eye(4)[:, None], torch.zeros(1, 1, 4))


AROUND = radians(0, 44, -44, 46, -90, 134, 136, 180, -180, 359)


def test_the_nearest_view_is_named() -> None:
    level = torch.zeros(len(AROUND))
    expected = [FRONT, FRONT, FRONT, SIDE, SIDE, SIDE, BACK, BACK, BACK, FRONT]
    assert views_of(AROUND, level).tolist() == expected
    assert views_of(AROUND, radians(61).expand(10)).tolist() == [OVERHEAD] * 10
    assert views_of(radians(0, 31), radians(20, 20), STABLE_DREAMFUSION).tolist() == [FRONT, SIDE]
    assert views_of(radians(0), radians(31), STABLE_DREAMFUSION).tolist() == [OVERHEAD]
    chosen = prompt_of_views("nearest")(prompt(), AROUND, level)
    assert chosen.texts == tuple(VIEWS[view] for view in expected)
    assert prompt_of_views("none")(prompt(), AROUND, level).texts == VIEWS


def test_weights_are_linear_between_views() -> None:
    azimuths = radians(0, 30, -30, 90, 135, 180, 10)
    weights = view_weights(azimuths, radians(0, 0, 0, 0, 0, 0, 75))
    third = 1 / 3
    expected = [
        [1, 0, 0, 0],
        [1 - third, third, 0, 0],
        [1 - third, third, 0, 0],
        [0, 1, 0, 0],
        [0, 0.5, 0.5, 0],
        [0, 0, 1, 0],
        [0, 0, 0, 1],
    ]
    assert torch.allclose(weights, torch.tensor(expected), atol=FLOAT32_ROUNDING)
    mixed = prompt_of_views("mixed")(prompt(), radians(30), radians(0))
    assert mixed.texts == ("front view",)
    assert torch.allclose(mixed.context, torch.tensor([[[1 - third, third, 0, 0]]]), atol=FLOAT32_ROUNDING)


def test_views_that_should_not_be_seen() -> None:
    found = negatives_of(prompt(), radians(0, 45, 90.01, 135, 180, 0), radians(0, 0, 0, 0, 0, 80))
    pairs = found.context.argmax(-1)[:, :, 0].tolist()
    assert pairs == [[FRONT, SIDE], [FRONT, SIDE], [SIDE, FRONT], [SIDE, FRONT], [SIDE, FRONT], [FRONT, SIDE]]
    half = math.exp(-0.25)
    expected = torch.tensor(
        [
            # In front the front may be seen; the side may not.
            [0.0, 4 - 2.426],
            [4 * half - 2.426, 4 * half - 2.426],
            # At the side the side may be seen, the front less than anywhere.
            [0.0, math.exp(-0.5) + 0.967],
            [half - 0.606, half + 0.967],
            [1 - 0.606, 1 + 0.967],
            [0.0, 0.0],
        ]
    )
    assert torch.allclose(found.weights, expected, atol=1e-3)
    assert (found.weights >= 0).all()


def test_perp_neg_is_the_mixture_with_negatives() -> None:
    angles = radians(60), radians(0)
    chosen, mixed = (prompt_of_views(kind)(prompt(), *angles) for kind in ("perp-neg", "mixed"))
    assert torch.equal(chosen.context, mixed.context)
    assert chosen.negatives is not None and mixed.negatives is None
    assert torch.equal(chosen.negatives.weights, negatives_of(prompt(), *angles).weights)


def test_there_is_no_other_way() -> None:
    with pytest.raises(KeyError):
        prompt_of_views("sideways")
