"""Prepare icons for the training of a camera-aware denoiser, which has to stay what it was on them.

    python -m train.latent_diffusion.replay --data data/icons.npz --out prepared/icons

The archive is that of `train.data.icons`. Icons of things that are drawn from the front may be given a front camera:
so the denoiser learns that cameras are not only for rendered objects. Vehicles and most animals are drawn in profile,
by convention, and are left without.

Arrays in the folder written, memory-mapped by the training: `latents.npy` (N, 4, 16, 16) float16, `contexts.npy`
(C, 17, 384) float16, the empty text first, and `icons.npz` with the rows of each icon's captions (N, k), how often
it is drawn, whether it is seen from the front, and whether it is held out.
"""

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from runtime.command.options import parse_options
from runtime.command.ranges import Count, Seed, Threads, Whole
from runtime.engines.bundle.diffusion import DiffusionBundle
from runtime.engines.tokens import PromptTokenizer
from runtime.errors import UserError, run_main
from train.data.archive import read_icons
from train.data.captions import HOUSE
from train.data.icons import read_captions
from train.latent_diffusion.denoiser import weigh_rows, write_captions
from train.latent_diffusion.objects import array_file, encode_captions, encode_views
from train.outputs import Outputs

_FRONT_GROUPS = frozenset({"Smileys & Emotion", "Food & Drink", "Activities", "Objects", "Symbols"})

_FRONT_WORDS = frozenset(
    (
        "bear",
        "blossom",
        "bouquet",
        "building",
        "buildings",
        "bank",
        "cactus",
        "castle",
        "church",
        "clock",
        "clover",
        "evergreen",
        "factory",
        "face",
        "flower",
        "frog",
        "fountain",
        "hibiscus",
        "hospital",
        "hotel",
        "house",
        "hut",
        "koala",
        "lion",
        "lotus",
        "moon",
        "mosque",
        "mushroom",
        "oncoming",
        "owl",
        "panda",
        "penguin",
        "plant",
        "robot",
        "rose",
        "school",
        "snowman",
        "star",
        "sunflower",
        "tent",
        "tower",
        "tree",
        "tulip",
    )
)
"""Words of names of plants, buildings, and of the animals and vehicles that are drawn from the front."""

_HELD_OUT_OF = 16
"""One concept of so many is held out, all its pictures."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to prepare."""

    data: Path
    """Archive of train.data.icons."""
    out: Path
    """Folder to write; it is made."""
    bundle: str = "icons"
    """Bundle whose encoders the denoiser shares: its name, or a folder."""
    most: Whole = 0
    """Pictures taken of the archive, drawn by their weights; 0 takes all. Fewer are encoded sooner."""
    captions: Count = 2
    """Captions written for each icon."""
    batch: Count = 16
    """Pictures encoded at once."""
    threads: Threads = 1
    """Threads of the encoders."""
    seed: Seed = 0
    """Seed of the captions."""
    force: bool = False
    """Replace files that this command has not written."""


def seen_from_front(group: str, name: str) -> bool:
    """Return whether icons of a concept show it from the front.

    Args:
        group: the emoji group of the concept.
        name: its name.
    """
    return group in _FRONT_GROUPS or bool(_FRONT_WORDS & set(name.lower().split()))


def front_icons(archive: dict[str, np.ndarray]) -> Bool[Tensor, " N"]:
    """Return which pictures of an icon archive show one thing from the front; pairs show two."""
    concepts = read_captions()
    front = {key: seen_from_front(entry["group"], entry["name"]) for key, entry in concepts.items()}
    pairs = zip(archive["concepts"].tolist(), archive["kinds"].tolist(), strict=True)
    return torch.tensor([kind != "pair" and front.get(concept, False) for concept, kind in pairs])


def held_out_icons(archive: dict[str, np.ndarray]) -> Bool[Tensor, " N"]:
    """Return which pictures are held out: those of one concept in sixteen, by the hash of its key, pairs included."""
    return torch.tensor(
        [any(_hash(part) % _HELD_OUT_OF == 0 for part in key.split("+")) for key in archive["concepts"].tolist()]
    )


def _hash(text: str) -> int:
    return hashlib.sha256(text.encode()).digest()[0]


def leave_out_long(
    texts: list[str], rows: Int64[Tensor, "N k"], tokenizer: Callable[[list[str]], object]
) -> tuple[list[str], Int64[Tensor, "N k"]]:
    """Return the texts that a tokenizer takes, the empty one first, and the rows of the pictures in them.

    In place of a text that is too long a picture has another one of its own, or the empty one.
    """
    short, place = [""], {}
    for i, text in enumerate(texts):
        try:
            tokenizer([text])
        except UserError:
            continue
        place[i] = len(short)
        short.append(text)
    fitted = []
    for row in rows.tolist():
        fitting = [place[i] for i in row if i in place] or [0]
        fitted.append([place.get(i, fitting[0]) for i in row])
    return short, torch.tensor(fitted)


def prepare(config: Config, report: Callable[[str], object]) -> None:
    """Write the prepared arrays of an icon archive.

    Raises:
        UserError: there is no such archive, or the folder holds files of others under the same names.
    """
    archive = read_icons(config.data)
    names = ("contexts.npy", "latents.npy", "icons.npz")
    outputs = Outputs(config.out, "train.latent_diffusion.replay", names, force=config.force)
    weights = weigh_rows(archive, HOUSE)
    if 0 < config.most < len(weights):  # what is drawn often is taken first, and then all alike
        generator = torch.Generator().manual_seed(config.seed)
        taken = torch.multinomial(weights, config.most, generator=generator).sort().values
        archive, weights = {name: array[taken.numpy()] for name, array in archive.items()}, torch.ones(config.most)
    bundle = DiffusionBundle.load(config.bundle, threads=config.threads)
    tokenizer = PromptTokenizer(bundle.read_file("text_encoder", "tokenizer.json"), bundle.text_length, "tokenizer")
    texts, rows = leave_out_long(*write_captions(archive, config.captions, config.seed), tokenizer)
    report(f"{len(texts)} captions")
    outputs.write("contexts.npy", array_file(encode_captions(texts, bundle.text_encoder()).numpy()))
    encoder = bundle.latent_encoder("none")
    latents = []
    for start in range(0, len(rows), 1024):
        pictures = torch.from_numpy(archive["pictures"][start : start + 1024]).permute(0, 3, 1, 2)
        latents.append(encode_views(pictures, encoder, config.batch))
        report(f"{start + len(pictures)} of {len(rows)} icons")
    outputs.write("latents.npy", array_file(torch.cat(latents).numpy()))
    content = io.BytesIO()
    np.savez(
        content,
        texts=np.array(texts),
        rows=rows.numpy(),
        weights=weights.numpy(),
        front=front_icons(archive).numpy(),
        held_out=held_out_icons(archive).numpy(),
    )
    outputs.write("icons.npz", content.getbuffer())
    report(f"{len(rows)} icons, deviation {torch.cat(latents).float().std():.3f} -> {config.out}")


def main() -> None:
    """Prepare from a command line."""
    prepare(
        parse_options(Config, "train.latent_diffusion.replay", description=__doc__),
        lambda line: print(line, flush=True),
    )


if __name__ == "__main__":
    run_main(main)
