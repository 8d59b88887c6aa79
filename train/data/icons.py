"""Build the captioned icon data set: pictures, the concept of each, and its colour.

    npm install @iconify-json/fluent-emoji-flat@1.2.6 @iconify-json/noto@1.2.9 @iconify-json/twemoji@1.2.5 \
        @iconify-json/emojione@1.2.3 @iconify-json/fxemoji@1.2.2
    python -m train.data.icons --packages node_modules/@iconify-json --out data/icons.npz

The archive holds `pictures` (N, 128, 128, 3) uint8 on white, `captions` (N,) UTF-8 names without a colour, `colours`
(N,) colour names or "", `concepts` (N,) keys of `emoji_captions.json`, `sets` (N,) icon set names, and `kinds` (N,)
in {plain, mirrored, repainted, pair}. Only sets whose licence lets weights trained on them ship are drawn.
"""

import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from runtime.command.options import parse_options
from runtime.command.ranges import Count, Seed, Whole
from runtime.errors import UserError, run_main
from runtime.files import read_ordinary, replace_file, try_writing
from train.data import colours
from train.outputs import make_folder

SETS = ("fluent-emoji-flat", "noto", "twemoji", "emojione", "fxemoji")
"""Icon sets drawn for shipped weights: MIT (fluent), Apache-2.0 (noto, fxemoji), CC-BY-4.0 (twemoji, emojione)."""

SIZE = 128
_PAINTED_GROUPS = {"Animals & Nature", "Food & Drink", "Travel & Places", "Activities", "Objects"}
_SHAPES = ("heart", "circle", "square", "diamond", "star")
_SIDED = ("left", "right", "clock", "oclock", "thirty", "arrow", "facing", "rightwards", "leftwards", "ABC", "input")
_COLOUR_WORDS = {*colours.PALETTE, "gray", "golden", "gold", "large", "small"}


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to build the data set from."""

    packages: Path
    """Folder of the icon packages, each a folder with icons.json (npm's node_modules/@iconify-json)."""
    out: Path
    """Archive to write (.npz)."""
    seed: Seed = 0
    """Seed of jitter, colours and pairs."""
    jitters: Count = 2
    """Drawings of each icon at another scale and offset."""
    paints: Whole = 2
    """Repainted drawings of each icon that has a dominant colour."""
    pairs: Whole = 2500
    """Pictures of two icons side by side."""


@dataclass(frozen=True)
class Drawing:
    """One picture of the data set and its labels."""

    picture: np.ndarray
    caption: str
    colour: str
    concept: str
    set: str
    kind: str


def read_captions() -> dict[str, dict]:
    """Return the captioned concepts by key: emoji, name, group, keywords, sets."""
    return json.loads(Path(__file__).with_name("emoji_captions.json").read_text("utf-8"))


def usable(entry: dict) -> bool:
    """Return whether a concept is a picture of something: no flags, and of the symbols only coloured shapes."""
    if entry["group"] == "Flags" or "skin tone" in entry["name"]:
        return False
    words = entry["name"].lower().split()
    return entry["group"] != "Symbols" or any(w in words for w in _SHAPES)


def base_name(name: str) -> str:
    """Return a concept's name without the colour it starts with: "blue heart" gives "heart"."""
    words = name.split()
    while len(words) > 1 and words[0].lower() in _COLOUR_WORDS:
        words = words[1:]
    return " ".join(words)


def draw_icon(package: dict, key: str, *, side: int, left: int, top: int, size: int = SIZE) -> np.ndarray:
    """Return an icon as (size, size, 4) float32 straight RGBA in [0, 1], `side` pixels wide at (left, top).

    Args:
        package: an Iconify JSON file.
        key: the icon's key in it.
        side: the drawn size in pixels.
        left: offset of the drawing in pixels.
        top: offset of the drawing in pixels.
        size: the picture's size in pixels.
    """
    import resvg_py

    icon = package["icons"][key]
    width = icon.get("width", package.get("width", 16))
    height = icon.get("height", package.get("height", 16))
    scale = side / max(width, height)
    box = f"{-left / scale} {-top / scale} {size / scale} {size / scale}"
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="{size}" height="{size}" viewBox="{box}">{icon["body"]}</svg>'
    )
    png = bytes(resvg_py.svg_to_bytes(svg_string=svg))
    return np.asarray(Image.open(io.BytesIO(png), formats=("PNG",)).convert("RGBA"), dtype=np.float32) / 255.0


def on_white(rgba: np.ndarray) -> np.ndarray:
    """Return a picture of straight RGBA in [0, 1] over white, as bytes."""
    alpha = rgba[..., 3:]
    return np.rint(255.0 * (rgba[..., :3] * alpha + 1.0 - alpha)).astype(np.uint8)


