"""Tracing as a function, for Python."""

from pathlib import Path
from typing import Any

from runtime.command.method import draw
from runtime.vector.paths import Drawing
from runtime.vectorize.config import Config
from runtime.vectorize.method import METHOD


def vectorize(picture: str | Path, **options: Any) -> Drawing:
    """Return the drawing that traces a picture file.

    Args:
        picture: PNG, JPEG, WebP, GIF or BMP.
        **options: fields of `runtime.vectorize.Config`.

    Raises:
        UserError: an option is out of range or the picture cannot be read.
    """
    scene: Any = draw(METHOD, Config(picture=Path(picture), **options))
    return scene.drawing().detach()
