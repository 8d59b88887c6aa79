"""A textured mesh as a camera sees it, lit from there: for sheets, without a graphics library."""

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from runtime.field.cameras import Cameras
from runtime.field.meshes import TexturedMesh

OVER = 3
"""Pixels of the picture that is drawn for each pixel of the result, along each axis."""
AMBIENT = 0.35
"""Share of the light that reaches faces seen from the side."""


def mesh_picture(textured: TexturedMesh, cameras: Cameras, view: int) -> Float[Tensor, "3 H W"]:
    """Return a mesh before white; each face is covered by points that lie closer than pixels."""
    camera = cameras[view].scaled(OVER)
    height, width = camera.sizes[0].tolist()
    corners = textured.mesh.vertices[textured.mesh.faces]
    places = textured.places[textured.mesh.faces]
    pixels = _project(camera, textured.mesh.vertices)[0][textured.mesh.faces]
    longest = np.linalg.norm(pixels - np.roll(pixels, 1, axis=1), axis=-1).max(axis=1)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    towards = camera.centres[0].numpy() - corners.mean(axis=1)
    light = (normals * towards).sum(axis=1) / np.linalg.norm(towards, axis=1)
    depth = np.full(height * width, np.inf)
    picture = np.ones((height * width, 3))
    # Faces of like size together: a grid of points a face, as many as its longest side needs.
    counts = np.clip(np.ceil(1.5 * longest).astype(int), 1, 400)
    for count in np.unique(counts):
        chosen = np.flatnonzero((counts == count) & (light > 0))
        steps = (np.arange(count) + 0.5) / count
        u, v = (part.ravel() for part in np.meshgrid(steps, steps))
        # The square's upper half is folded onto the lower one.
        u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
        weights = np.stack([1 - u - v, u, v], axis=1).astype(np.float32)
        points = np.einsum("kc,fcd->fkd", weights, corners[chosen]).reshape(-1, 3)
        texels = np.einsum("kc,fcd->fkd", weights, places[chosen]).reshape(-1, 2)
        at, far = _project(camera, points)
        column, row = np.floor(at).astype(int).T
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height) & (far > 0)
        code, far = (row * width + column)[inside], far[inside]
        # The nearest point of a pixel is written last.
        order = np.lexsort((-far, code))
        last = order[np.append(code[order][1:] != code[order][:-1], True)] if len(order) else order
        last = last[far[last] < depth[code[last]]]
        depth[code[last]] = far[last]
        side = len(textured.texture)
        left, up = np.clip((texels[inside][last] * side).astype(int), 0, side - 1).T
        colour = textured.texture[side - 1 - up, left] / 255
        lit = AMBIENT + (1 - AMBIENT) * np.repeat(light[chosen], count**2)[inside][last]
        picture[code[last]] = colour * lit[:, None]
    whole = torch.from_numpy(picture).float().view(height, width, 3).permute(2, 0, 1)
    return torch.nn.functional.avg_pool2d(whole[None], OVER)[0]


def _project(camera: Cameras, points: Float32[np.ndarray, "P 3"]) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels that points fall on, and how far they are in front of a camera."""
    pixels, depth = camera.project(torch.from_numpy(points).float())
    return pixels[0].numpy(), depth[0].numpy()
