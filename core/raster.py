"""Z-buffer of a projected triangle mesh: which triangle each pixel sees, where on it, and how far.

V: vertices, F: triangles. Pixels: origin top-left, centres at +0.5; depth grows away from the camera.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_CHUNK = 2_000_000
_EDGE = 1e-6


@dataclass(frozen=True)
class Raster:
    """What each pixel sees."""

    triangle: np.ndarray
    """(H, W) int32, -1 where nothing is seen."""
    weights: np.ndarray
    """(H, W, 3) float32, perspective-correct barycentric weights of the triangle's corners."""
    depth: np.ndarray
    """(H, W) float32, metres along the camera axis; inf where nothing is seen."""

    @property
    def mask(self) -> np.ndarray:
        """(H, W) bool, True where a triangle is seen."""
        return self.triangle >= 0

    def interpolate(self, values: np.ndarray, faces: np.ndarray) -> np.ndarray:
        """Vertex values (V, C) -> (H, W, C) float32, zero where nothing is seen."""
        out = np.zeros((*self.triangle.shape, values.shape[1]), np.float32)
        inside = self.mask
        corners = faces[self.triangle[inside]]
        weights = self.weights[inside]
        out[inside] = sum(weights[:, k, None] * values[corners[:, k]] for k in range(3))
        return out


def rasterize(
    pixels: np.ndarray, depth: np.ndarray, faces: np.ndarray, height: int, width: int
) -> Raster:
    """Z-buffer triangles; those with a corner behind the camera (depth <= 0) are left out.

    pixels: (V, 2) projected vertices; depth: (V,) metres; faces: (F, 3) int. Both sides are drawn.
    """
    corners, z = pixels[faces].astype(np.float64), depth[faces].astype(np.float64)
    limit = np.array([width - 1, height - 1])
    low = np.ceil(np.maximum(corners.min(1) - 0.5 - _EDGE, 0)).astype(np.int64)
    high = np.floor(np.minimum(corners.max(1) - 0.5 + _EDGE, limit)).astype(np.int64)
    extent = np.maximum(high - low + 1, 0)
    (ax, ay), (bx, by), (cx, cy) = (corners[:, k].T for k in range(3))
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    usable = (z > 0).all(1) & (np.abs(area) > 1e-12)
    count = np.where(usable, extent[:, 0] * extent[:, 1], 0)
    near = np.full(height * width, np.inf)
    triangle = np.full(height * width, -1, np.int32)
    weights = np.zeros((height * width, 3), np.float32)
    total = np.concatenate([[0], np.cumsum(count)])
    start = 0
    while start < len(faces):
        stop = max(int(np.searchsorted(total, total[start] + _CHUNK, side="right")) - 1, start + 1)
        ids = np.arange(start, stop)
        tri = np.repeat(ids, count[ids])
        step = np.arange(len(tri)) - (total[tri] - total[start])
        row, col = np.divmod(step, np.maximum(extent[tri, 0], 1))
        row, col = row + low[tri, 1], col + low[tri, 0]
        px, py = col + 0.5, row + 0.5
        second = ((px - ax[tri]) * (cy - ay)[tri] - (py - ay[tri]) * (cx - ax)[tri]) / area[tri]
        third = ((py - ay[tri]) * (bx - ax)[tri] - (px - ax[tri]) * (by - ay)[tri]) / area[tri]
        first = 1.0 - second - third
        inside = (first >= -_EDGE) & (second >= -_EDGE) & (third >= -_EDGE)
        tri, cell = tri[inside], (row * width + col)[inside]
        bary = np.stack([first[inside], second[inside], third[inside]], 1) / z[tri]
        inverse = bary.sum(1)
        bary, distance = bary / inverse[:, None], 1.0 / inverse
        np.minimum.at(near, cell, distance)
        win = distance <= near[cell]
        triangle[cell[win]], weights[cell[win]] = tri[win], bary[win]
        start = stop
    shape = (height, width)
    return Raster(
        triangle.reshape(shape), weights.reshape(*shape, 3), near.reshape(shape).astype(np.float32)
    )


def rasterize_reference(
    pixels: np.ndarray, depth: np.ndarray, faces: np.ndarray, height: int, width: int
) -> Raster:
    """The slow readable twin of ``rasterize``: one triangle and one pixel at a time."""
    raster = Raster(
        np.full((height, width), -1, np.int32),
        np.zeros((height, width, 3), np.float32),
        np.full((height, width), np.inf, np.float32),
    )

    def cross(p: np.ndarray, q: np.ndarray) -> float:
        return float(p[0] * q[1] - p[1] * q[0])

    for index, face in enumerate(faces):
        a, b, c = pixels[face].astype(np.float64)
        z = depth[face].astype(np.float64)
        area = cross(b - a, c - a)
        if (z <= 0).any() or abs(area) <= 1e-12:
            continue
        for row in range(height):
            for col in range(width):
                p = np.array([col + 0.5, row + 0.5])
                flat = (
                    np.array([cross(b - p, c - p), cross(c - p, a - p), cross(a - p, b - p)]) / area
                )
                if (flat < -_EDGE).any():
                    continue
                distance = 1.0 / (flat / z).sum()
                if distance <= raster.depth[row, col]:
                    raster.depth[row, col] = distance
                    raster.triangle[row, col] = index
                    raster.weights[row, col] = flat / z * distance
    return raster
