"""Does a dual encoder know held-out objects from all sides? Which share of their views it matches with their caption.

    python -m train.clip.held_out --objects objects --run checkpoints/dual-objects
    python -m train.clip.held_out --objects objects --icons data/icons.npz

Without a run it measures the bundle's dual encoder. A view is matched where, of the first captions of all held-out
objects, none is more similar than its own. Held out are the objects that the trainings never see. With an archive of
`train.data.icons`, icons of one set are matched with the names of all of them, too: both encoders have seen these, and
a training on objects may forget them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from runtime.command.options import parse_options
from runtime.command.ranges import Count
from runtime.engines.bundle.diffusion import DiffusionBundle
from runtime.errors import UserError, run_main
from train.clip.dual import DualEncoder
from train.clip.restore import restore_dual
from train.data.archive import read_icons, to_images
from train.data.captions import HOUSE
from train.latent_diffusion.objects import encode_captions, hold_out, read_cameras, read_objects, read_views, side_of
from train.runs import load_weights

SIDES = ("front", "side", "back")
"""By what `side_of` gives."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What is measured on what."""

    objects: Path
    """Folder of a captioned set of objects seen from 16 sides: objects.json, cameras.npz and views/."""
    icons: Path | None = None
    """Archive of train.data.icons."""
    run: Path | None = None
    """Run folder of train.clip, for its averaged weights; by default the bundle's own dual encoder is measured."""
    bundle: str = "icons"
    """Bundle whose text encoder encodes captions: its name, or a folder."""
    count: Count = 1000
    """Icons that are looked at, the first of the set."""


def matched(embeddings: Float[Tensor, "N D"], texts: Float[Tensor, "C D"], own: Sequence[int]) -> list[bool]:
    """Return whether the text of each picture, by its row, is more similar to it than any other; a tie is none."""
    cosines = embeddings @ texts.T
    right = cosines.gather(1, torch.tensor(own)[:, None])
    return ((cosines >= right).sum(1) == 1).tolist()


@torch.inference_mode()
def measure_objects(network: DualEncoder, folder: Path, bundle: DiffusionBundle) -> dict[str, list[bool]]:
    """Return whether held-out views are matched: all of them, and of objects with a front those of each side.

    Raises:
        UserError: the set is none, or holds nothing out.
    """
    objects = read_objects(folder)
    held = [one for one, is_held in zip(objects, hold_out(objects).tolist(), strict=True) if is_held]
    if not held:
        raise UserError(f"{folder}: expected objects of another split than 'train', got none")
    captions = list(dict.fromkeys(one.captions[0] for one in held))
    texts = network.text(encode_captions(captions, bundle.text_encoder()).float())
    outcomes: dict[str, list[bool]] = {name: [] for name in ("all", *SIDES)}
    for one, sides in zip(held, side_of(read_cameras(folder, held)[..., 0]).tolist(), strict=True):
        views = read_views(folder / "views" / one.file).float() / 255.0
        right = matched(network.image(views), texts, [captions.index(one.captions[0])] * len(views))
        outcomes["all"] += right
        for side, is_right in zip(sides, right, strict=True):
            if one.has_front:
                outcomes[SIDES[side]].append(is_right)
    return outcomes


@torch.inference_mode()
def measure_icons(network: DualEncoder, archive: Path, bundle: DiffusionBundle, count: int) -> list[bool]:
    """Return whether plain icons of the set whose look the bundle has are matched with their names, among all these."""
    data = read_icons(archive, ("pictures", "captions", "sets", "kinds"))
    rows = [i for i, kind in enumerate(zip(data["sets"], data["kinds"], strict=True)) if kind == (HOUSE, "plain")]
    pictures, names = torch.from_numpy(data["pictures"][rows[:count]]), data["captions"][rows[:count]].tolist()
    texts = list(dict.fromkeys(names))
    embedded = network.text(encode_captions(texts, bundle.text_encoder()).float())
    images = torch.cat([network.image(to_images(part)) for part in pictures.split(64)])
    return matched(images, embedded, [texts.index(name) for name in names])


def main() -> None:
    """Measure and print."""
    config = parse_options(Config, "train.clip.held_out", description=__doc__)
    bundle = DiffusionBundle.load(config.bundle)
    network = (restore_dual(bundle) if config.run is None else load_weights(DualEncoder(), config.run)).eval()
    outcomes = measure_objects(network, config.objects, bundle)
    if config.icons is not None:
        outcomes["icons"] = measure_icons(network, config.icons, bundle, config.count)
    print("| pictures | matched | of | share | standard error |\n|---|---|---|---|---|")
    for name, right in outcomes.items():
        share = sum(right) / max(len(right), 1)
        error = math.sqrt(share * (1 - share) / max(len(right), 1))
        print(f"| {name} | {sum(right)} | {len(right)} | {share:.3f} | {error:.3f} |")


if __name__ == "__main__":
    run_main(main)
