"""Does an encoder see that views are of one scene? Cosines of pairs of views, within a scene and across scenes.

    python -m benchmarks.embeddings data/objects [--encoder icons] [--count 20] [--out benchmarks/embeddings.png]

The thesis' study of CLIP (Fig. 3.3 and 9.1), on the set of posed objects: DietNeRF's loss can only help as far as views
of one scene are more alike to the encoder than views of different ones, however far apart their cameras are. The
picture has the histogram of cosines, and the cosines within scenes over the distance of the two cameras.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from benchmarks.environment import describe_environment
from benchmarks.posed_objects import validation_objects
from runtime.command.options import parse_options
from runtime.command.ranges import Count
from runtime.engines.protocols import ImageEncoder
from runtime.errors import run_main
from runtime.nerf.judges.semantic import load_encoder

SIDE = 64
"""Pixels that views are reduced to, before the encoder's own size."""

BINS = 40


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is studied."""

    objects: Annotated[Path, tyro.conf.Positional]
    """Folder of the set of posed objects."""
    encoder: str = "icons"
    """Bundle with an image encoder, its name or folder."""
    count: Count = 20
    """Objects, evenly spaced among the validation objects."""
    out: Path | None = None
    """PNG file to draw; by default none."""


@dataclass(frozen=True)
class Pairs:
    """Pairs of views."""

    cosines: Float[Tensor, " P"]
    same: Bool[Tensor, " P"]
    """Whether both are of one scene."""
    distances: Float[Tensor, " P"]
    """Between the two cameras, world units."""


def pairs_of(features: Float[Tensor, "N V E"], centres: Float[Tensor, "N V 3"]) -> Pairs:
    """Return all pairs of different views of N scenes."""
    count, views = features.shape[:2]
    unit = functional.normalize(features.flatten(0, 1), dim=1)
    scene = torch.arange(count).repeat_interleave(views)
    first, second = torch.triu_indices(len(unit), len(unit), 1)
    places = centres.flatten(0, 1)
    return Pairs(
        cosines=(unit @ unit.T)[first, second],
        same=scene[first] == scene[second],
        distances=(places[first] - places[second]).norm(dim=1),
    )


def separation(pairs: Pairs) -> float:
    """Return how often a pair within a scene is more alike than one across: 0.5 says nothing, 1 is perfect."""
    within = pairs.cosines[pairs.same]
    across = pairs.cosines[~pairs.same].sort().values
    below = torch.searchsorted(across, within, right=False)
    equal = torch.searchsorted(across, within, right=True) - below
    return float(((below + 0.5 * equal) / len(across)).double().mean())


def encode_views(encode: ImageEncoder, side: int, pictures: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N E"]:
    """Return the features of pictures at the encoder's size."""
    resized = functional.interpolate(pictures, size=(side, side), mode="bilinear", antialias=side < pictures.shape[2])
    with torch.no_grad():
        return torch.cat([encode(picture[None]) for picture in resized])


def draw_study(pairs: Pairs, encoder: str, path: Path) -> None:
    """Draw the histogram, and cosines within scenes over distances."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.4), dpi=110)
    edges = np.linspace(float(pairs.cosines.min()), 1.0, BINS + 1)
    for label, chosen in (("one scene", pairs.same), ("different scenes", ~pairs.same)):
        left.hist(pairs.cosines[chosen].numpy(), bins=edges, density=True, alpha=0.6, label=label)
    left.set_xlabel(f"cosine, encoder of {encoder}")
    left.set_ylabel("density of pairs of views")
    left.legend(frameon=False)
    near = pairs.distances[pairs.same].numpy()
    right.hist2d(near, pairs.cosines[pairs.same].numpy(), bins=(BINS // 2, edges), cmin=1)
    right.axhline(float(pairs.cosines[~pairs.same].mean()), color="C1", label="mean of different scenes")
    right.set_xlabel("distance of the two cameras")
    right.set_ylabel("cosine within a scene")
    right.legend(loc="lower left", frameon=False)
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)


def main() -> None:
    """Study an encoder from a command line."""
    options = parse_options(Options, "benchmarks.embeddings", description=__doc__)
    encode, side = load_encoder(options.encoder)
    objects = validation_objects(options.objects, options.count, SIDE)
    views = torch.from_numpy(np.concatenate([one.views for one in objects])).permute(0, 3, 1, 2).float() / 255
    white = views[:, :3] + 1 - views[:, 3:]
    features = encode_views(encode, side, white).unflatten(0, (len(objects), -1))
    pairs = pairs_of(features, torch.stack([one.poses[:, :3, 3] for one in objects]))
    within, across = pairs.cosines[pairs.same], pairs.cosines[~pairs.same]
    print(describe_environment())
    print(f"{len(objects)} objects, {features.shape[1]} views each, encoder of {options.encoder}")
    print(f"cosine within a scene   {float(within.mean()):.3f} +- {float(within.std()):.3f}")
    print(f"cosine across scenes    {float(across.mean()):.3f} +- {float(across.std()):.3f}")
    print(f"a pair within a scene is more alike than one across: {separation(pairs):.3f}")
    for low, high in ((0.0, 2.2), (2.2, 4.4), (4.4, 8.0)):
        near = pairs.same & (pairs.distances >= low) & (pairs.distances < high)
        if near.any():
            print(f"  cameras {low:g} to {high:g} apart: {float(pairs.cosines[near].mean()):.3f}")
    if options.out is not None:
        draw_study(pairs, options.encoder, options.out)
        print(options.out)


if __name__ == "__main__":
    run_main(main)
