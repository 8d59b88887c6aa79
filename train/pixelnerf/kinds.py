"""The kinds of objects of a set, as nouns: what a bundle that was trained on it says it knows."""

from collections.abc import Iterable

from runtime.lift.route import noun_of
from train.latent_diffusion.objects import SeenObject

_NONE = (
    "a base bottom bunch bundle cut digit end formation group half inu module outline pack piece pieces pile range row"
)
_COUNTS = "eight nine number seven set six stack structure three top tuft two unit zero"
NO_KINDS = frozenset([*_NONE.split(), *_COUNTS.split()])
"""Nouns of captions that name no kind of thing."""


def kinds_of(objects: Iterable[SeenObject]) -> tuple[str, ...]:
    """Return the nouns of the captions of a set's trained objects, each once, in alphabetical order."""
    nouns = {noun_of(caption) for entry in objects if entry.split == "train" for caption in entry.captions}
    return tuple(sorted(nouns - NO_KINDS - {""}))
