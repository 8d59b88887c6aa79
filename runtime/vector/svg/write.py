"""Drawings as SVG files: plain paths that Inkscape, Illustrator and browsers edit and show.

Read them back with `runtime.vector.svg.read`.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from runtime.errors import UserError
from runtime.files import replace_file
from runtime.vector.paths import Drawing, Kind

SVG_NAMESPACE = "http://www.w3.org/2000/svg"
"""Namespace of SVG's elements."""

DECIMALS = 3
"""Decimals of a written number: coordinates are off by at most 0.0005 pixels."""

INKSCAPE_NAMESPACE = "http://www.inkscape.org/namespaces/inkscape"
"""Namespace of what marks a group as a layer."""

METADATA_NAMESPACE = "urn:tgm:drawing"
"""Namespace of the metadata's entries."""

_STRAIGHT = 1e-4
"""Distance of controls from the thirds of a chord, in pixels, up to which a segment is written as a line."""

# XML 1.0, section 2.2: no other character may stand in a document, not even escaped.
_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Layer:
    """Paths that follow one another and form a group."""

    identifier: str
    """Its id in the file."""
    name: str
    """What an editor calls it."""
    first: int
    """Its lowest path."""
    count: int
    """Its paths, at least 1."""


def format_svg(
    drawing: Drawing,
    *,
    metadata: Mapping[str, str] | None = None,
    layers: Sequence[Layer] = (),
    transparent: bool = False,
) -> str:
    """Return a drawing as an SVG document, one `<path>` a path in drawing order.

    Colours are rounded to 8 bits a channel, opacities and coordinates to `DECIMALS`.

    Args:
        drawing: one scene (B = 1).
        metadata: entries to keep in the file, such as prompt, seed and version; "prompt" becomes the title.
        layers: groups of paths, see `path_lines`; Inkscape shows them as layers.
        transparent: whether the background is left out.

    Raises:
        ValueError: where the drawing holds several scenes, a number that is not finite, or a stroke of negative width.
    """
    if len(drawing.points) != 1:
        raise ValueError(f"an SVG holds one scene: expected a drawing with B = 1, got {len(drawing.points)}")
    for name in ("points", "colours", "widths", "background"):
        if not getattr(drawing, name).isfinite().all():
            raise ValueError(f"an SVG holds finite numbers: the drawing's {name} are not")
    strokes = [kind == Kind.STROKE for kind in drawing.layout.kinds]
    if (drawing.widths[0, strokes] < 0).any():
        raise ValueError("an SVG holds strokes of widths from 0 on: some of the drawing's widths are negative")
    height, width = drawing.size
    editor = f' xmlns:inkscape="{INKSCAPE_NAMESPACE}"' if layers else ""
    paper = _hex(drawing.background[0].tolist())
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<svg xmlns="{SVG_NAMESPACE}"{editor} width="{width}" height="{height}" viewBox="0 0 {width} {height}">',
        *_metadata_lines(metadata or {}),
        # The reader takes an opaque rectangle over the whole canvas for the background.
        *([] if transparent else [f'<rect id="background" width="{width}" height="{height}" fill="{paper}"/>']),
        *path_lines(drawing, layers=layers),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def write_svg(
    path: Path | str,
    drawing: Drawing,
    *,
    metadata: Mapping[str, str] | None = None,
    layers: Sequence[Layer] = (),
    transparent: bool = False,
) -> None:
    """Write a drawing as an SVG file: whole, or not at all; arguments as of `format_svg`.

    Raises:
        UserError: where the file cannot be written.
        ValueError: as `format_svg`.
    """
    text = format_svg(drawing, metadata=metadata, layers=layers, transparent=transparent)
    try:
        replace_file(Path(path), text)
    except OSError as error:
        raise UserError(f"cannot write '{path}': {error.strerror}; choose another folder or name") from None


def _metadata_lines(metadata: Mapping[str, str]) -> Iterator[str]:
    if "prompt" in metadata:
        yield f"<title>{_text(metadata['prompt'])}</title>"
    if metadata:
        yield f'<metadata><drawing xmlns="{METADATA_NAMESPACE}">'
        for name, value in metadata.items():
            yield f"<entry name={_attribute(name)}>{_text(value)}</entry>"
        yield "</drawing></metadata>"


def path_lines(
    drawing: Drawing,
    *,
    named: bool = True,
    background: bool = False,
    layers: Sequence[Layer] = (),
) -> Iterator[str]:
    """Yield the lines of a drawing's paths, in drawing order.

    Args:
        drawing: one scene.
        named: whether each path has an id.
        background: whether the background comes first.
        layers: groups of paths that follow one another, from the first path to the last; empty: no groups.
    """
    height, width = drawing.size
    if background:
        yield f'<rect width="{width}" height="{height}" fill="{_hex(drawing.background[0].tolist())}"/>'
    opening = {layer.first: layer for layer in layers}
    closing = {layer.first + layer.count - 1 for layer in layers}
    for path, line in enumerate(_path_lines(drawing, named)):
        if path in opening:
            layer = opening[path]
            yield f"<g id={_attribute(layer.identifier)} inkscape:groupmode={_attribute('layer')} " + (
                f"inkscape:label={_attribute(layer.name)}>"
            )
        yield line
        if path in closing:
            yield "</g>"


