"""The stages of `runtime.lift`: a sample is lifted to a solid, and the prompt distilled into it from all around."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from runtime.errors import UserError
from runtime.field.cameras import Cameras, pixel_centres
from runtime.field.fields.grid import DenseGrid, GridAdam
from runtime.field.lifting import DISTANCE, lift
from runtime.field.lifting.framing import read_framed
from runtime.field.lifting.hull import hull_of
from runtime.field.lifting.masks import eroded
from runtime.field.lifting.matte import foreground
from runtime.field.opacity import misplaced
from runtime.field.poses import on_sphere
from runtime.field.volume import Rendering
from runtime.guidance.prompt import Prompt, encode_prompt
from runtime.guidance.samples import sample_or_read
from runtime.guidance.schedule import Schedule
from runtime.guidance.sds import distillation_loss, draw_time
from runtime.guidance.views import with_cameras
from runtime.lift.config import picture_of, text_of
from runtime.lift.route import chosen_route, load_sides
from runtime.lift.views import guessing, load_teacher
from runtime.loop.adam import Optimizer
from runtime.loop.events import Note, Report
from runtime.loop.optimize import Stage

if TYPE_CHECKING:
    from runtime.engines.bundle import DiffusionBundle
    from runtime.lift.config import Config
    from runtime.loop.folder import RunFolder

ELEVATION = (-0.1, 0.8)
"""Radians that cameras of the refinement are drawn from; azimuths are all."""

FOCAL = DISTANCE / 2
"""Focal length of the camera in front, in parts of the picture's side: the box fills the frame."""

FRONT_RAYS = 1500
"""Rays a step through the picture itself."""

INNER = 3
"""Pixels at the picture's outline that are not held: the teacher may round the seam off."""

DECAY = 0.3
"""Learning rates at the end, in parts of those at the beginning."""

LR = {False: 0.08, True: 0.15}
"""Learning rate of raw densities by whether the route is by views."""

FRONT = {False: 1.0, True: 10.0}
"""Weight of the picture itself by whether the route is by views."""

SOLID_FROM = 0.3
"""Part of the steps without the term of solidity, as in DreamFusion: what is fog may be on its way out at first."""

SMOOTH = 0.01
"""Differences of raw values below its root cost their square: epsilon of the total variation."""

COLOUR_VARIATION = 1.0
"""Weight of the variation of colours in parts of that of densities."""

OCCUPANCY_EVERY = 25
"""Steps between two looks at which cells are empty."""


def build(
    config: "Config",
    bundle: "DiffusionBundle",
    generator: torch.Generator,
    *,
    run: "RunFolder | None" = None,
    report: Report = lambda event: None,
) -> list[Stage]:
    """Return the stages of a configuration; see `runtime.command.method.Method.build`."""
    path, text = picture_of(config), text_of(config)
    sides = load_sides(config)
    by_views = chosen_route(config, sides, report) == "views"
    if by_views:
        bundle = load_teacher(config, bundle)
    # The views of objects that a denoiser knows were captioned without the suffix of icons.
    style = "" if by_views else bundle.prompt_suffix
    prompt = encode_prompt(text, style, bundle.text_encoder()) if text else None
    at = (math.radians(config.seen_from[0]), math.radians(config.seen_from[1])) if by_views else (0.0, 0.0)
    if path is not None:
        picture = read_framed(path, bundle.image_size)
    else:
        assert prompt is not None, "a configuration without a picture has a prompt"
        counts = {"count": config.samples, "omega": config.sample_omega}
        shown = with_cameras(prompt, *(torch.tensor([angle]) for angle in at)) if by_views else prompt
        picture = sample_or_read(bundle, shown, generator, run=run, report=report, **counts)
    if not foreground(picture).any():
        raise UserError(f"'{config.prompt}': expected an object before white, got an empty sample; use another --seed")
    if by_views:
        assert sides is not None, "the route needs it, and loading it would have said what is wrong"
        first, held = guessing(config, picture, sides), Held(picture, at, sides.manifest.focal, around=True)
    else:
        first, held = lifting(config, picture), Held(picture)
    if prompt is None and config.refine > 0:
        report(Note("a picture without --caption is not refined"))
    if prompt is None or config.refine == 0:
        return [first]
    return [first, refinement(config, bundle, prompt, held, by_views=by_views)]


