"""Which way a prompt or a picture becomes a solid: by inflating its front, or by a network that has seen all sides."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from runtime.errors import UserError
from runtime.lift.config import picture_of
from runtime.loop.events import Note, Report

if TYPE_CHECKING:
    from runtime.engines.bundle import PixelNeRFBundle
    from runtime.lift.config import Config

SMALL = "icons"
"""The bundle whose place the teacher of the route by views takes on its own: it shares all but the denoiser with it."""

_BEHIND = re.compile(
    r"[,;:(]|\b(?:with|without|in|on|at|of|from|to|for|by|under|over|near|that|which|and|full|holding)\b"
)
"""Where the words behind the noun begin."""


def noun_of(text: str) -> str:
    """Return the noun that says what kind of thing a text names, in lower case: "tree" of "a pine tree with snow".

    It is the last word before a comma, a preposition, or "and"; "" where there is none.
    """
    words = re.findall(r"[^\W\d_]+", _BEHIND.split(text.lower(), maxsplit=1)[0])
    return words[-1] if words else ""


def chosen_route(
    config: "Config", sides: "PixelNeRFBundle | None", report: Report = lambda event: None
) -> Literal["inflate", "views"]:
    """Return the route of a configuration; where it was left to the program, a note says which it is and why.

    Args:
        config: of the run.
        sides: the bundle of `--sides`; None where it is not installed.
        report: receives the note.
    """
    if config.route != "auto":
        return config.route
    if picture_of(config) is not None:
        # The network was trained on rendered models, of which a photo is none, and from where it was taken is unknown.
        return "inflate"
    if Path(config.bundle).name not in (SMALL, Path(config.teacher).name):
        # Who asks for a larger model is to get its pictures.
        return "inflate"
    noun = noun_of(config.prompt)
    if sides is None or noun not in sides.manifest.kinds:
        return "inflate"
    why = f"{sides.name} has seen things called '{noun}' from all sides"
    report(Note(f"{why}: --route views; --route inflate takes the front alone"))
    return "views"


def load_sides(config: "Config") -> "PixelNeRFBundle | None":
    """Return the bundle of `--sides`; None where it is not asked for, or asked for by nobody and not there.

    Raises:
        UserError: `--route views` was asked for, and there is no such bundle, or it is of another kind.
    """
    from runtime.engines.bundle import PixelNeRFBundle

    if config.route == "inflate" or (config.route == "auto" and picture_of(config) is not None):
        return None
    try:
        return PixelNeRFBundle.load(config.sides)
    except UserError as error:
        if config.route == "views":
            raise UserError(f"--sides: {error}") from error
        return None
