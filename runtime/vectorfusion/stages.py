"""The parts of VectorFusion: where a drawing starts, and the stage that distils a prompt into it."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from runtime.errors import UserError
from runtime.guidance.augment import random_view
from runtime.guidance.clip import rank
from runtime.guidance.sampler import sample_latents
from runtime.guidance.schedule import Schedule
from runtime.guidance.sds import Prompt, distillation_loss, draw_time, saturation_penalty
from runtime.loop.optimize import Scene, Stage
from runtime.pictures import flatten, read_png, write_png
from runtime.vector.paths import Drawing, outline, pixel_grid, random_circles, random_strokes
from runtime.vector.raster import rasterize
from runtime.vector.reinit import CANVAS, due, replace_paths, unused_paths
from runtime.vector.scene import VectorScene
from runtime.vector.trace.live import TraceConfig, trace_stages, xing_loss

if TYPE_CHECKING:
    from runtime.engines.bundle import DiffusionBundle
    from runtime.vectorfusion.config import Config

TRAINED = {"icon": ("points", "colours", "background"), "sketch": ("points",), "pixel": ("colours",)}
"""What is optimized of a drawing of each preset; Thesis 6.4.4."""

MARGIN = 600 / 512
"""Side of the picture over the side of the crop; Thesis 11.9.2."""

FAINT = 0.05
"""Opacity below which a path counts as unused; Thesis Table 11.1."""

SAMPLER_STEPS = 25
"""Calls of the denoiser for each raster sample."""

LEAST_GAIN = {"icon": 6e-5, "sketch": 1e-3}
"""Mean squared error that a traced path must save: a layer for every shade frays. A sketch has lines for
shapes only."""

Report = Callable[[str, int, int], None]
"""Called with what is being done, the steps that are done, and all steps."""


def random_start(config: "Config", size: tuple[int, int], generator: torch.Generator) -> Drawing:
    """Return the random drawing of a preset; Thesis 11.9.1."""
    if config.preset == "sketch":
        return random_strokes(config.paths, size=size, generator=generator)
    if config.preset == "pixel":
        return pixel_grid(math.isqrt(config.paths), size=size, generator=generator)
    return random_circles(config.paths, size=size, generator=generator)


def pixelated(picture: Float[Tensor, "3 H W"], cells: int) -> Drawing:
    """Return a grid of opaque squares, each of the median colour of what it covers, which is nearest to it by L1.

    Args:
        picture: (3, H, W) in [0, 1].
        cells: squares a side, at most H and W.
    """
    height, width = picture.shape[1:]
    grid = pixel_grid(cells, size=(height, width), generator=torch.Generator())
    rows, columns = ([round(i * side / cells) for i in range(cells + 1)] for side in (height, width))
    parts = [picture[:, a:b, c:d].flatten(1) for a, b in pairwise(rows) for c, d in pairwise(columns)]
    colours = torch.stack([part.median(1).values for part in parts])
    return replace(grid, colours=torch.cat([colours, torch.ones(len(parts), 1)], 1)[None])


def styled_prompt(prompt: str, bundle: "DiffusionBundle") -> str:
    """Return a prompt that ends on the bundle's suffix, as the thesis' do (6.4.1).

    A prompt stays as it is where it has a comma, behind which it names a style of its own, and where the suffix finds
    no room.

    Raises:
        UserError: where the prompt alone is too long.
    """
    suffix, encoder = "" if "," in prompt else bundle.prompt_suffix, bundle.text_encoder()
    styled = prompt + suffix
    try:
        encoder([styled])
    except UserError:
        encoder([prompt])
        return prompt
    return styled


def sample_picture(
    config: "Config", bundle: "DiffusionBundle", generator: torch.Generator, folder: Path | None, report: Report
) -> Float[Tensor, "3 H W"]:
    """Return the raster sample that is traced, (3, H, W): of K, the one most consistent with the prompt; Thesis 6.4.1.

    Samples are flattened first, as drawings are flat. They are compared with the prompt that they were drawn for, its
    suffix included. The picture is rounded to 8 bits, so that `sample.png`, from which a run goes on, is the very same.

    Args:
        config: the prompt, how many samples and how guided.
        bundle: the networks.
        generator: of the draws.
        folder: where `sample.png` is kept, and found by a run that goes on.
        report: told of each call of the denoiser.
    """
    if folder is not None and (folder / "sample.png").is_file():
        return read_png(folder / "sample.png")
    text = styled_prompt(config.prompt, bundle)
    prompt = Prompt.encode(text, bundle.text_encoder())
    only = bundle.manifest.sample_times
    calls = len(only) or SAMPLER_STEPS
    latents = sample_latents(
        bundle.denoiser(),
        Schedule.of(bundle.schedule),
        prompt,
        (config.samples, *bundle.latent_shape),
        generator,
        omega=config.sample_omega,
        steps=calls,
        only=only,
        report=lambda done: report("sample", done, calls),
    )
    images = flatten(bundle.latent_decoder()(latents))
    best = images[rank(images, text, bundle.scorer())[0] if config.samples > 1 else 0]
    if folder is not None:
        write_png(folder / "samples.png", torch.cat(list(images), -1))
        write_png(folder / "sample.png", best)
    return best.clamp(0.0, 1.0).mul(255.0).round() / 255.0


def start_of(config: "Config", size: tuple[int, int], drawing: Drawing | None) -> Callable:
    """Return what begins the distillation: the stage before's drawing (its outlines), a given one, or a random one."""

    def begin(before: Scene | None, generator: torch.Generator) -> VectorScene:
        first = drawing
        if isinstance(before, VectorScene):
            traced = before.drawing().detach()
            first = outline(traced) if config.preset == "sketch" else traced
        if first is None or first.layout.num_paths == 0:  # nothing given, or an empty picture traced
            first = random_start(config, size, generator)
        return VectorScene(first, train=TRAINED[config.preset], backend=config.rasterizer)

    return begin


