"""The step as peers run it: PyTorch eager in float32 for everything.

The recipe is that of PyTorch-SVGRender (github.com/ximinng/PyTorch-SVGRender, commit 2d1c00a: VectorFusion_pipeline.py,
LSDS_pipeline.py, diffusers_helper.py), the reimplementation of VectorFusion that others build on, written anew here:

- the prompt and the empty prompt go through the text encoder in every step;
- weights are loaded, never frozen, so that the backward pass through the encoder computes their gradients, too;
- each path's points and colour are tensors of their own, for which Adam and the clamping loop;
- the self-intersection term is a Python loop over paths and segments;
- tensors are laid out as NCHW, the guided pair is one batch of two, noise is predicted without a graph.

Rendering is diffvg's where it is installed. Elsewhere our rasterizer stands in for it, and what is to be compared is
the time without the renderer's, forward and backward.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.step.clock import Clock
from export.verify.scene import Replaced
from runtime.engines.backends.base import check_inputs
from runtime.engines.spec import EngineSpec
from runtime.guidance.augment import random_crop, random_perspective
from runtime.guidance.prompt import Prompt, styled
from runtime.guidance.schedule import Schedule
from runtime.guidance.sds import draw_time, guided_noise
from runtime.loop.optimize import generator_of
from runtime.vector.paths import Drawing
from runtime.vector.raster import rasterize
from runtime.vectorfusion.config import Config, steps_of
from runtime.vectorfusion.stages import MARGIN, random_start


class PlainEngine:
    """A PyTorch module as it is: neither frozen nor laid out anew."""

    def __init__(self, spec: EngineSpec, module: nn.Module, device: str = "cpu") -> None:
        """Put a module on a device, in evaluation mode; diffusers' attention is set to its default."""
        self.spec, self.device = spec, torch.device(device)
        for part in module.modules():
            if hasattr(part, "set_attn_processor"):
                part.set_attn_processor(_default_attention())  # pyright: ignore
        self.module = module.eval().requires_grad_().to(self.device)

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the module's outputs on the device of the first input."""
        check_inputs(self.spec, inputs)
        outputs = self.module(*(tensor.to(self.device) for tensor in inputs))
        return tuple(tensor.to(inputs[0].device) for tensor in (outputs if isinstance(outputs, tuple) else (outputs,)))


def _default_attention() -> Any:
    from diffusers.models.attention_processor import AttnProcessor2_0

    return AttnProcessor2_0()


class _Given(torch.autograd.Function):
    """A scalar whose gradient is given."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(gradient)
        return torch.ones([1])

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * upstream[0], None


def self_intersection_by_loops(paths: Sequence[Tensor]) -> Tensor:
    """Return the self-intersection term of closed paths (N, 2), path by path and segment by segment; Thesis Eq. 6.6."""
    total = torch.zeros(())
    for points in paths:
        closed = torch.cat([points, points[:1]])
        sides = torch.stack([closed[:-1], closed[1:]], 1)
        own = torch.zeros(())
        for first in range(0, len(points), 3):
            turn = (_sine(sides[first], sides[first + 1]) >= 0).float()
            sine = _sine(sides[first], sides[first + 2])
            own = own + turn * torch.relu(-sine) + (1 - turn) * torch.relu(sine)
        total = total + own / (len(points) // 3)
    return total / len(paths)


def _sine(first: Tensor, second: Tensor) -> Tensor:
    v, w = first[1] - first[0], second[1] - second[0]
    return (v[0] * w[1] - v[1] * w[0]) / (torch.norm(v) * torch.norm(w))


@dataclass
class PeerScene:
    """A drawing of closed paths, each with tensors of its own."""

    drawing: Drawing
    """Its structure, and the background that is not trained."""
    points: list[Tensor]
    """(N, 2) of each path."""
    colours: list[Tensor]
    """(4,) of each path."""

    @classmethod
    def of(cls, drawing: Drawing) -> "PeerScene":
        """Return a drawing taken apart."""
        layout = drawing.layout
        slices = [layout.path_slice(path) for path in range(layout.num_paths)]
        points = [drawing.points[0, where].clone().requires_grad_() for where in slices]
        return cls(drawing, points, [colour.clone().requires_grad_() for colour in drawing.colours[0]])

    def together(self) -> Drawing:
        """Return the drawing, its tensors joined."""
        d = self.drawing
        return Drawing(
            d.layout, torch.cat(self.points)[None], torch.stack(self.colours)[None], d.widths, d.background, d.size
        )


class PeerStep:
    """One step after the other of the peers' recipe, under a clock."""

    def __init__(self, config: Config, bundle: Replaced, clock: Clock, rasterizer: str) -> None:
        """Prepare a scene and its optimizers.

        Args:
            config: what to draw and the weights of the terms; icons from scratch.
            bundle: whose networks are `PlainEngine`s.
            clock: times every part.
            rasterizer: `diffvg`, or what stands in for it.
        """
        self.config, self.bundle, self.clock, self.rasterizer = config, bundle, clock, rasterizer
        self.schedule = Schedule.of(bundle.schedule)
        self.text = styled(config.prompt, bundle.prompt_suffix, bundle.text_encoder().fits)
        size = (bundle.image_size, bundle.image_size)
        self.scene = PeerScene.of(random_start(config, size, generator_of(0, 0, 0, "begin")))
        self.optimizers = [torch.optim.Adam(part, lr=0.0) for part in (self.scene.points, self.scene.colours)]
        self.encode = clock.around("encode", bundle.latent_encoder("torch"))
        self.denoise = clock.around("denoise", bundle.denoiser())

    def __call__(self, step: int) -> None:
        """Take a step."""
        clock, draws = self.clock, generator_of(0, 0, step, "loss")
        clock.begin()
        images = self._view(draws)
        z = self.encode(images)
        prompt = clock.around("text", Prompt.encode)(self.text, self.bundle.text_encoder())
        loss = self._distil(z, prompt, step, draws)
        if self.config.self_intersection > 0.0:
            loss = loss + self.config.self_intersection * clock.around("regularize", self_intersection_by_loops)(
                self.scene.points
            )
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        clock.around("backward", loss.backward)()
        clock.around("update", self._update)()
        clock.end()

    def _view(self, draws: torch.Generator) -> Tensor:
        side = self.bundle.image_size
        larger = round(side * MARGIN)
        image = self.clock.rendering(self._render)(larger)
        return self.clock.around("augment", _view)(image, self.scene.drawing.background, side, draws)

    def _render(self, side: int) -> Tensor:
        return rasterize(self.scene.together(), (side, side), backend=self.rasterizer)

    def _distil(self, z: Tensor, prompt: Prompt, step: int, draws: torch.Generator) -> Tensor:
        config = self.config
        lowest, first, last = self.schedule.times(50, *config.upper_t)
        t = draw_time(1, step / steps_of(config), draws, lowest=lowest, highest=(first, last))
        with torch.no_grad():
            noise = torch.randn(z.shape, generator=draws)
            guided = guided_noise(
                self.denoise, self.schedule.diffuse(z, noise, t), t, prompt, config.omega, self.schedule
            )
            gradient = torch.nan_to_num(self.schedule.at(t)[1] ** 2 * (guided - noise)) / z.numel()
        return _Given.apply(z, gradient)  # pyright: ignore

    def _update(self) -> None:
        for optimizer in self.optimizers:
            optimizer.step()
        for colour in self.scene.colours:
            colour.data.clamp_(0.0, 1.0)


def _view(image: Tensor, fill: Tensor, side: int, draws: torch.Generator) -> Tensor:
    return random_crop(random_perspective(image, draws, fill=fill), side, draws)
