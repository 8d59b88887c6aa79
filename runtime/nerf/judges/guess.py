"""pixelNeRF as a prior for few photos: what it guesses of the sides that no photo shows is a weak target.

A network that has seen many objects from all sides guesses a field of at most three photos (arXiv:2012.02190). Pictures
of that field from where no photo was taken are targets beside the photos, as ReconFusion's are (arXiv:2312.02981). It
has a diffusion model clean them first; that of `objects` takes them farther from the truth (benchmarks/README.md).
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from runtime.errors import UserError
from runtime.field.cameras import Cameras, pixel_centres
from runtime.field.fields.conditioned import ConditionedField, guess, read_grid
from runtime.field.fields.grid import DenseGrid
from runtime.field.fields.hashed import HashedGrid
from runtime.field.pictures import look
from runtime.field.poses import look_at, on_sphere
from runtime.field.training_views import TrainingViews
from runtime.nerf.hull import check_alpha

if TYPE_CHECKING:
    from runtime.engines.bundle import PixelNeRFBundle

PHOTOS = 3
"""Most photos that the network looks at: it was trained on one to three."""

NODES = 97
"""Nodes, along an axis, of the grid that its field is read into."""

PLACES = 24
"""Cameras that the guess is looked at from, once, evenly spread over the sphere between two elevations."""
ELEVATION = (-0.2, 0.9)
"""Lowest and highest of them, radians."""

PLACES_A_STEP = 8
RAYS = 2000
"""About as many rays a step through pictures of the guess, over all of its cameras."""

UNTIL = 0.5
"""Part of a run over which the guess's weight falls to nothing: what photos show is sharper than any guess of it, and
where they show nothing the field stays as it is."""

FAR = math.radians(60)
"""Angle to the nearest photo's camera from which on a guess counts whole; nearer it counts in proportion."""


@dataclass(frozen=True)
class Photos:
    """Photos as the network knows pictures: cameras look at the object's ball, which just fits."""

    pictures: Float[Tensor, "V 4 S S"]
    """Premultiplied RGBA."""
    poses: Float[Tensor, "V 4 4"]
    """Camera-to-world; lengths in the capture's box."""
    focal: Float[Tensor, "V 1"]
    """In parts of a picture's side."""
    distance: Float[Tensor, "V 1"]
    """Of the cameras from the ball's centre, which is the origin, in its radii."""
    radius: float
    """Of the ball, in the capture's box."""


