"""Compiled: triangles are drawn into a depth buffer."""

import numpy as np

from runtime.kernels.jit import entry


@entry
def draw_triangles(corners, normals, side, nearest, facing):
    """Fill a depth buffer and the normals behind its pixels, triangle by triangle.

    `corners` (F, 3, 3) holds x and y in pixels and the inverse of the depth, which is linear in the picture.
    """
    for f in range(len(corners)):
        ax, ay, bx, by, cx, cy = (
            corners[f, 0, 0],
            corners[f, 0, 1],
            corners[f, 1, 0],
            corners[f, 1, 1],
            corners[f, 2, 0],
            corners[f, 2, 1],
        )
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area == 0 or corners[f, 0, 2] <= 0 or corners[f, 1, 2] <= 0 or corners[f, 2, 2] <= 0:
            continue
        left = max(0, int(np.floor(min(ax, bx, cx))))
        right = min(side - 1, int(np.ceil(max(ax, bx, cx))))
        top = max(0, int(np.floor(min(ay, by, cy))))
        bottom = min(side - 1, int(np.ceil(max(ay, by, cy))))
        for y in range(top, bottom + 1):
            for x in range(left, right + 1):
                px, py = x + 0.5, y + 0.5
                u = ((bx - px) * (cy - py) - (by - py) * (cx - px)) / area
                v = ((cx - px) * (ay - py) - (cy - py) * (ax - px)) / area
                w = 1.0 - u - v
                if u < 0 or v < 0 or w < 0:
                    continue
                near = u * corners[f, 0, 2] + v * corners[f, 1, 2] + w * corners[f, 2, 2]
                if near > nearest[y, x]:
                    nearest[y, x] = near
                    for k in range(3):
                        facing[y, x, k] = u * normals[f, 0, k] + v * normals[f, 1, k] + w * normals[f, 2, k]
