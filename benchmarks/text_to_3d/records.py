"""What the judge said of each object: a JSON line each, from which all figures are computed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.text_to_3d.definitions import Row


@dataclass(frozen=True, kw_only=True)
class Record:
    """One object by one judge; views go around, elevation by elevation, from the front on."""

    job: str
    """Hash of everything that decides the object."""
    prompt: str
    row: str
    """Method and bundle."""
    seed: int
    sha256: str
    """Of the field."""
    judge: str
    captions: str
    """Hash of the prompts, in order."""
    colour: list[list[float]]
    """Similarity of each view in colour with every prompt."""
    textureless: list[list[float]]
    """The same of the grey mesh."""
    sides: list[int]
    """What the judge takes each view in colour for: 0 the front, 1 a side, 2 the back."""
    hull_share: float | None
    """Volume of the mesh over that of its visual hull; None without a mesh."""
    cpu_s: float
    """Of drawing, without files."""


@dataclass(frozen=True)
class Row3d:
    """A row and the records of its objects, by prompt."""

    row: Row
    records: Mapping[str, Record]


def read_facts(path: Path) -> dict[str, Any] | None:
    """Return what is known of an object that is drawn; None of another one."""
    return json.loads(path.read_text("utf-8")) if path.is_file() else None
