"""Rows of real things that the judge has not seen: views of objects of the set, and icons, one view each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.consistency.measure import real_icons
from benchmarks.text_to_3d.definitions import Prompt
from benchmarks.text_to_3d.judge import Judge
from benchmarks.text_to_3d.training import grey_of, read_views_on_white
from train.latent_diffusion.objects import hold_out, read_objects

AROUND = 12
"""Views of the set at even azimuths, 30 degrees up, the first from in front."""


@dataclass(frozen=True)
class Seen:
    """What the judge says of one object."""

    prompt: str
    colour: list[list[float]]
    textureless: list[list[float]]
    sides: list[int]


def real_row(folder: Path, judge: Judge, prompts: Sequence[Prompt]) -> list[Seen]:
    """Return what the judge says of held-out objects that have a prompt as one of their captions.

    Their textureless views are imitated: the luminance of the views, with contrasts as in the judge's training, as
    there are no meshes in the set.
    """
    every = read_objects(folder)
    texts = [prompt.text for prompt in prompts]
    named: Mapping[str, list] = {text: [] for text in texts}
    for entry, held in zip(every, hold_out(every).tolist(), strict=True):
        match = [text for text in texts if text in entry.captions]
        if held and match:
            named[match[0]].append(entry)
    rng = np.random.default_rng(0)
    seen = []
    for text, entries in named.items():
        for entry in entries:
            views = read_views_on_white(folder, entry)[:AROUND]
            grey = torch.stack([grey_of(view, rng) for view in views])
            colour = views.float() / 255.0
            shapes = judge.similarities(grey.float() / 255.0, texts)
            seen.append(Seen(text, judge.similarities(colour, texts), shapes, judge.sides(colour, text)))
    return seen


def icon_row(archive: Path, judge: Judge, prompts: Sequence[Prompt]) -> list[Seen]:
    """Return what the judge says of icons of the set that it has not seen, whose names are prompts.

    They tell how well it knows what the set of objects has not. They have no sides.
    """
    texts = [prompt.text for prompt in prompts]
    pictures, rows = real_icons(archive, texts)
    # Without texture they are imitated as real objects are.
    rng = np.random.default_rng(0)
    grey = torch.stack([grey_of((255.0 * icon).round().byte(), rng) for icon in pictures]).float() / 255.0
    colour, shapes = judge.similarities(pictures, texts), judge.similarities(grey, texts)
    return [Seen(texts[i], [own], [shape], []) for i, own, shape in zip(rows, colour, shapes, strict=True)]
