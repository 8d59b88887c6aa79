"""Prepare a captioned set of objects, each seen from many cameras, for the training of a camera-aware denoiser.

    python -m train.latent_diffusion.objects --data objects --out prepared/objects

The folder of the set holds `objects.json` (field `objects`: id, file, split, captions, category, group), `cameras.npz`
(`ids`, and `azimuth_elevation` (N, 16, 2) in degrees) and `views/`, one sheet of 4x4 RGBA views an object. The
networks of a bundle encode pictures on white and captions. Views of objects with a front are also encoded mirrored,
with the azimuth negated. The light of the views is fixed to the camera, up and left of it; in mirrored ones it is
right of it. `--hues 2` adds two copies of each of them in other hues, which those captions describe that name no
colour: a set has few objects with a front, and their paint says nothing of where that is.

Arrays in the folder written, memory-mapped by the training: `latents.npy` (V, 4, 16, 16) float16, the views of all
objects in a row; `cameras.npy` (V, 2) float32 radians; `contexts.npy` (C, 17, 384) float16, the empty text first; and
`objects.json`, with the first view and the number of views of each object, and the rows of its captions.
"""

import hashlib
import io
import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Float16, Float32, Int64, UInt8
from PIL import Image
from torch import Tensor

from runtime.arrays import read_arrays
from runtime.command.options import parse_options
from runtime.command.ranges import Count, Threads
from runtime.engines.bundle.diffusion import DiffusionBundle
from runtime.errors import UserError, run_main
from runtime.files import read_ordinary
from train.data.hue import turn_hue
from train.latent_diffusion.camera import mirror_cameras
from train.outputs import Outputs

VIEWS = 16
"""Views of an object before mirroring."""

GRID = 4
"""Rows and columns of a sheet of views."""

FRONT_CATEGORIES = frozenset({"vehicle", "character", "animal", "seat", "fish", "spaceship", "boat", "robot"})
"""Kinds of object that look different from the front and from the back."""

_FRONTLESS_WORDS = frozenset({"stool", "ottoman", "raft", "lander", "drone", "shipwreck"})
"""Words of captions of objects that have no front, though their kind has."""

_PAINTS = "black white grey gray red green blue yellow orange purple violet pink brown beige tan teal cyan turquoise"
COLOURS = frozenset([*_PAINTS.split(), "gold", "golden", "goldfish", "silver"])
"""Words of captions that are no longer true in another hue."""

HELD_OUT = 40
"""Objects with a front that the training never sees."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to prepare."""

    data: Path
    """Folder of the set."""
    out: Path
    """Folder to write; it is made."""
    bundle: str = "icons"
    """Bundle whose encoders the denoiser shares: its name, or a folder."""
    frontless_views: int = 16
    """Views taken of an object without a front, evenly spaced among the 16; fewer are encoded sooner."""
    hues: int = 0
    """Copies in other hues of each trained object with a front, 0 to 11."""
    batch: Count = 16
    """Views encoded at once."""
    threads: Threads = 1
    """Threads of the encoders."""
    force: bool = False
    """Replace files that this command has not written."""


@dataclass(frozen=True)
class SeenObject:
    """What is known of one object."""

    id: str
    """Name, unique in the set."""
    split: str
    """`train` or `validation`."""
    category: str
    """Kind of object."""
    group: str
    """Objects of a group are variants of each other."""
    captions: tuple[str, ...]
    """What it shows, the first one the most to the point."""
    file: str
    """Its sheet in `views/`."""

    @property
    def has_front(self) -> bool:
        """Whether front and back differ, by its kind and first caption."""
        return self.category in FRONT_CATEGORIES and not _FRONTLESS_WORDS & set(self.captions[0].split())


def read_objects(folder: Path) -> list[SeenObject]:
    """Return the objects of a set's `objects.json`, in its order.

    Raises:
        UserError: there is no such file, or it is another one.
    """
    path = folder / "objects.json"
    try:
        entries = json.loads(read_ordinary(path, 1 << 30))["objects"]
        objects = [
            SeenObject(**{k: e[k] for k in ("id", "split", "category", "group", "file")}, captions=tuple(e["captions"]))
            for e in entries
        ]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            f"{path}: expected the objects of a multi-view set, got {type(error).__name__}: {error!s:.100}; "
            "give the folder that holds objects.json, cameras.npz and views/"
        ) from None
    if empty := [o.id for o in objects if not o.captions]:
        raise UserError(f"{path}: expected a caption for each object, got none for '{empty[0]}'; leave it out")
    return objects