def trace(config: "Config", picture: Float[Tensor, "3 H W"]) -> list[Stage]:
    """Return LIVE's stages for a picture (3, H, W), drawn by the configuration's rasterizer."""

    def drawn_by(begin: Callable, before: Scene | None, generator: torch.Generator) -> Scene:
        scene = begin(before, generator)
        scene.backend = config.rasterizer  # as a scene that is restored has it: else a run goes on with other bits
        return scene

    stages = trace_stages(picture, TraceConfig(paths=config.paths, least=LEAST_GAIN[config.preset]))
    return [replace(stage, begin=partial(drawn_by, stage.begin)) for stage in stages]


def distillation(config: "Config", bundle: "DiffusionBundle", start: Callable) -> Stage:
    """Return the stage that distils a prompt into a drawing; Thesis 6.4.2, 11.9.

    Args:
        config: the prompt and how it is distilled.
        bundle: the networks.
        start: the stage's `begin`.
    """
    scale = bundle.image_size / CANVAS
    return Stage(
        name="distil",
        steps=config.steps,
        begin=start,
        optimizer=partial(_adam, config, scale),
        loss=_loss(config, bundle),
        rate=lambda step: warm_then_cosine(step, config.steps),
        after=partial(_tidy, config, scale),
        snapshots=min(4, config.steps),
    )


