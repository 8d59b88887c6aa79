"""Prompts by view: which words describe a picture of an object that is taken from an angle (arXiv:2209.14988, 3.2).

Azimuth 0 is in front of the object; angles in radians. Notation: r is how far a view is from the next one in [0, 1].
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from runtime.guidance.prompt import Negatives, Prompt

VIEWS = ("front view", "side view", "back view", "overhead view")
"""What is written behind a prompt; `views_of` and `view_weights` count in this order."""

FRONT, SIDE, BACK, OVERHEAD = range(4)


@dataclass(frozen=True, kw_only=True)
class ViewAngles:
    """Where one view ends and the next begins."""

    overhead: float = math.radians(60)
    """Elevation from which on a view is one from overhead; the paper's."""
    front: float = math.radians(45)
    """Largest azimuth of a view from in front; threestudio's."""
    back: float = math.radians(45)
    """Largest angle to the azimuth behind the object of a view from there; threestudio's."""


THRESHOLDS = ViewAngles()
"""The paper's elevation and threestudio's azimuths (`prompt_processors/base.py`)."""

STABLE_DREAMFUSION = ViewAngles(overhead=math.radians(30), front=math.radians(30), back=math.radians(30))
"""stable-dreamfusion's, whose angle_front of 60 degrees is both halves together."""


def views_of(
    azimuth: Float[Tensor, " B"], elevation: Float[Tensor, " B"], angles: ViewAngles = THRESHOLDS
) -> Int64[Tensor, " B"]:
    """Return the index in `VIEWS` of each angle."""
    turned = turn_of(azimuth)
    views = torch.full(azimuth.shape, SIDE)
    views[turned <= angles.front] = FRONT
    views[turned >= math.pi - angles.back] = BACK
    # Last, as seen from above no azimuth counts.
    views[elevation > angles.overhead] = OVERHEAD
    return views


def view_weights(
    azimuth: Float[Tensor, " B"], elevation: Float[Tensor, " B"], angles: ViewAngles = THRESHOLDS
) -> Float[Tensor, "B 4"]:
    """Return how much each of `VIEWS` counts at an angle: linear in azimuth between front, side and back.

    The paper has a weighted combination that depends on the azimuth, and says no more; this is threestudio's.
    """
    quarter = turn_of(azimuth) / (math.pi / 2)
    weights = torch.stack(
        [(1 - quarter).clamp(min=0), 1 - (1 - quarter).abs(), (quarter - 1).clamp(min=0), torch.zeros_like(quarter)], 1
    )
    above = (elevation > angles.overhead)[:, None]
    # Not interpolated: between a side view and one from above the paper has no text, either.
    return torch.where(above, torch.eye(4)[OVERHEAD], weights)


def negatives_of(
    prompt: Prompt, azimuth: Float[Tensor, " B"], elevation: Float[Tensor, " B"], angles: ViewAngles = THRESHOLDS
) -> Negatives:
    """Return the two views that a picture should not show, with weights that vanish where it should (Perp-Neg).

    From in front to the side: front and side; from the side to the back: side and front (arXiv:2304.04968, section 4.2,
    with the decays of threestudio). From overhead: nothing.

    Args:
        prompt: with one text for each of `VIEWS`.
        azimuth: of the cameras.
        elevation: of the cameras.
        angles: of the views.
    """
    quarter = turn_of(azimuth) / (math.pi / 2)
    ahead = quarter < 1
    # r is 1 where the nearer view of the two is reached whole: in front, or at the side.
    r = torch.where(ahead, 1 - quarter, 2 - quarter)
    first = torch.where(ahead, decay("front-side", r), decay("side-back", r))
    second = torch.where(ahead, decay("front-side", 1 - r), decay("front-back", r))
    weights = torch.stack([first, second], 1) * (elevation <= angles.overhead)[:, None]
    pairs = torch.where(ahead[:, None], torch.tensor([FRONT, SIDE]), torch.tensor([SIDE, FRONT]))
    return Negatives(prompt.context[pairs], weights.clamp(min=0))


DECAYS: Mapping[str, tuple[float, float, float]] = MappingProxyType(
    {"front-side": (4, 0.5, -2.426), "side-back": (1, 0.5, -0.606), "front-back": (1, 0.5, 0.967)}
)
"""a, b and c of a exp(-b r) + c: threestudio's perp_neg_f_fs and _sf, _sb, and _fsb."""


def decay(name: str, r: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
    """Return the weight a exp(-b r) + c of a negative at r in [0, 1]."""
    a, b, c = DECAYS[name]
    return a * torch.exp(-b * r) + c


def turn_of(azimuth: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
    """Return the angle, in [0, pi], between azimuths and the front."""
    # Wrapped first: cameras may count their turns beyond a whole one, or below 0.
    return ((azimuth + math.pi) % (2 * math.pi) - math.pi).abs()


def with_cameras(prompt: Prompt, azimuth: Float[Tensor, " B"], elevation: Float[Tensor, " B"]) -> Prompt:
    """Return the prompt of pictures seen by cameras, for a denoiser that is told where they are.

    The last row of a context is then azimuth and elevation in radians, 1, and zeros. The empty text has the same
    cameras: guidance goes towards the text, and away from nothing that the picture is to show.

    Args:
        prompt: with one text, or one for each picture.
        azimuth: of the cameras.
        elevation: of the cameras.
    """
    count = len(azimuth)
    row = torch.zeros(count, prompt.context.shape[-1], dtype=prompt.context.dtype, device=prompt.context.device)
    row[:, :3] = torch.stack([azimuth, elevation, torch.ones_like(azimuth)], 1)

    def seen(context: Float[Tensor, "V N D"]) -> Float[Tensor, "B N D"]:
        return torch.cat([context.expand(count, -1, -1)[:, :-1], row[:, None]], 1)

    texts = prompt.texts if len(prompt.texts) == count else prompt.texts * count
    return Prompt(texts, seen(prompt.context), seen(prompt.empty))


def prompt_of_views(kind: str) -> Callable[[Prompt, Tensor, Tensor], Prompt]:
    """Return what chooses the prompt of pictures by azimuth and elevation, from a prompt with a text for each view.

    Args:
        kind: none: the prompt as it is; nearest: the view's text; mixed: the paper's interpolation; perp-neg: this,
            with the other views as negatives; camera: the angles themselves, for a denoiser that is told them.
    """

    def mixed(prompt: Prompt, azimuth: Tensor, elevation: Tensor) -> Prompt:
        return prompt.mixed(view_weights(azimuth, elevation))

    def perp_neg(prompt: Prompt, azimuth: Tensor, elevation: Tensor) -> Prompt:
        chosen = mixed(prompt, azimuth, elevation)
        return Prompt(chosen.texts, chosen.context, chosen.empty, negatives_of(prompt, azimuth, elevation))

    return {
        "none": lambda prompt, azimuth, elevation: prompt,
        "nearest": lambda prompt, azimuth, elevation: prompt.at(views_of(azimuth, elevation)),
        "mixed": mixed,
        "perp-neg": perp_neg,
        "camera": with_cameras,
    }[kind]