def read_cameras(folder: Path, objects: Sequence[SeenObject]) -> Float32[Tensor, "N 16 2"]:
    """Return azimuth and elevation of each view in radians, from a set's `cameras.npz`.

    Raises:
        UserError: there is no such file, or it lacks an object or has another number of views.
    """
    path = folder / "cameras.npz"
    try:
        file = read_arrays(path, ("ids", "azimuth_elevation"))
        ids, degrees = file["ids"].tolist(), file["azimuth_elevation"]
    except (ValueError, KeyError) as error:
        raise UserError(f"{path}: expected the arrays ids and azimuth_elevation, got {error!s:.100}") from None
    if degrees.shape != (len(ids), VIEWS, 2) or not np.isfinite(degrees).all():
        raise UserError(f"{path}: expected finite angles ({len(ids)}, {VIEWS}, 2), got shape {degrees.shape}")
    rows = {name: i for i, name in enumerate(ids)}
    if absent := [o.id for o in objects if o.id not in rows]:
        raise UserError(f"{path}: expected cameras of each object, got none of '{absent[0]}'")
    picked = degrees[[rows[o.id] for o in objects]]
    return torch.from_numpy(np.deg2rad(picked)).float()


def side_of(azimuth: Float[Tensor, "*N"]) -> Int64[Tensor, "*N"]:
    """Return 0 for views within 45 degrees of the front, 2 for those within 45 degrees of the back, else 1."""
    turn = torch.atan2(azimuth.sin(), azimuth.cos()).abs()
    return (turn > math.pi / 4).long() + (turn > 3 * math.pi / 4).long()