def _draw_concept(package: dict, name: str, key: str, entry: dict, config: Config, rng: np.random.Generator):
    """Yield every drawing of one concept from one set."""
    base = base_name(entry["name"])
    rgba = np.zeros((SIZE, SIZE, 4), np.float32)
    for _ in range(config.jitters):
        side = int(rng.integers(104, 121))
        slack = SIZE - side
        left, top = (int(np.clip(slack // 2 + rng.integers(-4, 5), 0, slack)) for _ in range(2))
        # Drawn anew from the curves for each size: a resampled picture would teach blurred edges.
        rgba = draw_icon(package, key, side=side, left=left, top=top)
        colour = colours.name_colour(rgba) or ""
        yield Drawing(on_white(rgba), entry["name"], colour, key, name, "plain")
    # A mirrored clock or arrow is another icon, whose name would be wrong.
    if not any(word.lower() in entry["name"].lower().split() for word in _SIDED):
        colour = colours.name_colour(rgba) or ""
        yield Drawing(on_white(rgba[:, ::-1]), entry["name"], colour, key, name, "mirrored")
    shape = any(word in entry["name"].split() for word in _SHAPES)
    if (entry["group"] in _PAINTED_GROUPS or shape) and colours.dominant_hue(rgba)[1] > 0.4:
        others = [c for c in colours.PALETTE if c != colours.name_colour(rgba)]
        for colour in rng.choice(others, size=config.paints, replace=False):
            yield Drawing(on_white(colours.repaint(rgba, str(colour))), base, str(colour), key, name, "repainted")


def _draw_pairs(packages: dict, keys: dict, captions: dict, config: Config, rng: np.random.Generator):
    """Yield pictures of two icons of one set side by side, captioned "A and B"."""
    names = list(packages)
    for _ in range(config.pairs):
        name = names[int(rng.integers(len(names)))]
        pool = [k for k in keys[name] if captions[k]["group"] in _PAINTED_GROUPS]
        first, second = (pool[i] for i in rng.choice(len(pool), 2, replace=False))
        side = int(rng.integers(58, 64))
        top = (SIZE - side) // 2 + int(rng.integers(-6, 7))
        left = draw_icon(packages[name], first, side=side, left=2, top=top)
        right = draw_icon(packages[name], second, side=side, left=SIZE - side - 2, top=top)
        # They hardly overlap; where they do, the left one is in front.
        both = np.where(left[..., 3:] > 0, left, right)
        caption = f"{captions[first]['name']} and {captions[second]['name']}"
        yield Drawing(on_white(both), caption, "", f"{first}+{second}", name, "pair")


def draw_all(config: Config) -> Iterator[Drawing]:
    """Yield every drawing of the data set in a fixed order.

    Raises:
        UserError: where an icon package is missing; the message names the npm command that brings it.
    """
    captions = {k: e for k, e in read_captions().items() if usable(e)}
    rng = np.random.default_rng(config.seed)
    packages, keys = {}, {}
    for name in SETS:
        packages[name] = _read_package(config.packages / name / "icons.json", name)
        keys[name] = [k for k, e in captions.items() if name in e["sets"] and k in packages[name]["icons"]]
        for key in keys[name]:
            yield from _draw_concept(packages[name], name, key, captions[key], config, rng)
    yield from _draw_pairs(packages, keys, captions, config, rng)


def _read_package(path: Path, name: str) -> dict[str, Any]:
    remedy = f"install it with 'npm install @iconify-json/{name}'"
    try:
        package = json.loads(read_ordinary(path, 1 << 28))
    except OSError as error:
        raise UserError(f"icon package: expected {path}, got: {error.strerror or error}; {remedy}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"icon package {path}: expected JSON, got {error!s:.80}; {remedy}") from None
    if not isinstance(package, dict) or not isinstance(package.get("icons"), dict):
        raise UserError(f"icon package {path}: expected icons, got none; {remedy}")
    return package


def main() -> None:
    """Draw the data set and write it."""
    config = parse_options(Config, "train.data.icons", description=__doc__)
    refuse_foreign(config.out)
    make_folder(config.out.parent)
    try_writing(config.out)
    drawings = list(draw_all(config))
    fields = {f: np.array([getattr(d, n) for d in drawings]) for f, n in _FIELDS.items()}
    content = io.BytesIO()
    np.savez(content, **fields)  # pyright: ignore[reportArgumentType]
    replace_file(config.out, content.getbuffer())
    print(f"{len(drawings)} pictures -> {config.out}")


def refuse_foreign(out: Path) -> None:
    """Raise `UserError` where a file is none that this command writes: it would be replaced."""
    if out.suffix != ".npz":
        raise UserError(f"--out: expected the name of a file ending in .npz, got '{out}'")
    if not out.exists():
        return
    try:
        with zipfile.ZipFile(out) as archive:
            names = {Path(name).stem for name in archive.namelist()}
    except (OSError, zipfile.BadZipFile):
        names = set()
    if names != set(_FIELDS):
        raise UserError(f"'{out}' exists, and this command has not written it; choose another --out")


_FIELDS = {
    "pictures": "picture",
    "captions": "caption",
    "colours": "colour",
    "concepts": "concept",
    "sets": "set",
    "kinds": "kind",
}

if __name__ == "__main__":
    run_main(main)
