"""Rays through the field: which samples can hold anything, and what they add up to."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor

from runtime.field.fields.lookup import FOCAL, features_at, inside, places, silhouettes
from runtime.field.volume import composite, opacity


@dataclass(frozen=True)
class Samples:
    """Samples along rays, of R rays with S each."""

    points: Float32[Tensor, "R S 3"]
    """In world coordinates."""
    steps: Float32[Tensor, " R"]
    """Distance between two samples of a ray."""
    active: Bool[Tensor, "R S"]
    """Whether a sample lies in the ball, and in all silhouettes."""


def ray_samples(
    poses: Float32[Tensor, "R 4 4"], at: Float32[Tensor, "R 2"], count: int, jitter: Float32[Tensor, "R S"] | None
) -> tuple[Float32[Tensor, "R S 3"], Float32[Tensor, " R"], Bool[Tensor, " R"]]:
    """Return points along rays inside the unit ball, their spacing, and which rays meet the ball.

    Args:
        poses: of each ray's camera.
        at: where the ray goes through the picture, in units of its side.
        count: samples a ray, at the middles of equal parts.
        jitter: moves each sample within its part, in [0, 1).
    """
    local = torch.stack([(at[:, 0] - 0.5) / FOCAL, (0.5 - at[:, 1]) / FOCAL, -torch.ones_like(at[:, 0])], dim=1)
    direction = torch.einsum("rij,rj->ri", poses[:, :3, :3], local)
    direction = direction / direction.norm(dim=1, keepdim=True)
    origin = poses[:, :3, 3]
    middle = -(origin * direction).sum(1)
    half = (1 - (origin + middle[:, None] * direction).square().sum(1)).clamp(min=0).sqrt()
    parts = torch.arange(count, device=at.device) + (0.5 if jitter is None else jitter)
    t = (middle - half)[:, None] + (2 * half / count)[:, None] * parts
    return origin[:, None] + t[..., None] * direction[:, None], 2 * half / count, half > 0


def pixel_places(side: int) -> Float32[Tensor, "P 2"]:
    """Return where the centres of a picture's pixels are, in units of its side, row by row."""
    pixel = torch.arange(side * side)
    return (torch.stack([pixel % side, pixel // side], dim=1) + 0.5) / side


def samples_of_view(
    masks: Bool[Tensor, "1 V H W"],
    inputs: Float32[Tensor, "1 V 4 4"],
    poses: Float32[Tensor, "R 4 4"],
    at: Float32[Tensor, "R 2"],
    jitter: Float32[Tensor, "R S"] | int,
) -> Samples:
    """Return the samples of rays that all belong to one object.

    Args:
        masks: silhouettes of its input pictures.
        inputs: poses of their cameras.
        poses: of each ray's camera.
        at: where each ray goes through the picture, in units of its side.
        jitter: of each sample in its part of the ray, in [0, 1); or the number of samples, at the parts' middles.
    """
    count, moved = (jitter, None) if isinstance(jitter, int) else (jitter.shape[1], jitter)
    points, steps, hits = ray_samples(poses, at, count, moved)
    row = torch.zeros(len(at), dtype=torch.int64, device=at.device)
    return Samples(points, steps, active_samples(masks, inputs, row, points, hits))


def to_camera(poses: Float32[Tensor, "*B 4 4"], points: Float32[Tensor, "*B 3"]) -> Float32[Tensor, "*B 3"]:
    """Return points around the world's origin in the axes of cameras."""
    return (poses[..., :3, :3] * points[..., :, None]).sum(-2)


def active_samples(
    masks: Bool[Tensor, "B V H W"],
    inputs: Float32[Tensor, "B V 4 4"],
    row: Int64[Tensor, " R"],
    points: Float32[Tensor, "R S 3"],
    hits: Bool[Tensor, " R"],
) -> Bool[Tensor, "R S"]:
    """Return which samples fall into the silhouettes of all input pictures of their object: others are empty.

    Args:
        masks: silhouettes of each object's input pictures.
        inputs: poses of their cameras.
        row: object of each ray.
        points: samples of the rays.
        hits: whether the rays meet the ball.
    """
    count, views = masks.shape[:2]
    flat = points.reshape(-1, 3)
    objects = row[:, None].expand(points.shape[:2]).reshape(-1)
    ok = hits[:, None].expand(points.shape[:2]).reshape(-1).clone()
    for view in range(views):
        at = places(to_camera(inputs[objects, view], flat))
        ok &= inside(masks.reshape(count * views, *masks.shape[2:]), objects * views + view, at)
    return ok.reshape(points.shape[:2])


def render(
    field: Callable[[Tensor, Tensor], Tensor],
    features: Float[Tensor, "B V H W D"],
    inputs: Float32[Tensor, "B V 4 4"],
    row: Int64[Tensor, " R"],
    samples: Samples,
) -> Float[Tensor, "R 4"]:
    """Return premultiplied colour and opacity of rays.

    Args:
        field: features and positions (V, P, ...) of points to densities and colours, as `network.Field`.
        features: of each object's input pictures.
        inputs: poses of their cameras.
        row: object of each ray.
        samples: of the rays.
    """
    where = samples.active.reshape(-1).nonzero()[:, 0]
    points = samples.points.reshape(-1, 3)[where]
    objects = row[where // samples.points.shape[1]]
    count, views = features.shape[:2]
    table = features.reshape(count * views, *features.shape[2:])
    seen, local = [], []
    for view in range(views):
        local.append(to_camera(inputs[objects, view], points))
        seen.append(features_at(table, objects * views + view, places(local[-1])))
    values = field(torch.stack(seen), torch.stack(local))
    full = points.new_zeros(samples.active.numel(), 4).index_copy(0, where, values)
    full = full.view(*samples.active.shape, 4)
    alpha = opacity(full[..., 0], samples.steps[:, None].expand(samples.active.shape))
    shown = composite(alpha, full[..., 1:], torch.zeros_like(alpha))
    return torch.cat([shown.colour, shown.alpha[:, None]], dim=1)


def masks_of(pictures: Float32[Tensor, "B V 4 H W"]) -> Bool[Tensor, "B V H W"]:
    """Return the grown silhouettes of each object's pictures."""
    return silhouettes(pictures.flatten(0, 1)).unflatten(0, pictures.shape[:2])
