"""NeRF's synthetic scenes: a folder with transforms_train.json and, if there are, _val and _test."""

from dataclasses import replace
from pathlib import Path

import torch

from runtime.errors import UserError
from runtime.field.cameras import Cameras
from runtime.field.captures.capture import Capture
from runtime.field.captures.formats.transforms import read_transforms
from runtime.field.captures.pictures import PictureFiles
from runtime.field.conventions import Convention

SPLITS = ("train", "val", "test")
"""Names of the splits, in the order in which their pictures are numbered."""


def read_blender(folder: Path, convention: Convention = "opengl") -> Capture:
    """Return all splits of a scene as one capture; +z is up and the object lies around the origin.

    Raises:
        UserError: as `read_transforms`; or the splits differ in what they say of their cameras.
    """
    parts = {
        name: read_transforms(folder / f"transforms_{name}.json", convention)
        for name in SPLITS
        if (folder / f"transforms_{name}.json").is_file()
    }
    if "train" not in parts:
        raise UserError(f"'{folder}': expected transforms_train.json, got none")
    captures = list(parts.values())
    splits, first = {}, 0
    for name, part in parts.items():
        splits[name] = tuple(range(first, first + len(part)))
        first += len(part)
    lenses = [part.cameras.distortion for part in captures]
    files = [part.pictures for part in captures]
    assert all(isinstance(part, PictureFiles) for part in files)
    cameras = Cameras(
        poses=torch.cat([part.cameras.poses for part in captures]),
        intrinsics=torch.cat([part.cameras.intrinsics for part in captures]),
        sizes=torch.cat([part.cameras.sizes for part in captures]),
        distortion=None if all(lens is None for lens in lenses) else torch.cat([_terms(part) for part in captures]),
    )
    return replace(
        captures[0],
        format="transforms_train.json",
        cameras=cameras,
        names=tuple(name for part in captures for name in part.names),
        pictures=PictureFiles(
            tuple(path for part in files for path in part.paths),  # pyright: ignore[reportAttributeAccessIssue]
            any(part.has_alpha for part in files),
        ),
        masks=tuple(file for part in captures for file in (part.masks or (None,) * len(part)))
        if any(part.masks for part in captures)
        else (),
        depths=(),
        splits=splits,
        upright=True,
        centred=True,
    )


def _terms(part: Capture) -> torch.Tensor:
    lens = part.cameras.distortion
    return torch.zeros(len(part), 6) if lens is None else lens
