"""A traced drawing cleaned and traced anew: what it shows is drawn again by the denoiser, and that by contours.

Its picture is encoded, noised a little and cleaned in ten calls (SDEdit, arXiv:2108.01073). The contours of the clean
picture are the new drawing: nothing of the old one is moved, so that no colour blurs and no edge frays on the way.
"""

from functools import partial
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from runtime.guidance.prompt import Prompt
from runtime.guidance.schedule import Schedule
from runtime.loop.optimize import Stage
from runtime.vector.paths import Drawing
from runtime.vector.scene import VectorScene
from runtime.vector.symmetry import Mirror, completed, symmetric
from runtime.vector.trace.flat.refine import Structure, refining_optimizer, restore_, structure_of
from runtime.vector.trace.shaded import trace_shaded
from runtime.vectorfusion.targets import Clean, cleaner

if TYPE_CHECKING:
    from runtime.engines.bundle import DiffusionBundle
    from runtime.vectorfusion.config import Config

MIN_GAIN = 2e-5
"""Mean squared error that an area must save. Contours have no frays, and take less than LIVE's paths."""

REFINING = 40
"""Steps that fit contours to their picture."""

REFINED = ("points", "colours")
"""What of them is fitted."""

TIME = 300
"""Time of 1000 to which its picture is noised: shapes and colours stay, details are the denoiser's."""


def contours_of(config: "Config", picture: Float[Tensor, "3 H W"], axis: float | None) -> tuple[Drawing, Mirror | None]:
    """Return the drawing of a picture's contours, and which of its parts are to stay mirror images, None for none.

    Args:
        config: `paths` counts.
        picture: RGB in [0, 1].
        axis: x about which the picture is symmetric; None where it is not.
    """
    drawing = trace_shaded(picture, config.paths, MIN_GAIN)
    if axis is None or not drawing.layout.num_paths:
        return drawing, None
    return symmetric(drawing, axis)


def retracing(config: "Config", bundle: "DiffusionBundle", prompt: Prompt, axis: float | None) -> Stage:
    """Return the stage that cleans a drawing and traces it anew.

    Args:
        config: `paths`, `sample_omega` and the rasterizer count.
        bundle: the networks.
        prompt: what to draw.
        axis: x about which the drawing is symmetric; None where it is not.
    """
    (t,) = Schedule.of(bundle.schedule).times(TIME)
    return _Retracing(config, cleaner(config, bundle, prompt), t, axis).stage()


class _Retracing:
    """What the functions of the stage share. All of it follows from the scene, whose target is the clean picture."""

    def __init__(self, config: "Config", clean: Clean, t: int, axis: float | None) -> None:
        self._config, self._clean, self._t, self._axis = config, clean, t, axis
        self._traced: tuple[Tensor, Drawing, Structure, Mirror | None] | None = None

    def stage(self) -> Stage:
        """Return the stage."""
        return Stage(
            name="retrace",
            steps=REFINING,
            begin=self._begin,
            restore=partial(VectorScene.from_state, backend=self._config.rasterizer),
            optimizer=partial(refining_optimizer, train=REFINED),
            loss=lambda scene, step, generator: {"error": (scene.render()[0] - scene.target).square().mean()},
            lr_factor=lambda step: 1 - step / REFINING,
            after=self._after,
        )

    def _begin(self, before: VectorScene, generator: torch.Generator) -> VectorScene:
        with torch.no_grad():
            picture = before.render()
            target = self._clean(picture, self._t, generator)
        if self._axis is not None:
            target = completed(target, self._axis)
        drawing, *_ = self._trace(target)
        if not drawing.layout.num_paths:
            # Nothing is left of it: it stays as it is.
            drawing, target = before.drawing().detach(), picture[0]
        scene = VectorScene(drawing.to(picture.device), train=REFINED, backend=self._config.rasterizer)
        scene.target = target
        return scene

    def _trace(self, target: Float[Tensor, "3 H W"]) -> tuple[Drawing, Structure, Mirror | None]:
        """Return the contours of a target, their structure and symmetry: kept, and found again in a resumed run."""
        if self._traced is None or not torch.equal(self._traced[0], target):
            drawing, mirror = contours_of(self._config, target.cpu(), self._axis)
            self._traced = target, drawing, structure_of(drawing), mirror
        return self._traced[1:]

    def _after(self, scene: VectorScene, *_: object) -> None:
        assert scene.target is not None
        drawing, structure, mirror = self._trace(scene.target)
        scene.clamp_()
        if drawing.layout != scene.layout:
            return
        scene.colours[..., 3] = 1.0
        restore_(scene, structure)
        if mirror is not None:
            mirror.restore_(scene)
