"""Each picture traced by each way, drawn by resvg, compared."""

import io
import math
import re
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import tyro
from jaxtyping import Float
from PIL import Image

import benchmarks.vectorize
from benchmarks.environment import describe_environment
from runtime.command.options import parse_options
from runtime.errors import UserError

PICTURES = Path(__file__).parent / "pictures"
EXACT = 90.0
"""PSNR in dB that stands for no difference."""
SHADED = ("ball", "noisy")
"""Pictures that are not flat."""

Pixels = Float[np.ndarray, "H W 4"]


@dataclass(frozen=True, kw_only=True)
class Config:
    """What is traced and beside whom."""

    pictures: Path = PICTURES
    """Folder of PNG files."""
    peer: Literal["none", "vtracer"] = "none"
    """Who else traces them."""
    contours: tyro.conf.FlagCreatePairsOff[bool] = True
    """Ours begins with contours; without, it traces all as LIVE does."""
    only: str = ""
    """Trace only the pictures whose name contains this."""
    sheet: Path | None = None
    """PNG file to write: each picture, ours, the peer's."""


@dataclass(frozen=True)
class Row:
    """What came of tracing one picture one way."""

    psnr: float
    paths: int
    nodes: int
    bytes: int
    seconds: float
    drawn: Pixels


def ours(picture: Path, out: Path, contours: bool) -> None:
    """Write a picture as `runtime.vectorize` traces it."""
    from runtime.command.method import draw
    from runtime.vectorize import METHOD
    from runtime.vectorize.config import Config as Options

    options = Options(picture=picture, contours=contours)
    METHOD.write(options, None, draw(METHOD, options), out)


def vtraced(picture: Path, out: Path) -> None:
    """Write a picture as vtracer traces it.

    Raises:
        UserError: it is not installed.
    """
    try:
        import vtracer  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise UserError("vtracer: expected the package, got none; install it with 'pip install vtracer'") from None
    vtracer.convert_image_to_svg_py(str(picture), str(out))


def drawn(text: str) -> Pixels:
    """Return an SVG as resvg draws it, straight alpha."""
    import resvg_py

    png = bytes(resvg_py.svg_to_bytes(svg_string=text))
    return np.asarray(Image.open(io.BytesIO(png), formats=("PNG",)).convert("RGBA")) / 255


def psnr(a: Pixels, b: Pixels) -> float:
    """Return the PSNR of two pictures in dB, over white and over black together; at most `EXACT`."""
    errors = []
    for paper in (0.0, 1.0):
        one, two = (x[..., :3] * x[..., 3:] + paper * (1 - x[..., 3:]) for x in (a, b))
        errors.append(((one - two) ** 2).mean())
    return min(EXACT, -10 * math.log10(max(float(np.mean(errors)), 1e-12)))


def nodes_of(text: str) -> int:
    """Return how many segments the paths of an SVG file have, as it is written."""
    count = 0
    for data in re.findall(r'\bd="([^"]*)"', text):
        for letter, numbers in re.findall(r"([A-Za-z])([^A-Za-z]*)", data):
            size = len(re.findall(r"[-+]?(?:\d+\.?\d*|\.\d+)", numbers))
            count += {"C": size // 6, "L": size // 2, "H": size, "V": size, "Z": 1}.get(letter.upper(), 0)
    return count


def row_of(picture: Path, way: Callable[[Path, Path], None]) -> Row:
    """Return what a way makes of a picture."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "a.svg"
        way(picture, out)
        begin = time.process_time()
        way(picture, out)
        seconds = time.process_time() - begin
        text = out.read_text("utf-8")
    reference = np.asarray(Image.open(picture, formats=("PNG",)).convert("RGBA")) / 255
    result = drawn(text)
    return Row(psnr(result, reference), text.count("<path"), nodes_of(text), len(text.encode()), seconds, result)


def main() -> None:
    """Trace, measure, print."""
    config = parse_options(Config, "benchmarks.vectorize", description=benchmarks.vectorize.__doc__)
    files = [file for file in sorted(config.pictures.glob("*.png")) if config.only in file.stem]
    if not files:
        raise UserError(f"'{config.pictures}': expected PNG files whose names contain '{config.only}', got none")
    ways: list[Callable[[Path, Path], None]] = [lambda picture, out: ours(picture, out, config.contours)]
    if config.peer == "vtracer":
        ways.append(vtraced)
    print(describe_environment())
    print(f"| picture | {' | '.join(['PSNR', 'paths', 'nodes', 'bytes', 'CPU s'] * len(ways))} |")
    print(f"|{'---|' * (5 * len(ways) + 1)}")
    table = []
    for file in files:
        rows = [row_of(file, way) for way in ways]
        table.append((file, rows))
        cells = [f"{row.psnr:.1f} | {row.paths} | {row.nodes} | {row.bytes} | {row.seconds:.3f}" for row in rows]
        print(f"| {file.stem} | {' | '.join(cells)} |", flush=True)
    if len(ways) > 1:
        _summarize([(file.stem, rows) for file, rows in table])
    if config.sheet is not None:
        _sheet([(file, rows) for file, rows in table]).save(config.sheet)


def _summarize(table: list[tuple[str, list[Row]]]) -> None:
    """Print in how many flat pictures ours is better."""
    pairs = [(rows[0], rows[1]) for name, rows in table if name not in SHADED]
    better = sum(a.psnr > b.psnr or a.psnr == EXACT for a, b in pairs)
    few = sum(a.paths <= 2 * b.paths for a, b in pairs)
    small = sum(a.bytes < b.bytes for a, b in pairs)
    fast = sum(a.seconds < 1 for a, _ in pairs)
    print(
        f"of {len(pairs)} flat pictures: PSNR higher, or exact, in {better}; at most twice the paths in {few}; ", end=""
    )
    print(f"fewer bytes in {small}; under a CPU second in {fast}")


def _sheet(table: list[tuple[Path, list[Row]]], side: int = 256) -> Image.Image:
    """Return pictures beside what became of them, over grey."""
    columns = 1 + max(len(rows) for _, rows in table)
    sheet = Image.new("RGB", (columns * side, len(table) * side), (224, 224, 224))
    for index, (file, rows) in enumerate(table):
        images = [Image.open(file, formats=("PNG",)).convert("RGBA")]
        images += [Image.fromarray((row.drawn * 255).round().astype(np.uint8), "RGBA") for row in rows]
        for column, image in enumerate(images):
            scale = (side - 8) / max(image.size)
            size = (max(round(image.width * scale), 1), max(round(image.height * scale), 1))
            small = image.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS)
            sheet.paste(small, (column * side + 4, index * side + 4), small)
    return sheet
