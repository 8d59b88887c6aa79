"""The stages of VectorFusion: where a drawing starts, and how it becomes what the prompt says."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from runtime.command.seeds import parse_seeds
from runtime.engines.captured import CapturedLoss
from runtime.errors import UserError
from runtime.guidance.augment import clip_views, random_view
from runtime.guidance.clip import caption_loss
from runtime.guidance.prompt import Prompt, encode_prompt
from runtime.guidance.samples import sample_or_read
from runtime.guidance.schedule import Schedule
from runtime.guidance.sds import distillation_loss, draw_time, saturation_penalty
from runtime.loop.adam import Adam, Optimizer
from runtime.loop.events import Note, Report
from runtime.loop.optimize import Stage, generator_of
from runtime.loop.scene import Scene
from runtime.vector.history import with_history
from runtime.vector.paths import Drawing, outline, pixel_grid, random_circles, random_strokes
from runtime.vector.raster import rasterize
from runtime.vector.reinit import CANVAS, replace_unused
from runtime.vector.results import read_start
from runtime.vector.scene import VectorScene
from runtime.vector.symmetry import ALIKE, Mirror, completed, mirror_axis
from runtime.vector.trace.flat.refine import refining_stage, restore_after_step_
from runtime.vector.trace.live import TraceConfig, self_intersection_loss, trace_stages
from runtime.vector.trace.smoothing import smooth
from runtime.vectorfusion.config import has_contours, is_retraced, steps_of
from runtime.vectorfusion.retracing import REFINED, REFINING, contours_of, retracing
from runtime.vectorfusion.seeds import one_after_another
from runtime.vectorfusion.targets import Pull, target_term

if TYPE_CHECKING:
    from runtime.engines.bundle import DiffusionBundle
    from runtime.loop.folder import RunFolder
    from runtime.vectorfusion.config import Config

TRAINED = {"icon": ("points", "colours", "background"), "sketch": ("points",), "pixel": ("colours",)}
"""What is optimized of a drawing of each preset; Thesis 6.4.4."""

MARGIN = 600 / 512
"""Side of the picture over the side of the crop; Thesis 11.9.2."""

VIEWS = 4
"""Views of the image-text encoder a step, as many as CLIPDraw has."""

MIN_GAIN = {"icon": 6e-5, "sketch": 1e-3}
"""Mean squared error that a path of LIVE must save: a layer for every shade frays. A sketch has lines for
shapes only."""


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
        picture: RGB in [0, 1].
        cells: squares a side, at most H and W.
    """
    height, width = picture.shape[1:]
    grid = pixel_grid(cells, size=(height, width), generator=torch.Generator())
    rows, columns = ([round(i * side / cells) for i in range(cells + 1)] for side in (height, width))
    parts = [picture[:, a:b, c:d].flatten(1) for a, b in pairwise(rows) for c, d in pairwise(columns)]
    colours = torch.stack([part.median(1).values for part in parts])
    return replace(grid, colours=torch.cat([colours, torch.ones(len(parts), 1)], 1)[None])


def sampled_or_stored(
    config: "Config",
    bundle: "DiffusionBundle",
    prompt: Prompt,
    generator: torch.Generator,
    *,
    run: "RunFolder | None",
    report: Report,
    suffix: str = "",
) -> Float[Tensor, "3 H W"]:
    """Return the raster sample that is traced, smoothed as drawings are flat; see `guidance.samples.sample_or_read`."""
    return sample_or_read(
        bundle,
        prompt,
        generator,
        count=config.samples,
        omega=config.sample_omega,
        run=run,
        report=report,
        finish=smooth,
        suffix=suffix,
    )


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