def lifting(config: "Config", picture: Float[Tensor, "3 S S"]) -> Stage:
    """Return the stage that makes a solid of a picture; its one step is there for the preview."""
    return Stage(
        name="lift",
        steps=1,
        begin=lambda before, generator: lift(picture, nodes=config.nodes, back=config.back).field,
        restore=DenseGrid.from_state,
        advance=lambda scene, step, generator: scene.update_occupancy(),
    )


def refinement(
    config: "Config", bundle: "DiffusionBundle", prompt: Prompt, held: "Held", *, by_views: bool = False
) -> Stage:
    """Return the stage that distils a prompt into a solid; DreamFusion's loss (arXiv:2209.14988) on latents.

    Args:
        config: weights and rates.
        bundle: the teacher.
        prompt: what it is to see.
        held: the picture.
        by_views: whether what is refined is a network's soft guess, which becomes solid on the way.
    """
    lr = config.lr if config.lr is not None else LR[by_views]

    def after(scene: DenseGrid, optimizer: Optimizer, step: int, generator: torch.Generator) -> None:
        if step % OCCUPANCY_EVERY == OCCUPANCY_EVERY - 1:
            scene.update_occupancy()

    return Stage(
        name="refine",
        steps=config.refine,
        begin=lambda before, generator: before,
        restore=DenseGrid.from_state,
        optimizer=lambda scene: GridAdam(scene, lr=lr, colour_lr=config.colour_lr),
        loss=_loss(config, bundle, prompt, held, by_views=by_views),
        lr_factor=lambda step: 1 - (1 - DECAY) * step / config.refine,
        after=after,
        snapshots=min(3, config.refine),
    )


def camera(azimuth: float, elevation: float, side: int, focal: float = FOCAL) -> Cameras:
    """Return a camera at the distance at which the box fills the frame, with a focal length in parts of its side."""
    focal *= side
    angles = torch.tensor([[azimuth], [elevation]])
    return Cameras(
        poses=on_sphere(angles[0], angles[1], torch.tensor([DISTANCE])),
        intrinsics=torch.tensor([[focal, focal, side / 2, side / 2]]),
        sizes=torch.tensor([[side, side]]),
    )


Terms = Callable[[DenseGrid, int, torch.Generator], dict[str, Tensor]]


