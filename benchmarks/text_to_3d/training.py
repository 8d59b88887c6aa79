"""Training of the judge: heads on ImageNet features of rendered objects and of icons, in colour and in grey.

Objects that `train.latent_diffusion.objects.hold_out` keeps aside and one set of icons are never seen; figures on them
go into the file. Grey pictures stand in for views of untextured meshes: the luminance of a view, with less contrast.
What takes long, the features, is kept beside the file until the heads are there, so that a run that was cut resumes.
"""

import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.consistency.evaluator import HEADS, HELD_OUT, Committee, degrade, features_of, train_head
from runtime.files import make_temporary
from train.latent_diffusion.denoiser import write_captions
from train.latent_diffusion.objects import SeenObject, hold_out, read_cameras, read_objects, side_of
from train.pixelnerf.objects import reduce_sheet

JUDGE_SIDE = 112
"""Pixels of the pictures that features are of."""

VIEW_SIDE = 128
"""Pixels of a rendered view and of an icon."""

VIEWS_AN_OBJECT = 3
"""Views of each object that the heads of captions are trained on; those of sides see all 16."""

ICONS = 4000
"""Icons, drawn at random from all sets but one."""

CAPTIONS = 4
"""Captions of each picture."""

CAPTION_STEPS, SIDE_STEPS = 1000, 500
"""Steps of each head."""

Encode = Callable[[list[str]], Float[Tensor, "N 384"]]
Pictures = UInt8[Tensor, "N 3 S S"]


class SideHead(nn.Module):
    """Features and the prompt's sentence vector to front, side or back."""

    def __init__(self) -> None:
        """Make the layers."""
        super().__init__()
        self.layers = nn.Sequential(nn.Dropout(0.4), nn.Linear(1280 + 384, 256), nn.GELU(), nn.Linear(256, 3))

    def forward(self, features: Float[Tensor, "B 1280"], sentences: Float[Tensor, "B 384"]) -> Float[Tensor, "B 3"]:
        """Return logarithms of the odds of front, side and back."""
        # Unit sentences are as loud as features then.
        return self.layers(torch.cat([features, 10.0 * sentences], dim=1))


class SideCommittee(nn.Module):
    """Several such heads; the mean of their probabilities."""

    def __init__(self, heads: Sequence[SideHead] = ()) -> None:
        """Take trained heads, or make `HEADS` new ones."""
        super().__init__()
        self.heads = nn.ModuleList(heads or [SideHead() for _ in range(HEADS)])

    def forward(self, features: Float[Tensor, "B 1280"], sentences: Float[Tensor, "B 384"]) -> Float[Tensor, "B 3"]:
        """Return the probabilities."""
        return torch.stack([head(features, sentences).softmax(1) for head in self.heads]).mean(0)


def read_views_on_white(folder: Path, entry: SeenObject) -> UInt8[Tensor, "16 3 S S"]:
    """Return all views of an object of the set."""
    rgba = torch.from_numpy(reduce_sheet(folder / "views" / entry.file, VIEW_SIDE)).permute(0, 3, 1, 2)
    return rgba[:, :3] + (255 - rgba[:, 3:])


def grey_of(picture: UInt8[Tensor, "3 H W"], rng: np.random.Generator) -> UInt8[Tensor, "3 H W"]:
    """Return a picture on white as if all of the object were of one grey matter, as far as luminance goes.

    Its brightness is drawn about that of the grey meshes, and its contrast, which paint would raise, is lowered.
    """
    image = picture.float() / 255.0
    linear = torch.where(image <= 0.04045, image / 12.92, ((image + 0.055) / 1.055) ** 2.4)
    light = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    matter = (picture < 250).any(0)
    if not bool(matter.any()):
        return picture
    light = light * float(rng.uniform(0.35, 0.6)) / light[matter].quantile(0.9).clamp(min=0.02)
    middle = light[matter].mean()
    light = (middle + float(rng.uniform(0.25, 1.0)) * (light - middle)).clamp(0.0, 1.0)
    shade = torch.where(light <= 0.0031308, 12.92 * light, 1.055 * light.clamp(min=1e-6) ** (1 / 2.4) - 0.055)
    return torch.where(matter, 255.0 * shade, 255.0).round().byte().expand(3, -1, -1)


