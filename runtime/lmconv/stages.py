"""The one stage of `runtime.lmconv`: hidden pixels drawn one after the other, a block of them a step of the loop."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from runtime.lmconv.sheets import read_levels
from runtime.loop.events import Note, Report
from runtime.loop.optimize import Stage
from runtime.loop.scene import Scene
from runtime.pixels.order_names import read_order
from runtime.pixels.orders import Order
from runtime.pixels.regions import Region
from runtime.pixels.sampler import Sampler
from runtime.pixels.sheets import read_hidden
from runtime.pixels.walks import Route, Walks

if TYPE_CHECKING:
    from runtime.engines.bundle import LMConvBundle
    from runtime.engines.bundle.lmconv_manifest import LMConvManifest
    from runtime.lmconv.config import Complete, Sample
    from runtime.loop.folder import RunFolder

BLOCK = 16
"""Pixels a step of the loop: often enough to stop soon, rarely enough that the loop's own work does not show."""


class PixelScene(Scene):
    """Pictures of which some pixels are still to be drawn."""

    def __init__(self, walks: Walks) -> None:
        super().__init__()
        self.walks = walks

    @property
    def levels(self) -> Int64[Tensor, "B C H W"]:
        """The pictures so far; what is not drawn yet is as it came."""
        return self.walks.levels

    def state(self) -> dict[str, Tensor]:
        """Return the walks' state; see `runtime.pixels.sampler`."""
        return self.walks.state()


@dataclass(frozen=True)
class Observed:
    """What a request observes of its picture, and in which order it draws the rest."""

    levels: Int64[Tensor, "1 C H W"]
    hidden: Region
    order: Order
    truth: Int64[Tensor, "1 C H W"] | None
    scaled_from: tuple[int, int] | None
    """Height and width of the picture where it was scaled to the bundle's size."""

    @classmethod
    def of(cls, config: "Complete", manifest: "LMConvManifest") -> "Observed":
        """Read the files of a request; a `UserError` names one that does not fit."""
        levels, scaled_from = read_levels(config.picture, manifest, invert=config.invert)
        hidden = read_hidden(config.hide, manifest.size, scaled_from)
        truth = None if config.truth is None else read_levels(config.truth, manifest, invert=config.invert)[0]
        return cls(levels, hidden, read_order(config.order, manifest.size, manifest.orders, hidden), truth, scaled_from)


def order_of(config: "Sample", manifest: "LMConvManifest") -> Order:
    """Return the order that whole pictures are drawn in."""
    # ":8" names all eight variants, of which the first has the bare name of the curve.
    first = manifest.orders.partition(",")[0].replace(":8", "")
    return read_order(config.order or first, manifest.size, manifest.orders, None)


def build_complete(
    config: "Complete",
    bundle: "LMConvBundle",
    generator: torch.Generator,
    *,
    run: "RunFolder | None" = None,
    report: Report = lambda event: None,
) -> list[Stage]:
    """Return the stage of a completion; see `runtime.command.method.Method.build`."""
    observed = Observed.of(config, bundle.manifest)
    if observed.scaled_from:
        (height, width), size = observed.scaled_from, bundle.manifest.size
        report(Note(f"'{config.picture.name}' has {width} x {height} pixels: scaled to {size[1]} x {size[0]}"))
    return [_stage(config, bundle, observed.levels, observed.hidden, observed.order, config.samples)]


def build_sample(
    config: "Sample",
    bundle: "LMConvBundle",
    generator: torch.Generator,
    *,
    run: "RunFolder | None" = None,
    report: Report = lambda event: None,
) -> list[Stage]:
    """Return the stage that draws whole pictures; see `runtime.command.method.Method.build`."""
    manifest = bundle.manifest
    # A picture that is all hidden: sampling is completion with nothing observed.
    nothing = torch.zeros(1, manifest.channels, *manifest.size, dtype=torch.int64)
    hidden = np.ones(manifest.size, np.bool_)
    return [_stage(config, bundle, nothing, hidden, order_of(config, manifest), config.count)]


def _stage(
    config: "Complete | Sample",
    bundle: "LMConvBundle",
    levels: Int64[Tensor, "1 C H W"],
    hidden: Region,
    order: Order,
    samples: int,
) -> Stage:
    """Return the stage that draws the hidden pixels of `samples` copies of a picture."""
    sampler = Sampler.of(bundle)
    # The loop needs the number of its steps before the sampler has begun.
    route = Route.of(order, hidden)

    def begin(before: None, generator: torch.Generator) -> PixelScene:
        # Seeded by the request and not by the loop: `Sampler` gives the same pictures for this seed.
        draws = torch.Generator().manual_seed(config.seed)
        options = {"samples": samples, "temperature": config.temperature}
        return PixelScene(sampler.begin(levels, hidden, order, generator=draws, **options))

    def restore(state: Mapping[str, Tensor]) -> PixelScene:
        return PixelScene(sampler.restore(state))

    def advance(scene: PixelScene, step: int, generator: torch.Generator) -> None:
        scene.walks.advance(BLOCK)

    steps = math.ceil((route.end - route.first) / BLOCK)
    return Stage(name="pixels", steps=steps, begin=begin, restore=restore, advance=advance, snapshots=0)


def validate_complete(config: "Complete", bundle: "LMConvBundle") -> None:
    """Raise `UserError` where the request's files do not fit each other or the bundle."""
    Observed.of(config, bundle.manifest)
    Sampler.of(bundle)


def validate_sample(config: "Sample", bundle: "LMConvBundle") -> None:
    """Raise `UserError` where the order does not fit the bundle."""
    order_of(config, bundle.manifest)
    Sampler.of(bundle)
