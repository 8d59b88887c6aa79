"""Measure a run of `train.latent_diffusion.teacher`, and keep its weights if they are better than the start.

    python -m train.latent_diffusion.keep --run checkpoints/teacher --objects prepared/objects --icons prepared/icons \
        --out train/weights/teacher

Kept are the averaged weights in int8, as they are measured. They are better where held-out views have a lower loss
with their cameras than by the bundle's denoiser, and icons at most a twentieth more than by it.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from runtime.command.options import parse_options
from runtime.command.ranges import Count, Threads
from runtime.engines.bundle.diffusion import DiffusionBundle
from runtime.errors import UserError, run_main
from runtime.files import check_ordinary, read_ordinary
from train.latent_diffusion.camera_weights import FACTS, WEIGHTS, fill, make_denoiser, pack, save_weights, unpack
from train.latent_diffusion.held_out import measure
from train.latent_diffusion.prepared import Icons, ObjectViews
from train.latent_diffusion.teacher import RUN
from train.norm import to_channels_last
from train.outputs import Outputs

PROVENANCE = (
    "The denoiser of the bundle, trained on by train.latent_diffusion.teacher on views of low-poly objects by Kenney, "
    "Kay Lousberg and Quaternius (CC0-1.0), and on icons of the sets that the bundle's ATTRIBUTION.md names."
)
"""What the kept weights are made of."""

COMMAND = "train.latent_diffusion.keep"

MOST_ICONS = 1.05
"""Greatest loss of icons over the start's."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to measure and where to keep it."""

    run: Path
    """Run folder of train.latent_diffusion.teacher."""
    objects: Path
    """Folder of train.latent_diffusion.objects."""
    icons: Path
    """Folder of train.latent_diffusion.replay."""
    out: Path | None = None
    """Folder for the weights; none only measures."""
    bundle: str = "icons"
    """Bundle whose denoiser was trained on."""
    batches: Count = 16
    """Batches of 32 measured."""
    threads: Threads = 1
    """Threads."""
    force: bool = False
    """Replace files in the folder that this command has not written."""


def is_better(after: Mapping[str, float], before: Mapping[str, float]) -> bool:
    """Return whether losses of `held_out.measure` are good enough to keep the weights.

    Args:
        after: of the trained denoiser.
        before: of the bundle's.
    """
    return after["right"] < before["right"] and after["icons"] <= MOST_ICONS * before["icons"]


def images_seen(run: Path) -> int:
    """Return how many images the weights of a run folder have seen, those of its start included.

    Raises:
        UserError: it is no run folder with a checkpoint.
    """
    try:
        step = json.loads(read_ordinary(run / "checkpoint.json", 1 << 20))["step"]
        counts = json.loads(read_ordinary(run / RUN, 1 << 20))
        return int(counts["images_before"]) + int(step) * int(counts["images_a_step"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"--run {run}: expected the run folder of a teacher, got {error!s:.100}") from None


def main() -> None:
    """Measure and keep from a command line."""
    config = parse_options(Config, "train.latent_diffusion.keep", description=__doc__)
    torch.set_num_threads(config.threads)
    outputs = config.out and Outputs(config.out, COMMAND, (WEIGHTS, FACTS), force=config.force)
    bundle = DiffusionBundle.load(config.bundle, threads=config.threads)
    objects, icons = ObjectViews.load(config.objects), Icons.load(config.icons)
    images = images_seen(config.run)
    network = to_channels_last(make_denoiser(bundle))
    try:
        check_ordinary(config.run / "ema.safetensors")
        weights = load_file(config.run / "ema.safetensors")
    except (OSError, SafetensorError) as error:
        raise UserError(f"--run {config.run}: expected averaged weights, got {error!s:.100}") from None
    before = measure(network, objects, icons, batches=config.batches)
    print("start  ", format_losses(before), flush=True)
    fill(network, unpack(pack(weights)))
    after = measure(network, objects, icons, batches=config.batches)
    print("trained", format_losses(after), f"{images} images", flush=True)
    if outputs is None:
        return
    if not is_better(after, before):
        print("not kept: worse than the start on held-out views, or on icons", file=sys.stderr)
        sys.exit(1)
    facts = {"provenance": PROVENANCE, "images": images, "held_out": after, "held_out_of_the_start": before}
    save_weights(outputs, weights, bundle, facts)
    print(f"-> {config.out}")


def format_losses(losses: Mapping[str, float]) -> str:
    """Return losses in one line."""
    return "  ".join(f"{name} {value:.4f}" for name, value in losses.items())


if __name__ == "__main__":
    run_main(main)
