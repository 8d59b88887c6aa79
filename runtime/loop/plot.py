"""A loss curve as a small SVG, without a plotting library."""

import math
from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT, _MARGIN = 720, 240, 44


def loss_picture(records: Sequence[Mapping[str, Any]]) -> str:
    """Return an SVG of loss against step, one panel a stage side by side, each with its own scale.

    Args:
        records: as in loss.jsonl: `stage` (number), `name`, `step`, `loss` (finite).
    """
    stages: dict[int, list[Mapping[str, Any]]] = {}
    for record in records:
        stages.setdefault(record["stage"], []).append(record)
    panel = (_WIDTH - _MARGIN) / max(1, len(stages))
    parts = [_panel(rows, _MARGIN + i * panel, panel) for i, rows in enumerate(stages.values())]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" font-family="sans-serif" '
        f'font-size="9"><rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>\n'
    )


def _panel(rows: Sequence[Mapping[str, Any]], left: float, width: float) -> str:
    """Return one stage's curve and its labels."""
    width -= 6
    losses = [row["loss"] for row in rows]
    low, high = min(losses), max(losses)
    span, bottom, top = (high - low) or 1.0, _HEIGHT - 24, 24
    last = max(1, len(rows) - 1)
    stride = math.ceil(len(rows) / 400)
    points = " ".join(
        f"{left + width * i / last:.1f},{bottom - (bottom - top) * (losses[i] - low) / span:.1f}"
        for i in range(0, len(rows), stride)
    )
    labels = [(left, 12, f"{rows[0]['name']}"), (left, _HEIGHT - 8, f"{rows[0]['step']} to {rows[-1]['step']}")]
    labels += [(left + 2, top - 2, f"{high:.3g}"), (left + 2, bottom + 8, f"{low:.3g}")]
    text = "".join(f'<text x="{x:.0f}" y="{y:.0f}">{escape(label)}</text>' for x, y, label in labels)
    frame = f'<rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="{bottom - top}" fill="none" stroke="#ccc"/>'
    return f'{frame}<polyline points="{points}" fill="none" stroke="#246" stroke-width="1"/>{text}'