def trace(
    config: "Config", picture: Float[Tensor, "3 H W"], axis: float | None = None
) -> tuple[list[Stage], Mirror | None]:
    """Return the stages that trace a picture, drawn by the configuration's rasterizer: of its contours, or LIVE's.

    Args:
        config: how it is traced.
        picture: RGB in [0, 1].
        axis: x about which the drawing of contours, and so the picture, is symmetric; None where it is not.

    Returns:
        The stages, and which parts of their drawing are to stay mirror images; None where none are.
    """

    def begin(first: Callable, before: Scene | None, generator: torch.Generator) -> Scene:
        scene = first(before, generator)
        scene.backend = config.rasterizer  # as a restored scene has it: else a resumed run would draw other bits
        return scene

    mirror = None
    if has_contours(config):
        drawing, mirror = contours_of(config, picture, axis)
        stages = [refining_stage(drawing, picture, None, REFINING, REFINED)]
        if mirror is not None:
            stages = [replace(stage, after=partial(_refined, stage.after, mirror)) for stage in stages]
    else:
        stages = trace_stages(picture, TraceConfig(paths=config.paths, min_gain=MIN_GAIN[config.preset]))
    stages = [replace(stage, begin=partial(begin, stage.begin), restore=_restore(config)) for stage in stages]
    return stages, mirror


def _refined(after: Callable | None, mirror: Mirror, scene: VectorScene, *rest: Any) -> None:
    """Do what a stage does after a step, and make mirror images what they were."""
    if after is not None:
        after(scene, *rest)
    mirror.restore_(scene)


def _restore(config: "Config") -> Callable[..., VectorScene]:
    """Return what makes a scene of its state, drawn by the configuration's rasterizer."""
    return partial(VectorScene.from_state, backend=config.rasterizer)


def distillation(
    config: "Config", bundle: "DiffusionBundle", prompt: Prompt, start: Callable, mirror: Mirror | None = None
) -> Stage:
    """Return the stage that distils a prompt into a drawing; Thesis 6.4.2, 11.9.

    Args:
        config: how it is distilled.
        bundle: the networks.
        prompt: what to draw.
        start: the stage's `begin`.
        mirror: which parts of the drawing stay mirror images.
    """
    scale = bundle.image_size / CANVAS
    steps = steps_of(config)
    return Stage(
        name="distil",
        steps=steps,
        begin=start,
        restore=_restore(config),
        optimizer=partial(_adam, config, scale),
        loss=_loss(config, bundle, prompt),
        lr_factor=lambda step: warm_then_cosine(step, steps),
        after=partial(_tidy, config, mirror),
        snapshots=min(4, steps),
    )