def warm_then_cosine(step: int, steps: int, *, warmup: int = 500) -> float:
    """Return the factor on the greatest rate: from 0.1 linearly to 1, then by a cosine to 0.25; Thesis 11.9.3.

    Args:
        step: in [0, steps).
        steps: of the stage.
        warmup: steps of the linear part, at most a quarter of all (the thesis has 500 of 1,000 to 2,000).
    """
    warm = min(warmup, steps // 4)
    if step < warm:
        return 0.1 + 0.9 * step / warm
    return 0.25 + 0.75 * 0.5 * (1.0 + math.cos(math.pi * (step - warm) / max(1, steps - 1 - warm)))


def _adam(config: "Config", scale: float, scene: Scene) -> torch.optim.Optimizer:
    """Return Adam (0.9, 0.9, 1e-6) with a group for each trained part of the drawing."""
    rates = {"points": config.rate * scale, "colours": config.colour_rate, "background": config.colour_rate / 10.0}
    trained = TRAINED[config.preset]
    groups = [{"params": [getattr(scene, name)], "lr": rates[name]} for name in trained]
    return torch.optim.Adam(groups, betas=(0.9, 0.9), eps=1e-6)


def _loss(
    config: "Config", bundle: "DiffusionBundle"
) -> Callable[[VectorScene, int, torch.Generator], dict[str, Tensor]]:
    """Return the loss of a step: distillation, self-intersection, saturation."""
    networks = {"denoise": bundle.denoiser(), "schedule": Schedule.of(bundle.schedule), "omega": config.omega}
    encode = bundle.latent_encoder(gradients=config.gradients)
    prompt = Prompt.encode(styled_prompt(config.prompt, bundle), bundle.text_encoder())
    side, count = bundle.image_size, len(networks["schedule"])
    lowest, first, last = (round(t * count / 1000) for t in (50, *config.upper_t))

    def loss(scene: VectorScene, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        drawing = scene.drawing()
        image = _view(drawing, side, config, generator)
        z = encode(image)
        t = draw_time(len(z), step / config.steps, generator, lowest=lowest, highest=(first, last))
        noise = torch.randn(z.shape, generator=generator)
        terms = {"sds": distillation_loss(z, t, noise, prompt=prompt, **networks)}
        if config.xing > 0.0 and config.preset == "icon":
            terms["xing"] = config.xing * xing_loss(drawing.points, drawing.layout)
        if config.saturation > 0.0:
            terms["saturation"] = config.saturation * saturation_penalty(image)
        return terms

    return loss


def _view(
    drawing: Drawing, side: int, config: "Config", generator: torch.Generator
) -> Float[Tensor, "B 3 {side} {side}"]:
    """Return what the teacher sees, (B, 3, side, side): a random view from scratch, else the drawing itself."""
    if config.route == "trace":
        return rasterize(drawing, (side, side), backend=config.rasterizer)
    larger = round(side * MARGIN)
    image = rasterize(drawing, (larger, larger), backend=config.rasterizer)
    return random_view(image, side, generator, fill=drawing.background)


def _tidy(config: "Config", scale: float, scene: Scene, optimizer, step: int, generator: torch.Generator) -> None:
    """Bring colours back into range and, when it is time, replace unused paths."""
    scene.clamp_()
    if config.preset == "icon" and due(step, config.steps):
        area = 64.0 * scale**2 if config.route == "trace" else 0.0
        unused = unused_paths(scene.drawing().detach(), opacity=FAINT, area=area)
        replace_paths(scene, optimizer, unused, generator)


def without_unused(drawing: Drawing) -> Drawing:
    """Return a drawing without the paths that are too faint to see, which an editor would only stumble on."""
    unused = unused_paths(drawing, opacity=FAINT, area=0.0)[0].tolist()
    return drawing.select([path for path, gone in enumerate(unused) if not gone])


def build(
    config: "Config",
    bundle: "DiffusionBundle",
    generator: torch.Generator,
    *,
    folder: Path | None = None,
    drawing: Drawing | None = None,
    report: Report = lambda what, done, total: None,
) -> list[Stage]:
    """Return the stages of a configuration for `runtime.loop.optimize.optimize`.

    Args:
        config: what to draw; checked.
        bundle: the frozen networks.
        generator: of the raster samples.
        folder: where `sample.png` is kept, and found by a run that goes on.
        drawing: what `config.init` holds, on a canvas of the bundle's size.
        report: told of the sampling.
    """
    size = (bundle.image_size, bundle.image_size)
    stages: list[Stage] = []
    if drawing is None and config.route == "trace":
        picture = sample_picture(config, bundle, generator, folder, report)
        if config.preset == "pixel":
            drawing = pixelated(picture, math.isqrt(config.paths))
        else:
            stages += trace(config, picture)
    return [*stages, distillation(config, bundle, start_of(config, size, drawing))]
