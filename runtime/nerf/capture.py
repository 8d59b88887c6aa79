"""How a capture is read: what `python -m runtime.nerf` and its `inspect` have in common."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from annotated_types import Interval

from runtime.errors import UserError

if TYPE_CHECKING:
    from runtime.field.captures import Capture


@dataclass(frozen=True, kw_only=True)
class CaptureOptions:
    """Which capture, and how it is turned, moved and scaled into the box."""

    capture: Annotated[Path, tyro.conf.Positional] = Path()
    """Folder or file: transforms.json (nerfstudio, instant-ngp, Blender), LLFF, COLMAP, DTU, or an .npz archive."""
    orient: Literal["auto", "up", "pca", "none"] = "auto"
    """up: the cameras' mean upward direction becomes +z; pca: that in which they vary least; none: as it is; auto: as
    the format says."""
    centre: Literal["auto", "poses", "focus", "none"] = "auto"
    """poses: the cameras' mean is the middle; focus: where their axes meet; none: the origin; auto: as the format
    says."""
    half: Annotated[float, Interval(gt=0, le=1e6)] | None = None
    """Half the side of the scene's box, in the capture's units; by default from its cameras and points."""
    convention: Literal["opengl", "opencv", "colmap", "llff"] = "opengl"
    """Axes of the capture's poses, where its format does not say."""


def check_capture(options: CaptureOptions) -> None:
    """Raise `UserError` where no capture is named."""
    if options.capture == Path():
        raise UserError("capture: expected a folder or a file, got none; try benchmarks/capture/transforms.json")


def load(options: CaptureOptions) -> "Capture":
    """Return the capture in its box, but read no pixel of it; a `UserError` says what is wrong with it."""
    from runtime.field.captures import Frame, load_capture

    frame = Frame(orient=options.orient, centre=options.centre, half=options.half)
    return load_capture(options.capture, frame, options.convention)
