"""The one stage of CLIPDraw: random paths, and Adam on the cosine of augmented views with the prompt."""

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from runtime.guidance.augment import clip_views
from runtime.guidance.clip import caption_loss
from runtime.loop.adam import Adam, Optimizer
from runtime.loop.events import Note, Report
from runtime.loop.optimize import Stage
from runtime.loop.scene import Scene
from runtime.vector.paths import Drawing, pixel_grid, random_circles
from runtime.vector.raster import rasterize
from runtime.vector.reinit import replace_unused
from runtime.vector.results import read_start
from runtime.vector.scene import VectorScene
from runtime.vector.strokes import random_pens

if TYPE_CHECKING:
    from runtime.clipdraw.config import Config
    from runtime.engines.bundle import DiffusionBundle
    from runtime.loop.folder import RunFolder

CANVAS = 224
"""Side in pixels of CLIPDraw's canvas, which its lengths are given on."""

TRAINED = {"strokes": ("points", "colours", "widths"), "icon": ("points", "colours"), "pixel": ("colours",)}
"""What is optimized of a drawing of each preset; the paper is white always."""

NEGATIVES = ("A badly drawn sketch.", "Many ugly, messy drawings.")
"""What a drawing should not look like, in the words of CLIPDraw's program."""


def random_start(config: "Config", size: tuple[int, int], generator: torch.Generator) -> Drawing:
    """Return the random drawing of a preset: CLIPDraw's strokes, or the thesis' circles or squares (11.9.1)."""
    if config.preset == "strokes":
        width = config.widths[0] * min(size) / CANVAS
        return random_pens(config.paths, width=width, size=size, generator=generator)
    if config.preset == "pixel":
        return pixel_grid(math.isqrt(config.paths), size=size, generator=generator)
    return random_circles(config.paths, size=size, generator=generator)


def points_factor(step: int, steps: int) -> float:
    """Return the factor on the learning rate of points at a step in [0, steps), of CLIPDraw's program."""
    if step < int(0.5 * steps):
        return 1.0
    return 0.4 if step < int(0.75 * steps) else 0.1


class DrawingAdam(Adam):
    """Adam with a learning rate for each kind of parameter, of which that of points alone falls on the way.

    The loop has one factor for all groups, and CLIPDraw's colours and widths have a constant rate. The step is counted
    by Adam's own state, which a checkpoint holds.
    """

    def __init__(self, scene: VectorScene, config: "Config", scale: float) -> None:
        """Make the groups of what a preset trains; `scale` is the canvas' side over CLIPDraw's."""
        lrs = {"points": config.lr * scale, "widths": config.width_lr * scale, "colours": config.colour_lr}
        trained = TRAINED[config.preset]
        super().__init__([{"params": [getattr(scene, name)], "lr": lrs[name]} for name in trained])
        self.points = scene.points if "points" in trained else None
        self.steps = config.steps

    def step(self) -> None:
        """Take a step; the loop has set every group's rate to its initial one before."""
        if self.points is not None:
            # Not a counter of this object: a resumed run makes a new optimizer, and loads its state.
            done = int(self.state[self.points].get("step", 0))
            self.param_groups[0]["lr"] *= points_factor(done, self.steps)
        super().step()


def build(
    config: "Config",
    bundle: "DiffusionBundle",
    generator: torch.Generator,
    *,
    run: "RunFolder | None" = None,
    report: Report = lambda event: None,
) -> list[Stage]:
    """Return the stages of a configuration; see `runtime.command.method.Method.build`."""
    side = bundle.embedder_size
    drawing = None
    if config.init is not None:
        drawing = read_start(config.init, (side, side), lambda text: report(Note(text)))

    def begin(before: Scene | None, generator: torch.Generator) -> VectorScene:
        first = random_start(config, (side, side), generator) if drawing is None else drawing
        return VectorScene(first, train=TRAINED[config.preset], backend=config.rasterizer)

    return [
        Stage(
            name="draw",
            steps=config.steps,
            begin=begin,
            restore=partial(VectorScene.from_state, backend=config.rasterizer),
            optimizer=lambda scene: DrawingAdam(scene, config, side / CANVAS),
            loss=_loss(config, bundle),
            after=partial(_tidy, config, side / CANVAS),
            snapshots=min(4, config.steps),
        )
    ]


def _loss(
    config: "Config", bundle: "DiffusionBundle"
) -> Callable[[VectorScene, int, torch.Generator], dict[str, Tensor]]:
    """Return the loss of a step: minus the cosines of the views with the prompt, plus those with what is unwanted."""
    guide = bundle.guide(config.prompt, config.gradients)
    # Encoded once, as the prompt is; each step compares its views with the same features.
    unwanted = [bundle.guide(text, config.gradients) for text in NEGATIVES] if config.negative > 0.0 else []
    side = bundle.embedder_size

    def loss(scene: VectorScene, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        # One rendering for all views: the rasterizer is the smaller part of a step, the encoder the larger.
        views = clip_views(scene.render(), config.views, side, generator)
        terms = {"clip": caption_loss(views, guide)}
        if unwanted:
            terms["negative"] = -config.negative * torch.stack([caption_loss(views, other) for other in unwanted]).sum()
        return terms

    return loss


def _tidy(config: "Config", scale: float, scene: VectorScene, optimizer: Optimizer, step: int, generator) -> None:
    """Bring colours and widths back into range and, for icons, replace unused paths when it is time (Table 11.1)."""
    scene.clamp_()
    # A pen neither vanishes nor becomes a brush that fills the paper.
    scene.widths.clamp_(config.widths[0] * scale, config.widths[1] * scale)
    if config.preset == "icon":
        # The original, open form has none: the area of an open path is hard to measure (thesis 11.2).
        replace_unused(scene, optimizer, step, config.steps, generator, area=64.0)


def validate(config: "Config", bundle: "DiffusionBundle") -> None:
    """Raise `UserError` where a part can't do what is asked: no image-text encoder, prompt too long, no rasterizer."""
    bundle.guide(config.prompt, config.gradients)
    side = bundle.embedder_size
    if config.init is not None:
        read_start(config.init, (side, side))
    # The only way to know whether diffvg is there and works.
    rasterize(random_circles(1, size=(8, 8), generator=torch.Generator()), backend=config.rasterizer)
