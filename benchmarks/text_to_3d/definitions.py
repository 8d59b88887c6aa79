"""The prompts, the rows that draw them, and the thesis' Tables 4.1 and 4.2."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True)
class Prompt:
    """What is drawn."""

    text: str
    in_objects: bool
    """Whether the set of objects has such things, some of which the judge has not seen."""
    has_front: bool
    """Whether it looks different from the front and from behind, so that a Janus score means something."""


def read_prompts(path: Path) -> tuple[Prompt, ...]:
    """Return the prompts of a file: a line each, with `objects` or `new`, and `front` or `-`, behind tabs."""
    lines = [line.split("\t") for line in path.read_text("utf-8").splitlines() if line]
    return tuple(Prompt(text, where == "objects", front == "front") for text, where, front in lines)


PROMPTS = read_prompts(Path(__file__).with_name("prompts.txt"))
"""The 32 prompts; all of them are possible answers."""


@dataclass(frozen=True)
class Row:
    """A method with its options."""

    name: str
    method: Literal["lift", "dreamfusion", "dreamfields"]
    options: Mapping[str, Any] = field(default_factory=dict)
    """What differs from the command's default."""
    bundle: str = "icons"
    """Networks."""
    published: float | None = None
    """R-Precision of the thesis in percent: by CLIP B/32, of 153 captions."""
    count: int = 0
    """Objects behind that figure."""


@dataclass(frozen=True)
class Table:
    """Rows in their order."""

    title: str
    rows: tuple[Row, ...]


NO_PRIORS: Mapping[str, Any] = {
    "network": "plain",
    "ipe": False,
    "basis": "axes",
    "crop": (1.0, 1.0),
    "sparsity": "none",
    "background": "white",
    "bounds": False,
    "track_origin": False,
}
"""Dream Fields without any of its priors: the simplified NeRF of Table 4.1."""

BY_TARGETS: Mapping[str, Any] = {"target_every": 5, "upper_t": (950, 200), "steps": 480}
"""DreamFusion's field after pictures of ten calls each, in place of score distillation."""

_STEPS: tuple[tuple[str, Mapping[str, Any], float], ...] = (
    ("simplified NeRF", {}, 31.4),
    ("+ mip-NeRF IPE", {"ipe": True}, 29.7),
    ("+ Fourier features", {"basis": "fourier"}, 24.2),
    ("+ random crops", {"crop": (0.84, 0.84)}, 25.8),
    ("+ transmittance loss", {"sparsity": "additive"}, 23.7),
    ("+ background augmentation", {"background": "random"}, 44.1),
    ("+ MLP architecture", {"network": "residual"}, 52.0),
    ("+ scene bounds", {"bounds": True}, 65.4),
    ("+ tracked origin", {"track_origin": True}, 59.8),
)


def cumulative_rows() -> tuple[Row, ...]:
    """Return the rows of Table 4.1: each has the priors of those before it, too."""
    rows, options = [], dict(NO_PRIORS)
    for name, change, published in _STEPS:
        options |= change
        rows.append(Row(name, "dreamfields", dict(options), published=published, count=306))
    return tuple(rows)


def _sparsity(name: str, option: str, published: float) -> Row:
    return Row(name, "dreamfields", {"sparsity": option}, published=published, count=153)


TABLES: Mapping[str, Table] = {
    "rows": Table(
        "text to 3D",
        (
            Row("lift", "lift", {"route": "inflate", "refine": 0}),
            Row("lift + refine", "lift", {"route": "inflate"}),
            Row("lift by views", "lift", {"route": "views", "refine": 0}),
            Row("lift by views + refine", "lift", {"route": "views"}),
            Row("DreamFusion, front-only teacher", "dreamfusion"),
            Row("DreamFusion, camera teacher", "dreamfusion", bundle="objects"),
            Row("DreamFusion by targets, camera teacher", "dreamfusion", BY_TARGETS, bundle="objects"),
            Row("Dream Fields", "dreamfields"),
            Row("no prior but the field", "dreamfields", NO_PRIORS),
        ),
    ),
    "4.1": Table("Dream Fields' priors, one after the other", cumulative_rows()),
    "4.2": Table(
        "Dream Fields' sparsity",
        (
            _sparsity("no regularizer", "none", 35.3),
            _sparsity("perturbed density", "noise", 47.7),
            _sparsity("beta prior", "beta", 50.3),
            _sparsity("gated T", "gated", 34.6),
            _sparsity("clipped gated T", "clipped", 62.1),
            _sparsity("clipped additive T", "additive", 62.1),
        ),
    ),
}
"""By the value of `--table`."""
