# ruff: noqa: E501
"""The committed pictures, of shapes of our own: `python -m benchmarks.vectorize.make_pictures` (needs resvg-py).

Each is an SVG text that resvg turns into a PNG; those of hard edges, of noise and of gradients are made of arrays.
"""

import io
import math
from pathlib import Path

import numpy as np
import resvg_py
from PIL import Image, ImageDraw

FOLDER = Path(__file__).parent / "pictures"


def svg(side: int, body: str, paper: str | None = "#ffffff", height: int | None = None) -> str:
    """Return an SVG text of a canvas."""
    height = height or side
    rect = "" if paper is None else f'<rect width="{side}" height="{height}" fill="{paper}"/>'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{side}" height="{height}">'
    return f"{head}{rect}{body}</svg>"


def star(x: float, y: float, outer: float, inner: float, points: int, turn: float = 0.0) -> str:
    """Return the path data of a star."""
    corners = []
    for k in range(2 * points):
        radius, angle = (outer, inner)[k % 2], math.pi * k / points - math.pi / 2 + turn
        corners.append(f"{x + radius * math.cos(angle):.2f} {y + radius * math.sin(angle):.2f}")
    return f"M{'L'.join(corners)}Z"


def dots(columns: int, rows: int, step: float, radius: float) -> str:
    """Return a grid of discs of alternating colours."""
    colours = ("#d1495b", "#00798c", "#edae49")
    return "".join(
        f'<circle cx="{step * (c + 0.5):.2f}" cy="{step * (r + 0.5):.2f}" r="{radius}" fill="{colours[(r + c) % 3]}"/>'
        for r in range(rows)
        for c in range(columns)
    )


logo = (
    '<circle cx="128" cy="128" r="100.5" fill="#1d3557"/><path d="M60 150C90 60 160 60 196 150Z" fill="#e63946"/>'
    '<rect x="92.3" y="160.6" width="71.4" height="22.2" fill="#f1faee"/>'
)
mug = (
    '<path d="M60 70H150V170C150 190 135 200 105 200C75 200 60 190 60 170Z" fill="#bc4749"/>'
    '<path d="M150 90C200 85 200 160 150 155V138C178 140 178 104 150 108Z" fill="#bc4749"/>'
    '<ellipse cx="105" cy="70" rx="45" ry="12" fill="#6a994e"/><ellipse cx="105" cy="70" rx="36" ry="8" fill="#386641"/>'
)
flag = "".join(
    f'<rect y="{40 * k}" width="240" height="40" fill="{c}"/>'
    for k, c in enumerate(("#d62828", "#f8f8f8", "#003049", "#f8f8f8"))
)
face = (
    '<circle cx="96" cy="96" r="80" fill="#ffd166" stroke="#073b4c" stroke-width="6"/><circle cx="68" cy="78" r="10" '
    'fill="#073b4c"/><circle cx="124" cy="78" r="10" fill="#073b4c"/><path d="M56 112Q96 160 136 112" fill="none" '
    'stroke="#073b4c" stroke-width="8" stroke-linecap="round"/>'
)
map_of = (
    '<path d="M0 0H110L95 60L130 120L80 200H0Z" fill="#8ecae6"/><path d="M110 0H260V90L180 110L130 120L95 60Z" '
    'fill="#ffb703"/><path d="M260 90V200H80L130 120L180 110Z" fill="#fb8500"/><path d="M150 60C170 40 200 50 205 70'
    'C210 95 170 95 155 90C140 85 140 70 150 60Z" fill="#219ebc"/>'
)
lines = (
    '<g fill="none" stroke="#222222"><path d="M20 20L180 120"/><path d="M20.5 100.5H100.5V150.5H20.5Z"/>'
    '<circle cx="140" cy="60" r="42"/><path d="M10 140C60 60 120 180 190 30"/></g>'
)
chart = (
    '<path d="M30.5 10V150.5H230" fill="none" stroke="#444444"/>'
    + "".join(
        f'<rect x="{45 + 30 * k}" y="{150 - h}" width="18" height="{h}" fill="{c}"/>'
        for k, (h, c) in enumerate(zip((40, 85, 62, 120, 96, 30), ("#457b9d", "#e76f51") * 3, strict=True))
    )
    + '<path d="M54 90L84 50L114 76L144 24L174 40L204 100" fill="none" stroke="#2a9d8f" stroke-width="2"/>'
)
letters = (
    '<g fill="#14213d"><path d="M20 140L60 30H80L120 140H98L89 113H51L42 140ZM57 95H83L70 55Z" fill-rule="evenodd"/>'
    '<path d="M140 30H185C225 30 225 80 195 83C235 88 230 140 188 140H140ZM162 48V74H182C198 74 198 48 182 48ZM162 92'
    'V122H185C205 122 205 92 185 92Z" fill-rule="evenodd"/><path d="M330 60C300 10 240 30 240 86C240 142 300 160 330 '
    '112L312 100C296 128 262 122 262 86C262 50 296 44 312 72Z"/></g>'
)
overlap = (
    '<g fill-opacity="0.6"><circle cx="80" cy="80" r="56" fill="#e63946"/><circle cx="130" cy="80" r="56" '
    'fill="#457b9d"/><circle cx="105" cy="124" r="56" fill="#2a9d8f"/></g>'
)
rings = "".join(
    f'<circle cx="128" cy="128" r="{r}" fill="{c}"/>'
    for r, c in ((118, "#264653"), (95, "#2a9d8f"), (72, "#e9c46a"), (49, "#f4a261"), (26, "#e76f51"))
)
leaf = (
    '<path d="M40 200C30 90 100 30 210 40C220 150 160 220 60 206Z" fill="#588157"/><path d="M40 216C80 150 120 110 '
    '190 62" fill="none" stroke="#344e41" stroke-width="7" stroke-linecap="round"/>'
)
gear = f'<path d="{star(128, 128, 112, 86, 14)}" fill="#6c757d"/><circle cx="128" cy="128" r="66" fill="#adb5bd"/>' + (
    '<circle cx="128" cy="128" r="30" fill="#ffffff"/>'
)
rounded = (
    '<rect x="16" y="16" width="224" height="224" rx="48" fill="#7209b7"/><path d="M76 178V78L180 128Z" '
    'fill="#ffffff"/><rect x="196" y="30" width="26" height="26" rx="13" fill="#f72585"/>'
)
outlined = (
    '<g stroke="#111111" stroke-width="3" stroke-linejoin="round"><path d="M40 190V100L110 40L180 100V190Z" '
    'fill="#f4d58d"/><path d="M24 108L110 32L196 108" fill="none"/><rect x="92" y="130" width="36" height="60" '
    'fill="#8d0801"/><rect x="56" y="112" width="26" height="26" fill="#a9d6e5"/><rect x="140" y="112" width="26" '
    'height="26" fill="#a9d6e5"/></g>'
)
grid = "".join(
    f'<rect x="{8 + 28 * c}" y="{8 + 28 * r}" width="20" height="20" fill="#{(40 + 30 * c):02x}{(60 + 25 * r):02x}a0"/>'
    for r in range(7)
    for c in range(7)
)
hidden = (
    '<rect x="30" y="60" width="120" height="90" fill="#118ab2"/><circle cx="150" cy="120" r="55" fill="#ef476f"/>'
    '<path d="M90 30L140 130L50 120Z" fill="#06d6a0"/>'
)
badge = (
    '<path d="M100 0L187 50V150L100 200L13 150V50Z" fill="#2b2d42"/>'
    f'<path d="{star(100, 100, 62, 26, 5)}" fill="#ffd60a"/>'
)
wave = "".join(
    f'<path d="M0 {60 + 40 * k}C60 {20 + 40 * k} 120 {100 + 40 * k} 256 {50 + 40 * k}V256H0Z" fill="{c}"/>'
    for k, c in enumerate(("#90e0ef", "#48cae4", "#00b4d8", "#0077b6", "#03045e"))
)
wordmark = (
    '<g fill="none" stroke="#d00000" stroke-width="14"><path d="M30 30V130H90"/><circle cx="150" cy="94" r="36"/>'
    '<path d="M230 130V58M230 94C236 60 262 52 280 62"/></g>'
)