def _path_lines(drawing: Drawing, named: bool) -> Iterator[str]:
    points, colours, widths = drawing.points[0].tolist(), drawing.colours[0].tolist(), drawing.widths[0].tolist()
    layout = drawing.layout
    for path, kind in enumerate(layout.kinds):
        corners = points[layout.path_slice(path)]
        data = _path_data(kind, layout.contours[path], corners)
        paint = _paint(kind, colours[path], widths[path])
        if kind == Kind.RECTANGLE and all(value.is_integer() for corner in corners for value in corner):
            paint += ' shape-rendering="crispEdges"'  # no seams between squares of pixel art at any zoom
        name = f'id="path-{path + 1}" ' if named else ""
        yield f'<path {name}{paint} d="{data}"/>'


def _paint(kind: Kind, colour: list[float], width: float) -> str:
    """Return the presentation attributes of a path."""
    name = "stroke" if kind == Kind.STROKE else "fill"
    paint = f'{name}="{_hex(colour[:3])}"'
    if _number(colour[3]) != "1":
        paint += f' {name}-opacity="{_number(min(max(colour[3], 0.0), 1.0))}"'
    match kind:
        case Kind.STROKE:
            # The rasterizer's caps and joins are round, SVG's are straight and mitred by default.
            round_ends = 'stroke-linecap="round" stroke-linejoin="round"'
            return f'fill="none" {paint} stroke-width="{_number(width)}" {round_ends}'
        case Kind.EVENODD:
            return f'{paint} fill-rule="evenodd"'
        case Kind.RECTANGLE:
            # A path of four lines does not say that it has to stay a rectangle; the reader knows it by this mark.
            return f'{paint} data-kind="rectangle"'
        case _:
            return paint


def _path_data(kind: Kind, contours: tuple[int, ...], points: list[list[float]]) -> str:
    if kind == Kind.RECTANGLE:
        left, top, right, bottom = (_number(value) for point in points for value in point)
        return f"M{left} {top}H{right}V{bottom}H{left}Z"
    data, first = [], 0
    for segments in contours:
        if kind == Kind.STROKE:
            contour, end = points[first : first + 3 * segments + 1], ""
        else:
            contour, end = [*points[first : first + 3 * segments], points[first]], "Z"
        data.append(f"M{_pairs(contour[:1])}{_segments(contour, closed=bool(end))}{end}")
        first += 3 * segments + (kind == Kind.STROKE)
    return "".join(data)


def _segments(points: list[list[float]], *, closed: bool) -> str:
    """Return the commands of a contour: lines where controls lie at the thirds of the chord, else cubic curves."""
    commands: list[str] = []
    letter = ""
    for first in range(0, len(points) - 1, 3):
        start, *controls, end = points[first : first + 4]
        if not _is_line(start, controls[0], controls[1], end):
            commands.append(f"{' ' if letter == 'C' else 'C'}{_pairs([*controls, end])}")
            letter = "C"
        elif closed and first == len(points) - 4:
            break  # the contour's end draws this line
        else:
            before, after = ([_number(value) for value in point] for point in (start, end))
            letter = "H" if before[1] == after[1] else "V" if before[0] == after[0] else "L"
            commands.append(letter + {"H": after[0], "V": after[1], "L": " ".join(after)}[letter])
    return "".join(commands)


def _is_line(start: list[float], first: list[float], second: list[float], end: list[float]) -> bool:
    # A segment of no length stays a curve: readers drop such lines, and the structure with them.
    if math.hypot(end[0] - start[0], end[1] - start[1]) < 0.01:
        return False
    return all(
        abs(control[axis] - start[axis] - third * (end[axis] - start[axis]) / 3) <= _STRAIGHT
        for third, control in ((1, first), (2, second))
        for axis in (0, 1)
    )


def _pairs(points: list[list[float]]) -> str:
    return " ".join(f"{_number(x)} {_number(y)}" for x, y in points)


def _number(value: float) -> str:
    """Return the shortest decimal within half a unit of the last place of `DECIMALS`."""
    # There always is a dot: without one, stripping zeros would turn 100 into 1.
    text = f"{value:.{DECIMALS}f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def _hex(colour: list[float]) -> str:
    return "#" + "".join(f"{math.floor(min(max(channel, 0.0), 1.0) * 255 + 0.5):02x}" for channel in colour)


def _text(value: str) -> str:
    return escape(_NOT_IN_XML.sub("\ufffd", value))


def _attribute(value: str) -> str:
    return quoteattr(_NOT_IN_XML.sub("\ufffd", value))