def _three(backbone: nn.Module, pictures: Pictures, seed: int) -> Float[Tensor, "M 1280"]:
    """Return features of pictures as they are, then of them degraded, then of them in grey, half of those degraded."""
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    parts = [[], [], []]
    for some in pictures.split(256):
        greys = [grey_of(one, rng) for one in some]
        kinds = (
            some.float() / 255.0,
            torch.stack([degrade(one, rng, generator) for one in some]),
            torch.stack([degrade(g, rng, generator) if i % 2 else g.float() / 255.0 for i, g in enumerate(greys)]),
        )
        for part, kind in zip(parts, kinds, strict=True):
            part.append(features_of(backbone, kind, side=JUDGE_SIDE))
    return torch.cat([torch.cat(part) for part in parts])


def _stored(path: Path, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the tensors in a file, made and written where it is missing."""
    if not path.is_file():
        print(f"judge: {path.stem}", file=sys.stderr, flush=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, make(), {})
    return load_file(path)


def _write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    handle, part = make_temporary(path, ".safetensors")
    os.close(handle)
    save_file({name: value.contiguous() for name, value in tensors.items()}, part, metadata)
    os.chmod(part, 0o644)  # mkstemp's 0600 is for secrets
    os.replace(part, path)


def _cycled(captions: Sequence[str]) -> list[str]:
    return [captions[i % len(captions)] for i in range(CAPTIONS)]


def caption_pairs(
    folder: Path, objects: Sequence[SeenObject], backbone: nn.Module, encode: Encode
) -> dict[str, Tensor]:
    """Return features of some views of objects, sentence vectors of their captions, and labels of equal things."""
    rng = np.random.default_rng(0)
    rows = [rng.choice(16, VIEWS_AN_OBJECT, replace=False) for _ in objects]
    features = []
    for first in range(0, len(objects), 64):
        some = range(first, min(first + 64, len(objects)))
        pictures = torch.cat([read_views_on_white(folder, objects[i])[rows[i]] for i in some])
        features.append(_three(backbone, pictures, first).view(3, len(pictures), -1))
    sentences = encode([text for one in objects for text in _cycled(one.captions)]).view(len(objects), CAPTIONS, -1)
    names = {name: i for i, name in enumerate(dict.fromkeys(one.captions[0] for one in objects))}
    labels = torch.tensor([names[one.captions[0]] for one in objects])
    return {
        "features": torch.cat(features, dim=1).flatten(0, 1).half(),
        "sentences": sentences.repeat_interleave(VIEWS_AN_OBJECT, dim=0).repeat(3, 1, 1).half(),
        "labels": labels.repeat_interleave(VIEWS_AN_OBJECT).repeat(3),
    }


def icon_pairs(archive: Path, backbone: nn.Module, encode: Encode) -> dict[str, Tensor]:
    """Return the same of icons; labels of the same concept and colour are equal."""
    with np.load(archive, allow_pickle=False) as file:
        data = {k: file[k] for k in file.files}
    seen = np.flatnonzero((data["sets"] != HELD_OUT) & (data["kinds"] != "pair"))
    seen = np.sort(np.random.default_rng(0).permutation(seen)[:ICONS])
    data = {k: v[seen] for k, v in data.items()}
    texts, rows = write_captions(data, CAPTIONS, seed=2)
    names = [f"{a}/{b}" for a, b in zip(data["concepts"].tolist(), data["colours"].tolist(), strict=True)]
    index = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return {
        "features": _three(backbone, torch.from_numpy(data["pictures"]).permute(0, 3, 1, 2), 1).half(),
        "sentences": encode(texts)[rows].repeat(3, 1, 1).half(),
        "labels": torch.tensor([index[name] for name in names]).repeat(3),
    }


def side_pairs(
    folder: Path, objects: Sequence[SeenObject], backbone: nn.Module, encode: Encode, *, augment: bool
) -> dict[str, Tensor]:
    """Return features of all views of objects with a front, the objects' sentence vectors, and the sides seen.

    Args:
        folder: of the set.
        objects: with a front.
        backbone: of the features.
        encode: of sentences.
        augment: whether to add mirrored views, and to degrade half of all.
    """
    sides = side_of(read_cameras(folder, objects)[..., 0])
    rng, generator = np.random.default_rng(3), torch.Generator().manual_seed(3)
    features = []
    for entry in objects:
        views = read_views_on_white(folder, entry)
        # A mirrored view is one of the mirrored object from the negated azimuth, which is of the same side.
        views = torch.cat([views, views.flip(3)]) if augment else views
        worse = [degrade(v, rng, generator) if augment and i % 2 else v.float() / 255.0 for i, v in enumerate(views)]
        features.append(features_of(backbone, torch.stack(worse), side=JUDGE_SIDE))
    times = 2 if augment else 1
    sentences = encode([one.captions[0] for one in objects])
    return {
        "features": torch.cat(features).half(),
        "sentences": sentences.repeat_interleave(16 * times, dim=0).half(),
        "sides": sides.repeat(1, times).flatten(),
    }


def train_side_head(pairs: dict[str, Tensor], *, seed: int, steps: int) -> SideHead:
    """Return a head trained with the cross entropy, all three sides weighing the same."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    head = SideHead().train()
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    weight = 1.0 / torch.bincount(pairs["sides"], minlength=3).clamp(min=1)
    for _ in range(steps):
        rows = torch.randint(len(pairs["sides"]), (256,), generator=generator)
        logits = head(pairs["features"][rows].float(), pairs["sentences"][rows].float())
        loss = functional.cross_entropy(logits, pairs["sides"][rows], weight=weight)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return head.eval()


@torch.no_grad()
def held_out_figures(
    captions: Committee, sides: SideCommittee, views: dict[str, Tensor], texts: Sequence[str], fronts: dict[str, Tensor]
) -> dict[str, object]:
    """Return how good the judge is on what it has not seen.

    Args:
        captions: heads.
        sides: heads.
        views: of `caption_pairs`, held out.
        texts: number of different captions among which each view has to find its own.
        fronts: of `side_pairs`, held out.
    """
    # One sentence for each label: the first caption of each object.
    first = {int(label): i for i, label in reversed(list(enumerate(views["labels"])))}
    every = views["sentences"][[first[i] for i in range(len(first))], 0].float()
    right = captions(views["features"].float(), every).argmax(1) == views["labels"]
    colour, worse, grey = (float(part.float().mean()) for part in right.view(3, -1))
    guess = sides(fronts["features"].float(), fronts["sentences"].float()).argmax(1)
    confusion = [[int(((fronts["sides"] == a) & (guess == b)).sum()) for b in range(3)] for a in range(3)]
    return {
        "captions": len(texts),
        "colour": round(colour, 3),
        "degraded": round(worse, 3),
        "grey": round(grey, 3),
        "views": len(right) // 3,
        "confusion": confusion,
    }


def train_judge(path: Path, folder: Path, archive: Path | None, backbone: nn.Module, encode: Encode) -> None:
    """Train the judge and write it.

    Args:
        path: safetensors file to write; features are kept beside it on the way.
        folder: set of objects.
        archive: of train.data.icons; None: icons are not learned.
        backbone: of the features.
        encode: sentences to vectors.
    """
    objects = read_objects(folder)
    held = hold_out(objects)
    seen = [one for one, out in zip(objects, held.tolist(), strict=True) if not out]
    unseen = [one for one, out in zip(objects, held.tolist(), strict=True) if out]
    parts = path.with_name(path.name + ".parts")
    pairs = [_stored(parts / "objects.safetensors", lambda: caption_pairs(folder, seen, backbone, encode))]
    if archive is not None:
        icons = _stored(parts / "icons.safetensors", lambda: icon_pairs(archive, backbone, encode))
        pairs.append(icons | {"labels": icons["labels"] + int(pairs[0]["labels"].max()) + 1})
    fronts = [one for one in seen if one.has_front]
    sides = _stored(parts / "sides.safetensors", lambda: side_pairs(folder, fronts, backbone, encode, augment=True))
    joined = [torch.cat([part[name] for part in pairs]) for name in ("features", "sentences", "labels")]
    features, sentences = joined[0].float(), joined[1].float()
    committee = Committee(
        [train_head(features, sentences, joined[2], steps=CAPTION_STEPS, seed=seed) for seed in range(HEADS)]
    ).eval()
    side_committee = SideCommittee(
        [train_side_head(sides, seed=seed, steps=SIDE_STEPS) for seed in range(HEADS)]
    ).eval()
    figures = held_out_figures(
        committee,
        side_committee,
        caption_pairs(folder, unseen, backbone, encode),
        list(dict.fromkeys(one.captions[0] for one in unseen)),
        side_pairs(folder, [one for one in unseen if one.has_front], backbone, encode, augment=False),
    )
    tensors = {f"captions.{k}": v for k, v in committee.state_dict().items()}
    tensors |= {f"sides.{k}": v for k, v in side_committee.state_dict().items()}
    _write(path, tensors, {"held_out": json.dumps(figures)})
    shutil.rmtree(parts)