def warm_then_cosine(step: int, steps: int, *, warmup: int = 500) -> float:
    """Return the factor on the peak learning rate: from 0.1 linearly to 1, then by a cosine to 0.25; Thesis 11.9.3.

    Args:
        step: in [0, steps).
        steps: of the stage.
        warmup: steps of the linear part, at most a quarter of all (the thesis has 500 of 1,000 to 2,000).
    """
    warm = min(warmup, steps // 4)
    if step < warm:
        return 0.1 + 0.9 * step / warm
    return 0.25 + 0.75 * 0.5 * (1.0 + math.cos(math.pi * (step - warm) / max(1, steps - 1 - warm)))


def _adam(config: "Config", scale: float, scene: Scene) -> Optimizer:
    """Return Adam (0.9, 0.9, 1e-6; with targets LIVE's 0.9, 0.99, 1e-12) with a group for each trained part."""
    lrs = {"points": config.lr * scale, "colours": config.colour_lr, "background": config.colour_lr / 10.0}
    trained = TRAINED[config.preset]
    groups = [{"params": [getattr(scene, name)], "lr": lrs[name]} for name in trained]
    if config.target_every:
        return Adam(groups, betas=(0.9, 0.99), eps=1e-12)
    return Adam(groups, betas=(0.9, 0.9), eps=1e-6)


def _loss(
    config: "Config", bundle: "DiffusionBundle", prompt: Prompt
) -> Callable[[VectorScene, int, torch.Generator], dict[str, Tensor]]:
    """Return the loss of a step: distillation or a target, self-intersection, saturation, caption."""
    pull = (target_term if config.target_every else _distilled)(config, bundle, prompt)
    hybrid = _caption_term(config, bundle)

    def loss(scene: VectorScene, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        drawing = scene.drawing()
        image, terms = pull(scene, step, generator)
        if config.self_intersection > 0.0 and config.preset == "icon":
            terms["self_intersection"] = config.self_intersection * self_intersection_loss(
                drawing.points, drawing.layout
            )
        if config.saturation > 0.0:
            terms["saturation"] = config.saturation * saturation_penalty(image)
        if hybrid is not None:
            terms["clip"] = config.clip * hybrid(drawing, generator)
        return terms

    return loss


def _distilled(config: "Config", bundle: "DiffusionBundle", prompt: Prompt) -> Pull:
    """Return score distillation: a step's view and the term of it."""
    networks = {"denoise": bundle.denoiser(), "schedule": Schedule.of(bundle.schedule), "omega": config.omega}
    encode = bundle.latent_encoder(gradients=config.gradients)
    side = bundle.image_size
    captured = _captured(config, bundle, prompt, networks, encode)
    # The thesis' times are of 1000; a bundle may have another number of them.
    lowest, first, last = networks["schedule"].times(50, *config.upper_t)

    def pull(scene: VectorScene, step: int, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        image = _view(scene.drawing(), side, config, generator)
        z = None if captured else encode(image)
        shape = (len(image), *bundle.latent_shape) if z is None else z.shape
        # On the CPU, whatever z is on: a seed then means the same times and noise on every device.
        t = draw_time(shape[0], step / steps_of(config), generator, lowest=lowest, highest=(first, last))
        noise = torch.randn(shape, generator=generator)
        if captured is not None:
            return image, {"sds": captured(image, t, noise)}
        assert z is not None
        t, noise = (drawn.to(z.device, non_blocking=True) for drawn in (t, noise))
        return image, {"sds": distillation_loss(z, t, noise, prompt=prompt, **networks)}

    return pull


def _captured(
    config: "Config", bundle: "DiffusionBundle", prompt: Prompt, networks: dict[str, Any], encode: Callable
) -> CapturedLoss | None:
    """Return the distillation as one CUDA graph; None where the networks can't be held by one."""
    if config.gradients not in ("auto", "torch") or not getattr(bundle, "capturable", False):
        return None
    there = {"prompt": prompt.to(bundle.device), **networks, "schedule": networks["schedule"].to(bundle.device)}

    def distil(image: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        return distillation_loss(encode(image), t, noise, **there)

    return CapturedLoss(distil, bundle.device)


def _caption_term(
    config: "Config", bundle: "DiffusionBundle"
) -> Callable[[Drawing, torch.Generator], Float[Tensor, ""]] | None:
    """Return minus the mean cosine of a drawing's views with the prompt; None without a weight. Thesis 11.7."""
    if config.clip == 0.0:
        return None
    guide, side = bundle.guide(config.prompt, config.gradients), bundle.embedder_size

    def term(drawing: Drawing, generator: torch.Generator) -> Float[Tensor, ""]:
        picture = rasterize(drawing, (side, side), backend=config.rasterizer)
        return caption_loss(clip_views(picture, VIEWS, side, generator), guide) / VIEWS

    return term


def _view(
    drawing: Drawing, side: int, config: "Config", generator: torch.Generator
) -> Float[Tensor, "B 3 {side} {side}"]:
    """Return what the teacher sees: a random view from scratch, else the drawing itself."""
    if config.route == "trace":
        return rasterize(drawing, (side, side), backend=config.rasterizer)
    larger = round(side * MARGIN)
    image = rasterize(drawing, (larger, larger), backend=config.rasterizer)
    return random_view(image, side, generator, fill=drawing.background)


def _tidy(
    config: "Config", mirror: Mirror | None, scene: VectorScene, optimizer, step: int, generator: torch.Generator
) -> None:
    """Bring colours back into range and, when it is time, replace unused paths."""
    scene.clamp_()
    if has_contours(config):
        restore_after_step_(scene, config.lr * min(scene.size) / CANVAS)
    if mirror is not None:
        # Nothing is replaced here: a path alone would have no image.
        mirror.restore_(scene)
    elif config.preset == "icon" and config.reinitialize:
        # Fitted paths shrink to slivers before they fade; in score distillation random circles fade first (Table 11.1).
        area = 64.0 if config.route == "trace" or config.target_every else 0.0
        replace_unused(scene, optimizer, step, steps_of(config), generator, area=area)


def build(
    config: "Config",
    bundle: "DiffusionBundle",
    generator: torch.Generator,
    *,
    run: "RunFolder | None" = None,
    report: Report = lambda event: None,
) -> list[Stage]:
    """Return the stages of a configuration; see `runtime.command.method.Method.build`."""
    if not config.seeds:
        return _stages_of(config, bundle, generator, run=run, report=report)
    seeded = []
    for seed in parse_seeds(config.seeds):
        own = generator_of(seed, 0, 0, "sample")  # as that seed's own run has it
        alone = replace(config, seed=seed)
        seeded.append((seed, _stages_of(alone, bundle, own, run=run, report=report, suffix=f"-seed-{seed}")))
    return one_after_another(seeded)


def _stages_of(
    config: "Config",
    bundle: "DiffusionBundle",
    generator: torch.Generator,
    *,
    run: "RunFolder | None",
    report: Report,
    suffix: str = "",
) -> list[Stage]:
    """Return the stages of one seed."""
    size = (bundle.image_size, bundle.image_size)
    prompt = encode_prompt(config.prompt, bundle.prompt_suffix, bundle.text_encoder())
    stages: list[Stage] = []
    drawing = mirror = None
    if config.init is not None:
        drawing = read_start(config.init, size, lambda text: report(Note(text)))
    elif config.route == "trace":
        picture = sampled_or_stored(config, bundle, prompt, generator, run=run, report=report, suffix=suffix)
        if config.preset == "pixel":
            drawing = pixelated(picture, math.isqrt(config.paths))
        else:
            axis = None
            if config.symmetric != "off":
                axis = mirror_axis(picture, ALIKE if config.symmetric == "auto" else np.inf)
                picture = picture if axis is None else completed(picture, axis)
                report(Note(f"the drawing is symmetric about x = {axis:g}" if axis else "the sample is not symmetric"))
            traced, mirror = trace(config, picture, axis)
            stages += traced
            if is_retraced(config):
                stages.append(retracing(config, bundle, prompt, axis))
                return with_history(stages) if config.video else stages
    stages.append(distillation(config, bundle, prompt, start_of(config, size, drawing), mirror))
    return with_history(stages) if config.video else stages


def validate(config: "Config", bundle: "DiffusionBundle") -> None:
    """Raise `UserError` where a part can't do what is asked: prompt too long, no such gradients or rasterizer."""
    size = (bundle.image_size, bundle.image_size)
    Schedule.of(bundle.schedule)
    encode_prompt(config.prompt, bundle.prompt_suffix, bundle.text_encoder())
    # Where nothing is differentiated the engine of the gradient need not be there.
    bundle.latent_encoder("none" if is_retraced(config) and config.gradients == "auto" else config.gradients)
    _caption_term(config, bundle)
    if config.init is not None:
        read_start(config.init, size)
    elif config.route == "trace" and config.samples > 1:
        try:
            bundle.scorer()
        except UserError as error:
            raise UserError(f"{error}, or ask for one sample: --samples 1") from error
    # The only way to know whether diffvg is there and works.
    rasterize(random_circles(1, size=(8, 8), generator=torch.Generator()), backend=config.rasterizer)
