"""Each file read, drawn, compared; counted by set."""

import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image

import benchmarks.reading
from benchmarks.environment import describe_environment
from benchmarks.reading.sets import SETS, download, files_of
from runtime.command.options import parse_options
from runtime.errors import UserError

SIDE = 128
"""Longer side in pixels of the pictures that are compared, where no PNG says another."""
FAR = 0.2
"""Difference of a channel that antialiasing does not make over many pixels."""
FINE = 4
"""Pixels along a side that are averaged, where both pictures are drawn larger for it: two ways of antialiasing, and
seams of parts that only meet, count less, and what is wrong as much."""
SHARE = 0.004
"""Share of the pixels that may be far off."""
MEAN = 0.006
"""Mean difference of all channels that two ways of antialiasing make at most."""
OUTCOMES = ("right", "named", "refused", "wrong", "no reference")


@dataclass(frozen=True, kw_only=True)
class Config:
    """What is read."""

    folder: Path | None = None
    """Folder of icon sets."""
    download: bool = False
    """Whether the sets are brought into the folder first."""
    most: int = 1000
    """Files of a set that are read at most."""
    files: Path | None = None
    """Folder of SVG files with or without a PNG beside each, such as resvg's tests; all are read."""
    wrong: Path | None = None
    """Text file to write: outcome, file and reason of all that are not right."""


Pixels = Float[np.ndarray, "H W 3"]


def reference_of(path: Path, data: bytes) -> tuple[Pixels, int] | None:
    """Return how a file should look on white, and how many pixels to average along a side.

    It is the PNG beside the file, else resvg's picture; None where there is neither.
    """
    beside = path.with_suffix(".png")
    if beside.is_file():
        return _on_white(beside.read_bytes()), 1
    import resvg_py

    try:
        text = _enlarged(data.decode())
        # Without its 96 dots an inch, resvg has none, and points and millimetres no length.
        plain = Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=text, dpi=96))), formats=("PNG",))
        zoom = FINE * SIDE / max(plain.size)
        return _on_white(bytes(resvg_py.svg_to_bytes(svg_string=text, zoom=zoom, dpi=96))), FINE
    except (ValueError, ElementTree.ParseError):
        return None


def _enlarged(text: str) -> str:
    """Return a file whose size has fractions of a pixel, which resvg rounds before it zooms, with a larger one."""
    root = ElementTree.fromstring(text)
    box = [float(side) for side in root.get("viewBox", "").replace(",", " ").split()[2:]]
    if len(box) != 2 or "width" in root.attrib or "height" in root.attrib or all(side.is_integer() for side in box):
        return text
    for name, side in zip(("width", "height"), box, strict=True):
        root.set(name, str(round(side * FINE * SIDE / max(box))))
    return ElementTree.tostring(root, encoding="unicode")


def _on_white(png: bytes) -> Pixels:
    rgba = np.asarray(Image.open(io.BytesIO(png), formats=("PNG",)).convert("RGBA")) / 255
    return rgba[..., :3] * rgba[..., 3:] + 1 - rgba[..., 3:]


def _averaged(picture: Pixels, pixels: int) -> Pixels:
    pixels = min(pixels, *picture.shape[:2])
    height, width = (side // pixels for side in picture.shape[:2])
    return picture[: height * pixels, : width * pixels].reshape(height, pixels, width, pixels, 3).mean(axis=(1, 3))


def outcome_of(path: Path) -> tuple[str, str]:
    """Return what became of a file, one of `OUTCOMES`, and why."""
    from runtime.vector.raster import rasterize
    from runtime.vector.svg import parse_svg

    data = path.read_bytes()
    notes: list[str] = []
    try:
        drawing = parse_svg(data, name=path.name, report=notes.append)
    except UserError as error:
        return "refused", str(error)
    reference = reference_of(path, data)
    if reference is None:
        return "no reference", ""
    picture, pixels = reference
    with torch.no_grad():
        ours = rasterize(drawing, picture.shape[:2])[0].clamp(0, 1).permute(1, 2, 0).double().numpy()
    difference = np.abs(_averaged(ours, pixels) - _averaged(picture, pixels))
    far = float((difference.max(axis=2) > FAR).mean())
    if far <= SHARE and difference.mean() <= MEAN:
        return "right", ""
    text = f"mean {difference.mean():.4f}, far off {far:.2%}"
    return ("named", f"{text}; {'; '.join(notes)}") if notes else ("wrong", text)


def groups_of(config: Config) -> Iterator[tuple[str, list[Path]]]:
    """Yield names and files of what is read.

    Raises:
        UserError: there is nothing to read.
    """
    if config.folder is not None:
        if config.download:
            download(config.folder)
        for each in SETS:
            files = files_of(config.folder / each.folder, config.most)
            if not files:
                raise UserError(f"'{config.folder / each.folder}': expected SVG files, got none; give --download")
            yield f"{each.package} {each.version}", files
    if config.files is not None:
        for folder in sorted({path.parent for path in config.files.rglob("*.svg")}):
            yield str(folder.relative_to(config.files).parts[0]), sorted(folder.glob("*.svg"))


def main() -> None:
    """Read, compare, count."""
    config = parse_options(Config, "benchmarks.reading", description=benchmarks.reading.__doc__)
    if config.folder is None and config.files is None:
        raise UserError("expected --folder FOLDER or --files FOLDER, got neither")
    print(describe_environment())
    counts: dict[str, Counter[str]] = {}
    lines = []
    for name, files in groups_of(config):
        for path in files:
            outcome, reason = outcome_of(path)
            counts.setdefault(name, Counter())[outcome] += 1
            if outcome != "right":
                lines.append(f"{outcome}\t{path}\t{reason}\n")
    if config.wrong is not None:
        config.wrong.write_text("".join(lines), "utf-8")
    print(f"| files | read | {' | '.join(OUTCOMES)} |")
    print(f"|{'---|' * (len(OUTCOMES) + 2)}")
    counts["all"] = sum(counts.values(), Counter())
    for name, count in counts.items():
        print(f"| {name} | {count.total()} | {' | '.join(str(count[outcome]) for outcome in OUTCOMES)} |")
