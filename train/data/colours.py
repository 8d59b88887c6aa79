"""Name the dominant colour of a picture, and turn it into another.

Captioned icons rarely say their colour. Naming it, and drawing every icon in other colours under a caption that says
so, is what teaches a model that "a blue heart" is blue.

Notation: ``rgba`` is (H, W, 4) float32 in [0, 1], straight alpha. Hues are in turns, [0, 1).
"""

from dataclasses import dataclass

import numpy as np
from matplotlib.colors import hsv_to_rgb, rgb_to_hsv

_BINS = 36
_WINDOW = 0.09  # half-width, in turns, of the hues that count as one colour


@dataclass(frozen=True, kw_only=True)
class Paint:
    """A named colour and what it does to a pixel's hue, saturation and value.

    Attributes:
        hue: target hue in turns.
        saturation: factor on saturation (0 gives a grey).
        value: (gain, offset) on value.
    """

    hue: float
    saturation: float = 1.0
    value: tuple[float, float] = (1.0, 0.0)


PALETTE = {
    "red": Paint(hue=0.99, saturation=1.15),
    "orange": Paint(hue=0.075, saturation=1.15, value=(0.5, 0.5)),
    "yellow": Paint(hue=0.135, saturation=1.1, value=(0.35, 0.65)),
    "green": Paint(hue=0.36, saturation=1.0, value=(0.9, 0.0)),
    "blue": Paint(hue=0.59, saturation=1.1),
    "purple": Paint(hue=0.77, saturation=0.95),
    "pink": Paint(hue=0.92, saturation=0.65, value=(0.4, 0.6)),
    "brown": Paint(hue=0.06, saturation=0.85, value=(0.6, 0.0)),
    "black": Paint(hue=0.0, saturation=0.08, value=(0.3, 0.02)),
    "white": Paint(hue=0.6, saturation=0.08, value=(0.25, 0.72)),
    "grey": Paint(hue=0.6, saturation=0.1, value=(0.75, 0.0)),
}


def _circular_distance(hue: np.ndarray, to: float) -> np.ndarray:
    return np.abs((hue - to + 0.5) % 1.0 - 0.5)


def dominant_hue(rgba: np.ndarray) -> tuple[float, float]:
    """Return the hue that most of the coloured pixels share, and its share of the visible pixels.

    Args:
        rgba: (H, W, 4) float32 in [0, 1].

    Returns:
        The hue in turns, and the fraction in [0, 1] of visible pixels within 0.09 turns of it (0 where nothing is
        coloured).
    """
    visible = rgba[..., 3] > 0.5
    if not visible.any():
        return 0.0, 0.0
    hue, saturation, value = np.moveaxis(rgb_to_hsv(rgba[..., :3][visible]), -1, 0)
    coloured = (saturation > 0.25) & (value > 0.2)
    if not coloured.any():
        return 0.0, 0.0
    counts, _ = np.histogram(hue[coloured], bins=_BINS, range=(0.0, 1.0))
    smooth = counts + np.roll(counts, 1) + np.roll(counts, -1)
    centre = (int(smooth.argmax()) + 0.5) / _BINS
    offset = (hue - centre + 0.5) % 1.0 - 0.5
    peak = float(centre + np.median(offset[coloured & (np.abs(offset) < _WINDOW)])) % 1.0
    return peak, float((coloured & (_circular_distance(hue, peak) < _WINDOW)).mean())


def name_colour(rgba: np.ndarray, share: float = 0.5) -> str | None:
    """Return the name of the colour that covers at least `share` of the visible pixels, or None.

    Args:
        rgba: (H, W, 4) float32 in [0, 1].
        share: the least fraction in (0, 1].
    """
    visible = rgba[..., 3] > 0.5
    if not visible.any():
        return None
    hue, saturation, value = np.moveaxis(rgb_to_hsv(rgba[..., :3][visible]), -1, 0)
    grey = saturation < 0.18
    for name, inside in (("black", value < 0.35), ("white", value > 0.82), ("grey", (value >= 0.35) & (value <= 0.82))):
        if (grey & inside).mean() >= share:
            return name
    peak, fraction = dominant_hue(rgba)
    if fraction < share:
        return None
    near = (_circular_distance(hue, peak) < _WINDOW) & (saturation > 0.25)
    return _name_of(peak, float(np.median(saturation[near])), float(np.median(value[near])))


def _name_of(hue: float, saturation: float, value: float) -> str:
    if 0.02 < hue < 0.12 and value < 0.68:
        return "brown"
    if (hue > 0.9 or hue < 0.03) and saturation < 0.55 and value > 0.8:
        return "pink"
    bounds = ((0.04, "red"), (0.108, "orange"), (0.19, "yellow"), (0.46, "green"), (0.70, "blue"), (0.84, "purple"))
    return next((name for bound, name in bounds if hue < bound), "pink" if hue < 0.945 else "red")


def repaint(rgba: np.ndarray, colour: str) -> np.ndarray:
    """Return the picture with its dominant colour turned into another and the rest left alone.

    Args:
        rgba: (H, W, 4) float32 in [0, 1].
        colour: a name in `PALETTE`.
    """
    peak, _ = dominant_hue(rgba)
    paint = PALETTE[colour]
    hsv = rgb_to_hsv(rgba[..., :3])
    weight = np.clip(2.0 - _circular_distance(hsv[..., 0], peak) / _WINDOW, 0.0, 1.0) * (hsv[..., 1] > 0.12)
    target = hsv.copy()
    target[..., 0] = (hsv[..., 0] - peak + paint.hue) % 1.0
    target[..., 1] = np.clip(hsv[..., 1] * paint.saturation, 0.0, 1.0)
    target[..., 2] = np.clip(hsv[..., 2] * paint.value[0] + paint.value[1], 0.0, 1.0)
    out = rgba.copy()
    mix = weight[..., None]
    out[..., :3] = (1.0 - mix) * rgba[..., :3] + mix * hsv_to_rgb(target)
    return out.astype(np.float32)
