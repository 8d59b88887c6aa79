"""A small made-up set of objects and icons, as it is on disk."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

CATEGORIES = ("vehicle", "vehicle", "seat", "rock", "rock", "rock", "rock")
"""Kinds of the objects; the first three have a front, the first is held out."""


def write_set(folder: Path, side: int = 16) -> Path:
    """Write seven objects of noise, views of `side` pixels; return the folder."""
    rng = np.random.default_rng(0)
    (folder / "views").mkdir(parents=True)
    entries = []
    for i, category in enumerate(CATEGORIES):
        file, split = f"thing-{i}.png", "validation" if i == 0 else "train"
        sheet = rng.integers(0, 256, (4 * side, 4 * side, 4), dtype=np.uint8)
        Image.fromarray(sheet).save(folder / "views" / file)
        captions = [f"a {category}", f"{category} {i}"]
        entry = {"id": f"thing-{i}", "file": file, "split": split, "captions": captions, "category": category}
        entries.append({**entry, "group": f"{category} {i}", "kit": "none"})
    (folder / "objects.json").write_text(json.dumps({"objects": entries}))
    angles = rng.uniform(0.0, 60.0, (len(entries), 16, 2))
    ids = [entry["id"] for entry in entries]
    np.savez(folder / "cameras.npz", ids=np.array(ids)[::-1], azimuth_elevation=angles[::-1])
    return folder


def write_prepared(folder: Path) -> tuple[Path, Path]:
    """Write prepared views of seven objects and eight prepared icons, of noise; return their two folders."""
    rng = np.random.default_rng(1)
    objects, icons = folder / "objects", folder / "icons"
    entries, first = [], 0
    for i, category in enumerate(CATEGORIES):
        views = 32 if i < 3 else 16
        entry = {"id": f"{i}", "file": "", "split": "validation" if i == 0 else "train", "category": category}
        captions = [f"a {category}", f"{category} {i}"][: 1 + i % 2]
        entry |= {"captions": captions, "group": str(i), "first": first, "views": views}
        entries.append(entry)
        first += views
    texts: dict[str, int] = {"": 0}
    for entry in entries:
        entry["rows"] = [texts.setdefault(caption, len(texts)) for caption in entry["captions"]]
    for path, count, captions in ((objects, first, len(texts)), (icons, 8, 5)):
        path.mkdir(parents=True)
        np.save(path / "latents.npy", rng.standard_normal((count, 4, 16, 16)).astype(np.float16))
        np.save(path / "contexts.npy", rng.standard_normal((captions, 17, 384)).astype(np.float16))
    np.save(objects / "cameras.npy", rng.uniform(-1.0, 1.0, (first, 2)).astype(np.float32))
    (objects / "objects.json").write_text(json.dumps({"objects": entries}))
    half = np.arange(8) % 2 == 0
    rows = 1 + np.arange(16).reshape(8, 2) % 4
    held_out = np.arange(8) >= 6
    words = np.array(["", "a cat", "a dog", "a bee", "a tree"])
    np.savez(icons / "icons.npz", texts=words, rows=rows, weights=np.ones(8, np.float32), front=half, held_out=held_out)
    return objects, icons
