"""A textured mesh as a camera sees it, lit from there: for sheets, without a graphics library."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from runtime.field.cameras import Cameras
from runtime.field.meshes import TexturedMesh

OVER = 3
"""Pixels of the picture that is drawn for each pixel of the result, along each axis."""
AMBIENT = 0.35
"""Share of the light that reaches faces seen from the side."""


def mesh_picture(textured: TexturedMesh, cameras: Cameras, view: int) -> Float[Tensor, "3 H W"]:
    """Return a mesh before white; each face is covered by points that lie closer than pixels."""
    height, width = (OVER * side for side in cameras.sizes[view].tolist())
    fx, fy, cx, cy = (OVER * number for number in cameras.intrinsics[view].tolist())
    pose = cameras.poses[view].double().numpy()
    # Into the camera's frame: it looks along -z, y is up.
    seen = (textured.mesh.vertices.astype(np.float64) - pose[:3, 3]) @ pose[:3, :3]
    corners = seen[textured.mesh.faces]
    places = textured.places[textured.mesh.faces].astype(np.float64)
    pixels = np.stack([cx - fx * corners[..., 0] / corners[..., 2], cy + fy * corners[..., 1] / corners[..., 2]], -1)
    longest = np.linalg.norm(pixels - np.roll(pixels, 1, axis=1), axis=-1).max(axis=1)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    towards = -corners.mean(axis=1)
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
        weights = np.stack([1 - u - v, u, v], axis=1)
        points = np.einsum("kc,fcd->fkd", weights, corners[chosen]).reshape(-1, 3)
        texels = np.einsum("kc,fcd->fkd", weights, places[chosen]).reshape(-1, 2)
        column = np.floor(cx - fx * points[:, 0] / points[:, 2]).astype(int)
        row = np.floor(cy + fy * points[:, 1] / points[:, 2]).astype(int)
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height) & (points[:, 2] < 0)
        code = (row * width + column)[inside]
        far = -points[inside, 2]
        # The nearest point of a pixel is written last.
        order = np.lexsort((-far, code))
        last = order[np.append(code[order][1:] != code[order][:-1], True)] if len(order) else order
        last = last[far[last] < depth[code[last]]]
        depth[code[last]] = far[last]
        side = len(textured.texture)
        at = np.clip((texels[inside][last] * side).astype(int), 0, side - 1)
        colour = textured.texture[side - 1 - at[:, 1], at[:, 0]] / 255
        lit = AMBIENT + (1 - AMBIENT) * np.repeat(light[chosen], count**2)[inside][last]
        picture[code[last]] = colour * lit[:, None]
    whole = torch.from_numpy(picture).float().view(height, width, 3).permute(2, 0, 1)
    return torch.nn.functional.avg_pool2d(whole[None], OVER)[0]