def read_views(path: Path) -> UInt8[Tensor, "16 3 H W"]:
    """Return the views of a sheet on white, row by row.

    Raises:
        UserError: the sheet cannot be read, or has no 4x4 square cells.
    """
    try:
        with Image.open(path, formats=("PNG", "WEBP", "JPEG")) as image:
            sheet = np.asarray(image.convert("RGBA"))
    except OSError as error:
        raise UserError(
            f"{path}: expected a picture of {VIEWS} views, got {error!s:.100}; fetch the set anew"
        ) from None
    side = len(sheet) // GRID
    if sheet.shape != (GRID * side, GRID * side, 4) or side % 8:
        raise UserError(
            f"{path}: expected {GRID}x{GRID} square views with sides of a multiple of 8, got {sheet.shape[:2]}"
        )
    cells = sheet.reshape(GRID, side, GRID, side, 4).swapaxes(1, 2).reshape(VIEWS, side, side, 4).astype(np.uint16)
    alpha = cells[..., 3:]
    # Rounded in integers: float would cost four times the memory for the same bytes.
    white = (cells[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255
    return torch.from_numpy(white.astype(np.uint8)).permute(0, 3, 1, 2)


def hold_out(objects: Sequence[SeenObject], count: int = HELD_OUT) -> Bool[Tensor, " N"]:
    """Return which objects the training never sees: the validation split, and more so that `count` have a front.

    The additional ones are whole groups with a front in the order of their names' hashes, so that no variant of a
    held-out object is trained on.
    """
    # By group: a variant of a held-out object in the training would make it a seen one.
    held = {o.group for o in objects if o.split != "train"}
    fronts = Counter(o.group for o in objects if o.has_front)
    have = sum(fronts[group] for group in held)
    # By a hash of the name: arbitrary, but the same on every machine and when the set grows.
    for group in sorted(fronts.keys() - held, key=lambda name: hashlib.sha256(name.encode()).digest()):
        if have >= count:
            break
        held.add(group)
        have += fronts[group]
    return torch.tensor([o.group in held for o in objects])


def in_other_hues(
    objects: Sequence[SeenObject], held: Bool[Tensor, " N"], count: int
) -> list[tuple[SeenObject, float]]:
    """Return copies of trained objects with a front, and the angle in radians by which each one's hues are turned.

    The angles of an object's copies divide the circle evenly, its own hues included. Held-out objects have no copies,
    nor have those whose captions all name a colour.

    Args:
        objects: all objects.
        held: which are held out.
        count: copies of each.
    """
    copies = []
    for entry, is_held in zip(objects, held.tolist(), strict=True):
        captions = tuple(c for c in entry.captions if COLOURS.isdisjoint(c.lower().replace("-", " ").split()))
        if entry.has_front and captions and not is_held:
            for number in range(1, count + 1):
                copy = replace(entry, id=f"{entry.id}+hue{number}", captions=captions)
                copies.append((copy, 2.0 * math.pi * number / (count + 1)))
    return copies


def draw_weights(objects: Sequence[SeenObject], trained: Bool[Tensor, " N"]) -> Float[Tensor, " N"]:
    """Return how often each object is drawn: half of all draws have a front, and rare kinds are drawn more often.

    Within each half a kind of n objects is drawn in proportion to the square root of n. The weights add up to 1.

    Args:
        objects: all objects.
        trained: which are drawn; the others weigh 0.
    """
    kinds = [(o.category, o.has_front) for o in objects]
    sizes = Counter(kind for kind, drawn in zip(kinds, trained.tolist(), strict=True) if drawn)
    # n objects of a kind, each by 1 over the root of n: the kind by the root of n.
    weights = torch.tensor([max(sizes[kind], 1) ** -0.5 for kind in kinds], dtype=torch.float64) * trained
    front = torch.tensor([has_front for _, has_front in kinds])
    for half in (front, ~front):
        weights[half] /= weights[half].sum().clamp_min(1e-12)
    return (weights / weights.sum()).float()


def encode_views(
    views: UInt8[Tensor, "B 3 H W"], encode: Callable[[Tensor], Tensor], batch: int
) -> Float16[Tensor, "B 4 h w"]:
    """Return the scaled latents of pictures.

    Args:
        views: RGB.
        encode: gives the scaled latents of float RGB in [0, 1].
        batch: pictures encoded at once.
    """
    parts = []
    with torch.inference_mode():
        for part in views.split(batch):
            parts.append(encode(part.float() / 255.0).half())
    return torch.cat(parts)


def encode_captions(texts: Sequence[str], encode: Callable[[list[str]], Tensor]) -> Float16[Tensor, "C N D"]:
    """Return the contexts of texts."""
    with torch.inference_mode():
        return torch.cat([encode(list(texts[i : i + 64])).half() for i in range(0, len(texts), 64)])


def index_captions(objects: Sequence[SeenObject]) -> tuple[list[str], list[list[int]]]:
    """Return the distinct captions, the empty one first, and the rows of each object's in them."""
    # Row 0 is what a dropped caption becomes.
    index = {"": 0}
    rows = [[index.setdefault(caption, len(index)) for caption in o.captions] for o in objects]
    return list(index), rows


def array_file(array: np.ndarray) -> bytes:
    """Return the content of an array's .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def prepare(config: Config, report: Callable[[str], object]) -> None:
    """Write the prepared arrays of a set.

    Raises:
        UserError: something in the set is missing or bad, a caption is too long for the bundle, or the folder holds
            files of others under the same names.
    """
    if not 1 <= config.frontless_views <= VIEWS:
        raise UserError(f"--frontless-views: expected 1 to {VIEWS}, got {config.frontless_views}")
    if not 0 <= config.hues <= 11:
        raise UserError(f"--hues: expected 0 to 11, got {config.hues}")
    originals = read_objects(config.data)
    copies = in_other_hues(originals, hold_out(originals), config.hues)
    objects = originals + [copy for copy, _ in copies]
    angles = [0.0] * len(originals) + [angle for _, angle in copies]
    place = {entry.file: i for i, entry in enumerate(originals)}
    own = read_cameras(config.data, originals)
    cameras = own[[place[entry.file] for entry in objects]]
    names = ("contexts.npy", "latents.npy", "cameras.npy", "objects.json")
    outputs = Outputs(config.out, "train.latent_diffusion.objects", names, force=config.force)
    bundle = DiffusionBundle.load(config.bundle, threads=config.threads)
    texts, rows = index_captions(objects)
    outputs.write("contexts.npy", array_file(encode_captions(texts, bundle.text_encoder()).numpy()))
    report(f"{len(texts)} captions")
    encoder = bundle.latent_encoder("none")
    latents, seen_from, entries = [], [], []
    count = 0
    for i, (entry, row) in enumerate(zip(objects, rows, strict=True)):
        views, camera = read_views(config.data / "views" / entry.file), cameras[i]
        if angles[i]:
            turned = turn_hue(views.float() / 255.0, torch.full((len(views),), angles[i]))
            views = turned.mul(255.0).round().byte()
        step = VIEWS // config.frontless_views
        # A mirrored object is another object seen from the mirrored side; without a front it would be the same one
        # again.
        if entry.has_front:
            views, camera = torch.cat([views, views.flip(-1)]), torch.cat([camera, mirror_cameras(camera)])
        else:
            views, camera = views[::step], camera[::step]
        latents.append(encode_views(views, encoder, config.batch))
        seen_from.append(camera)
        entries.append({**entry.__dict__, "rows": row, "first": count, "views": len(views)})
        count += len(views)
        if (i + 1) % 100 == 0:
            report(f"{i + 1} of {len(objects)} objects")
    outputs.write("latents.npy", array_file(torch.cat(latents).numpy()))
    outputs.write("cameras.npy", array_file(torch.cat(seen_from).numpy()))
    outputs.write("objects.json", json.dumps({"bundle": bundle.digest, "objects": entries}))
    report(f"{count} views, deviation {torch.cat(latents).float().std():.3f} -> {config.out}")


def main() -> None:
    """Prepare from a command line."""
    prepare(
        parse_options(Config, "train.latent_diffusion.objects", description=__doc__),
        lambda line: print(line, flush=True),
    )


if __name__ == "__main__":
    run_main(main)