def _loss(config: "Config", bundle: "DiffusionBundle", prompt: Prompt, held: "Held", *, by_views: bool) -> Terms:
    """Return the loss of a step: distillation from a random place, the picture from where it was taken, variation."""
    networks = {"denoise": bundle.denoiser(), "schedule": Schedule.of(bundle.schedule), "omega": config.omega}
    encoder = bundle.latent_encoder(gradients="auto")
    lowest, first, last = networks["schedule"].times(50, *config.upper_t)
    solid = config.solid if by_views else 0.0
    front = FRONT[by_views] if config.front is None else config.front

    def loss(scene: DenseGrid, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        shown, rendering, angles = seen(scene, config.render, generator, held.focal)
        z = encoder(functional.interpolate(shown, size=(bundle.image_size,) * 2, mode="bilinear"))
        t = draw_time(1, step / config.refine, generator, lowest=lowest, highest=(first, last))
        noise = torch.randn(z.shape, generator=generator)
        # A denoiser that knows cameras sees backs and sides in them; another takes each for a front.
        text = with_cameras(prompt, *angles) if bundle.knows_cameras else prompt
        terms = {"sds": distillation_loss(z, t, noise, prompt=text, **networks)}
        if front > 0:
            terms["front"] = front * held.error(scene, generator)
        if solid > 0 and step >= SOLID_FROM * config.refine:
            hull = hull_of(shown[0].detach().clamp(0, 1))
            terms["solid"] = solid * misplaced(rendering.transmittance, hull.inside, hull.outside)
        if config.variation > 0:
            # By the area of a surface in nodes, so that a weight means the same on any grid.
            weight = config.variation / scene.size**2
            terms["variation"] = scene.total_variation(weight, COLOUR_VARIATION * weight, SMOOTH)
        return terms

    return loss


Angles = tuple[Float[Tensor, " 1"], Float[Tensor, " 1"]]


def seen(
    scene: DenseGrid, side: int, generator: torch.Generator, focal: float = FOCAL
) -> tuple[Float[Tensor, "1 3 side side"], Rendering, Angles]:
    """Return a picture of a scene from a random place before white, what its rays show, and azimuth and elevation."""
    u = torch.rand(4, generator=generator).tolist()
    azimuth, elevation = (2 * u[0] - 1) * np.pi, ELEVATION[0] + (ELEVATION[1] - ELEVATION[0]) * u[1]
    place = camera(azimuth, elevation, side, focal)
    # A new place within the pixels each step: otherwise nothing between the rays would ever be seen.
    offset = torch.tensor(u[2:]) - 0.5
    rays = place.rays(0, pixel_centres(side, side) + offset)
    shown = scene.render(rays, torch.rand(side * side, generator=generator))
    picture = shown.on(torch.ones(1, 3)).T.reshape(1, 3, side, side)
    return picture, shown, (torch.tensor([azimuth]), torch.tensor([elevation]))


class Held:
    """The picture itself as a target, where no other colour is mixed into it.

    Args:
        picture: RGB in [0, 1].
        at: azimuth and elevation, in radians, that it was taken from.
        focal: focal length in parts of its side.
        around: whether what is outside its outline is held, too, as empty. Where the picture decides the outline of a
            solid already it need not be.
    """

    def __init__(
        self,
        picture: Float[Tensor, "3 S S"],
        at: tuple[float, float] = (0.0, 0.0),
        focal: float = FOCAL,
        *,
        around: bool = False,
    ) -> None:
        mask = foreground(picture)
        inner = eroded(mask, INNER)
        places = torch.from_numpy(inner | ~mask if around else inner).flatten()
        side = picture.shape[1]
        self.focal = focal
        self.pixels = pixel_centres(side, side)[places]
        # Outside there is white: a sample's own background is nearly so.
        self.colours = torch.where(torch.from_numpy(mask), picture, torch.ones(())).flatten(1).T[places]
        self.camera = camera(*at, side, focal)

    def error(self, scene: DenseGrid, generator: torch.Generator) -> Float[Tensor, ""]:
        """Return the mean squared error of some of the pixels."""
        if not len(self.pixels):
            return torch.zeros(())
        # Sorted: rays side by side read the same nodes.
        rows = torch.randint(len(self.pixels), (FRONT_RAYS,), generator=generator).sort().values
        shown = scene.render(self.camera.rays(0, self.pixels[rows]), torch.rand(len(rows), generator=generator))
        return (shown.on(torch.ones(1, 3)) - self.colours[rows]).square().mean()


def validate(config: "Config", bundle: "DiffusionBundle") -> None:
    """Raise `UserError` where a part can't do what is asked: text too long, no such picture, no dual encoder."""
    Schedule.of(bundle.schedule)
    if chosen_route(config, load_sides(config)) == "views":
        bundle = load_teacher(config, bundle)
    if text_of(config):
        encode_prompt(text_of(config), bundle.prompt_suffix, bundle.text_encoder())
    path = picture_of(config)
    if path is not None:
        read_framed(Path(path), bundle.image_size)
    elif config.samples > 1:
        try:
            bundle.scorer()
        except UserError as error:
            raise UserError(f"{error}, or ask for one sample: --samples 1") from error
    bundle.latent_encoder(gradients="auto")