def sources() -> dict[str, str]:
    """Return the SVG texts by the name of their picture."""
    return {
        "logo": svg(256, logo), "mug": svg(256, mug), "flag": svg(240, flag, None, 160), "face": svg(192, face, "#ffffff"),
        "map": svg(260, map_of, "#ffffff", 200), "lines": svg(200, lines, "#ffffff", 160),
        "chart": svg(240, chart, "#ffffff", 160), "letters": svg(360, letters, "#ffffff", 170),
        "overlap": svg(210, overlap), "rings": svg(256, rings), "leaf": svg(256, leaf, "#fefae0"),
        "gear": svg(256, gear), "rounded": svg(256, rounded, None), "outlined": svg(220, outlined),
        "dots": svg(200, dots(10, 10, 20, 6.3)), "grid": svg(208, grid), "hidden": svg(220, hidden),
        "badge": svg(200, badge, None), "wave": svg(256, wave, "#caf0f8"), "wordmark": svg(310, wordmark, "#ffffff", 160),
        "small": svg(32, '<circle cx="16" cy="16" r="13.5" fill="#0a9396"/><path d="M9 16L14 22L24 10" fill="none" '
                         'stroke="#ffffff" stroke-width="3"/>'),
        "large": svg(1024, f'<g transform="scale(4)">{logo}</g>'),
    }  # fmt: skip


def hard() -> dict[str, Image.Image]:
    """Return pictures whose edges are stairs of pixels: squares of a board, and lines of one pixel."""
    board = (np.indices((96, 96)) // 8).sum(0) % 2 * 255
    lines = Image.new("RGB", (160, 120), "white")
    draw = ImageDraw.Draw(lines)
    draw.rectangle((15, 15, 90, 70), outline="black")
    draw.line((10, 110, 150, 20), fill="black")
    draw.ellipse((60, 40, 140, 110), outline="black")
    return {"board": Image.fromarray(board.astype(np.uint8)).convert("RGB"), "stairs": lines}


def soft() -> dict[str, Image.Image]:
    """Return pictures that are not flat: a shaded ball, and a logo with the noise of a camera."""
    y, x = np.indices((160, 160)) + 0.5
    height = np.clip(1 - ((x - 80) ** 2 + (y - 80) ** 2) / 60**2, 0, 1) ** 0.5
    light = np.clip(0.5 * height + 0.5 * (80 - x + 80 - y) / 120, 0, 1)
    ball = np.where((height > 0)[..., None], light[..., None] * [255, 120, 60], 240)
    logo = np.asarray(Image.open(FOLDER / "logo.png", formats=("PNG",)).convert("RGB").resize((128, 128))).astype(float)
    noisy = (logo + np.random.default_rng(0).normal(0, 12, logo.shape)).clip(0, 255)
    return {"ball": Image.fromarray(ball.astype(np.uint8)), "noisy": Image.fromarray(noisy.astype(np.uint8))}


def main() -> None:
    """Write all pictures."""
    for name, text in sources().items():
        png = bytes(resvg_py.svg_to_bytes(svg_string=text))
        Image.open(io.BytesIO(png), formats=("PNG",)).save(FOLDER / f"{name}.png", optimize=True)
    for name, image in (hard() | soft()).items():
        image.save(FOLDER / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