@dataclass(frozen=True)
class Guess:
    """Pictures of the guess, their cameras, and how much each counts."""

    cameras: Cameras
    colour: Float[Tensor, "K P 3"]
    """Of the pixels of each camera, row by row, premultiplied with alpha."""
    alpha: Float[Tensor, "K P"]
    weight: Float[Tensor, " K"]
    """In [0, 1]."""

    @classmethod
    def of(cls, bundle: "PixelNeRFBundle", views: TrainingViews) -> "Guess":
        """Return what a bundle's network guesses of a capture's photos.

        Raises:
            UserError: the photos have no alpha, show nothing, or were taken inside the object.
        """
        manifest = bundle.manifest
        photos = photos_of(views, manifest.side)
        field = guess(bundle, photos.pictures, photos.poses, (photos.focal, photos.distance))
        cameras = cameras_around(photos.radius, manifest.distance, manifest.focal, manifest.side)
        return cls.seen(field, photos.radius, cameras, views.cameras.centres)

    @classmethod
    @torch.no_grad()
    def seen(
        cls, field: ConditionedField, radius: float, cameras: Cameras, taken_from: Float[Tensor, "V 3"]
    ) -> "Guess":
        """Return what cameras see of a field in a ball around the origin, beside photos from some places."""
        unit = read_grid(field, NODES)
        # Raw densities are of a grid's own lengths, so they are the same in a box of any size.
        grid = DenseGrid(unit.values, unit.occupied, unit.box * radius)
        shown = [look(grid.render, cameras, place) for place in range(len(cameras))]
        return cls(
            cameras=cameras,
            colour=torch.stack([view.on(0.0).flatten(0, 1) for view in shown]),
            alpha=torch.stack([view.alpha.flatten() for view in shown]),
            weight=(angles_to(cameras.centres, taken_from) / FAR).clamp(max=1.0),
        )

    def terms(
        self, scene: DenseGrid | HashedGrid, weight: float, progress: float, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return the weighted squared errors of colour before white and of alpha on some pixels of some pictures.

        A pixel counts by how sure the guess is that something is there or nothing, 1 - 4 alpha (1 - alpha): a guess
        has blurred outlines, which an object has not. Nothing is returned once the guess counts no more.

        Args:
            scene: rendered, differentiable.
            weight: of both at the beginning.
            progress: part of the run that is over.
            generator: of pictures, pixels, places in them, and where rays are sampled.
        """
        weight *= 1 - progress / UNTIL
        if weight <= 0:
            return {}
        place, pixel, at = self.draw(generator)
        shown = scene.render(self.cameras.rays_of(place, at), torch.rand(len(place), generator=generator))
        colour, alpha, share = self.colour[place, pixel], self.alpha[place, pixel], self.weight[place]
        share = share * (1 - 4 * alpha * (1 - alpha))
        white = shown.on(torch.ones(1, 3)) - (colour + 1 - alpha[:, None])
        return {
            "guess": weight * (share[:, None] * white.square()).mean(),
            # A third of its mean, as colours have three.
            "guess alpha": weight * (share * (shown.alpha - alpha).square()).mean() / 3,
        }

    def draw(self, generator: torch.Generator) -> tuple[Int64[Tensor, " R"], Int64[Tensor, " R"], Float[Tensor, "R 2"]]:
        """Return cameras, pixels counted row by row, and x and y of places in them: a lattice in some pictures."""
        height, width = self.cameras.sizes[0].tolist()
        places = torch.randperm(len(self.cameras), generator=generator)[:PLACES_A_STEP].sort().values
        stride = max(1, round(math.sqrt(len(places) * height * width / RAYS)))
        top, left = torch.randint(stride, (2,), generator=generator).tolist()
        # Neighbouring rays read the same nodes.
        lattice = torch.cartesian_prod(torch.arange(top, height, stride), torch.arange(left, width, stride))
        rows = lattice.repeat(len(places), 1)
        at = rows.flip(1) + torch.rand(len(rows), 2, generator=generator)
        return places.repeat_interleave(len(lattice)), rows[:, 0] * width + rows[:, 1], at


def angles_to(centres: Float[Tensor, "K 3"], others: Float[Tensor, "V 3"]) -> Float[Tensor, " K"]:
    """Return the angle between each of some places and the nearest of others, as the origin sees them, radians."""
    cosines = functional.normalize(centres, dim=1) @ functional.normalize(others, dim=1).T
    return cosines.amax(1).clamp(-1, 1).acos()


def cameras_around(radius: float, distance: float, focal: float, side: int) -> Cameras:
    """Return cameras on a Fibonacci lattice around a ball at the origin: equal areas of the sphere have as many.

    Args:
        radius: of the ball.
        distance: of the cameras, in radii.
        focal: in parts of a picture's side.
        side: of the pictures, pixels.
    """
    index = torch.arange(PLACES) + 0.5
    low, high = (math.sin(angle) for angle in ELEVATION)
    golden = math.pi * (3 - math.sqrt(5))
    elevation = (low + (high - low) * index / PLACES).asin()
    poses = on_sphere(index * golden % (2 * math.pi), elevation, torch.full((PLACES,), distance * radius))
    intrinsics = torch.tensor([focal * side, focal * side, side / 2, side / 2])
    return Cameras(poses, intrinsics.repeat(PLACES, 1), torch.full((PLACES, 2), side))


def farthest_apart(centres: Float[Tensor, "V 3"], count: int) -> list[int]:
    """Return the first place and those that are each farthest in angle from all before them, rising."""
    chosen = [0]
    while len(chosen) < min(count, len(centres)):
        angles = angles_to(centres, centres[chosen])
        angles[chosen] = -1
        chosen.append(int(angles.argmax()))
    return sorted(chosen)


def photos_of(views: TrainingViews, side: int) -> Photos:
    """Return at most `PHOTOS` photos from far apart, as they would look from the same places straight at the object.

    A camera that is turned about its own centre sees the same rays elsewhere, so nothing has to be known of depths. The
    object's ball is around the middle of the capture's box, and just holds what the silhouettes show.

    Args:
        views: photos.
        side: of the pictures to return, pixels.

    Raises:
        UserError: the photos have no alpha, show nothing, or were taken inside the object.
    """
    check_alpha(views.has_alpha, "--prior")
    chosen = farthest_apart(views.cameras.centres, PHOTOS)
    cameras = views.cameras.select(chosen)
    radius = max(_reach(views, view) for view in chosen)
    distance = cameras.centres.norm(dim=1) / max(radius, 1e-9)
    if radius == 0 or float(distance.min()) <= 1:
        problem = "no object" if radius == 0 else "cameras within it"
        raise UserError(
            f"--prior: expected photos of one object in the middle of the box, from outside, got {problem}; `inspect` "
            "lists the cameras, --centre and --half move and scale the box"
        )
    # The ball's outline touches the picture's border: its angular radius has the sine 1 / distance.
    focal = 0.5 * (distance.square() - 1).sqrt()
    poses = look_at(cameras.centres, torch.zeros(3))
    straight = Cameras(
        poses,
        torch.stack([focal * side, focal * side, *[torch.full_like(focal, side / 2)] * 2], 1),
        torch.full((len(chosen), 2), side),
    )
    pictures = [_turned(views, view, straight[row]) for row, view in enumerate(chosen)]
    return Photos(torch.stack(pictures), poses, focal[:, None], distance[:, None], radius)


def _reach(views: TrainingViews, view: int) -> float:
    """Return the radius of the ball around the origin whose outline holds a photo's silhouette; 0: it has none."""
    rows, columns = (views.picture(view)[..., 3] > 0.5).nonzero().unbind(1)
    if not len(rows):
        return 0.0
    camera = views.cameras[view]
    rays = camera.rays(0, torch.stack([columns, rows], 1) + 0.5)
    # To the pixels' outer edge, half a pixel farther than their centres.
    edge = 0.5 * float(camera.centres[0].norm() / camera.intrinsics[0, 0])
    return float(torch.linalg.cross(rays.directions, rays.origins).norm(dim=1).max()) + edge


def _turned(views: TrainingViews, view: int, straight: Cameras) -> Float[Tensor, "4 S S"]:
    """Return a photo as a camera in the same place sees it, premultiplied; transparent beyond the photo's border."""
    side, camera = int(straight.sizes[0, 0]), views.cameras[view]
    # As many samples as photo pixels fall on one: what is left out between them would alias.
    count = max(1, round(float(camera.intrinsics[0, 0] / straight.intrinsics[0, 0])))
    fine = straight.scaled(float(count))
    rays = fine.rays(0, pixel_centres(side * count, side * count))
    at, depth = camera.project(rays.origins + rays.directions)
    width, height = camera.sizes[0].flip(0).tolist()
    place = at[0] / torch.tensor([width, height]) * 2 - 1
    place[depth[0] <= 0] = 2.0
    photo = views.picture(view).permute(2, 0, 1)[None]
    grid = place.view(1, side * count, side * count, 2)
    sampled = functional.grid_sample(photo, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return functional.avg_pool2d(sampled, count)[0]
