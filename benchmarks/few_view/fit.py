"""One fit: how good it is, how long it took, and how it got there."""

import math
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import torch

from benchmarks.few_view.perceptual import Lpips
from runtime.command.method import draw
from runtime.field.captures import Capture
from runtime.field.pictures import look
from runtime.field.quality import psnr
from runtime.field.results import Field
from runtime.loop.events import Note, Stepped
from runtime.loop.signals import StoppedRun
from runtime.nerf import METHOD, Config
from runtime.nerf.output import figures_of
from runtime.nerf.scenes import Split

COURSE_VIEWS = 12
"""Most pictures that a field is measured on on its way, and most of those that it was trained on."""


@dataclass
class Clock:
    """Follows a fit: the processor's seconds without those of its own looks, and when the fit is to end."""

    split: Split
    budget: float = math.inf
    """Seconds of the processor after which the fit ends."""
    every: float = math.inf
    """Seconds of the processor between two looks."""
    mixed_precision: bool = False
    """Whether looks are in bfloat16, as the fit is."""
    stop: threading.Event = field(default_factory=threading.Event)
    scene: Any = None
    """As the last step has left it."""
    steps: int = 0
    anew: int = 0
    """How often the fit has begun anew, as the field had collapsed."""
    course: list[tuple[float, int, float]] = field(default_factory=list)
    """Seconds, steps, and PSNR of held-out pictures then."""
    begin: float = field(default_factory=time.process_time)
    looked: float = 0.0
    """Seconds spent on looks."""

    @property
    def seconds(self) -> float:
        """Seconds of the fit so far."""
        return time.process_time() - self.begin - self.looked

    def __call__(self, event: object) -> None:
        """Take an event of the run."""
        self.anew += isinstance(event, Note) and "begins anew" in event.text
        if not isinstance(event, Stepped):
            return
        self.scene = event.scene
        self.steps = event.done
        if self.seconds > self.budget:
            self.stop.set()
        if self.seconds >= self.every * (len(self.course) + 1):
            begin = time.process_time()
            self.course.append((self.seconds, self.steps, self.psnr(self.split.held_out)))
            self.looked += time.process_time() - begin

    def precision(self) -> torch.autocast:
        """Return the context of looks."""
        return torch.autocast("cpu", torch.bfloat16, enabled=self.mixed_precision)

    def psnr(self, rows: list[int]) -> float:
        """Return the mean PSNR of the scene on at most `COURSE_VIEWS` of some pictures."""
        chosen = rows[:: max(1, len(rows) // COURSE_VIEWS)][:COURSE_VIEWS]
        with self.precision():
            return quick_psnr(self.scene, self.split.capture, chosen)


@torch.no_grad()
def quick_psnr(scene: Field, capture: Capture, rows: list[int]) -> float:
    """Return the mean PSNR of pictures, a ray a pixel."""
    values = []
    for row in rows:
        height, width = capture.cameras.sizes[row].tolist()
        truth = capture.rgba([row], (height, width))[0]
        shown = look(scene.render, capture.cameras, row, samples=1).on(1.0)
        values.append(psnr(shown, truth[..., :3] * truth[..., 3:] + 1 - truth[..., 3:]))
    return sum(values) / len(values)


def measure(
    config: Config, *, budget: float = math.inf, every: float = math.inf, lpips: Lpips | None = None
) -> dict[str, Any]:
    """Return PSNR, SSIM, the processor's seconds, steps and course of one fit.

    Args:
        config: what is fitted.
        budget: seconds of the processor after which the fit ends.
        every: seconds between two looks on the way.
        lpips: measures a third distance.
    """
    split = Split.of(config)
    clock = Clock(split, budget, every, config.mixed_precision)
    try:
        scene = draw(METHOD, config, report=clock, stop=clock.stop)
    except StoppedRun:
        # The event carries the scene itself, so nothing has to be stored.
        scene = clock.scene
    seconds = clock.seconds
    with clock.precision():
        figures = figures_of(config, scene, split)  # pyright: ignore[reportArgumentType]
    clock.scene = scene
    row: dict[str, Any] = {"psnr": figures["psnr"], "ssim": figures["ssim"], "cpu_seconds": seconds}
    row |= {"train_psnr": clock.psnr(split.train), "anew": clock.anew}
    if lpips is not None:
        row["lpips"] = mean_lpips(scene, split, lpips)  # pyright: ignore[reportArgumentType]
    return {**row, "steps": clock.steps, "course": clock.course}


@torch.no_grad()
def mean_lpips(scene: Field, split: Split, lpips: Lpips) -> float:
    """Return the mean perceptual distance of held-out pictures."""
    values = []
    for row in split.held_out:
        height, width = split.capture.cameras.sizes[row].tolist()
        truth = split.capture.rgba([row], (height, width))[0]
        truth = truth[..., :3] * truth[..., 3:] + 1 - truth[..., 3:]
        shown = look(scene.render, split.capture.cameras, row, samples=2).on(1.0)
        values.append(lpips.distance(shown.permute(2, 0, 1), truth.permute(2, 0, 1)))
    return sum(values) / len(values)
