"""UV triangles -> texels: which triangle covers a texel or a UV point, and with which barycentric weights.

T: UV points, F: triangles, N: queries, S: map size. UV has u right, v up; maps are stored top row first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from scipy.ndimage import distance_transform_edt
from scipy.spatial import KDTree

_CANDIDATES = 24
_MORE_CANDIDATES = 400
_CHUNK = 4_000_000


@dataclass(frozen=True)
class UVRaster:
    """Texel coverage of a UV mesh: triangle (S, S) int32 (-1 outside) and barycentric weights (S, S, 3) float32."""

    triangle: np.ndarray
    weights: np.ndarray

    @property
    def mask(self) -> np.ndarray:
        """(S, S) bool, True where a triangle covers the texel centre."""
        return self.triangle >= 0

    def interpolate(
        self, values: np.ndarray, uv_faces: np.ndarray, fill: bool = True
    ) -> np.ndarray:
        """Corner values (T, C) -> map (S, S, C); texels outside take the nearest inside value when ``fill``."""
        size = self.triangle.shape[0]
        rows, cols = np.nonzero(self.mask)
        corners = uv_faces[self.triangle[rows, cols]]
        weights = self.weights[rows, cols]
        out = np.zeros((size, size, values.shape[1]), dtype=np.float32)
        out[rows, cols] = np.einsum("nk,nkc->nc", weights, values[corners])
        if fill and len(rows) < size * size:
            _, nearest = cast(
                tuple[np.ndarray, np.ndarray],
                distance_transform_edt(~self.mask, return_indices=True),
            )
            out = out[nearest[0], nearest[1]]
        return out


def barycentric(points: np.ndarray, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Barycentric weights (N, 3) of points (N, 2) in triangles a, b, c (N, 2); degenerate triangles give -inf."""
    ab, ac, ap = b - a, c - a, points - a
    area = ab[..., 0] * ac[..., 1] - ab[..., 1] * ac[..., 0]
    safe = np.where(np.abs(area) < 1e-14, np.nan, area)
    second = (ap[..., 0] * ac[..., 1] - ap[..., 1] * ac[..., 0]) / safe
    third = (ab[..., 0] * ap[..., 1] - ab[..., 1] * ap[..., 0]) / safe
    weights = np.stack([1 - second - third, second, third], -1)
    return np.nan_to_num(weights, nan=-np.inf)


def rasterize_uv(uv: np.ndarray, uv_faces: np.ndarray, size: int) -> UVRaster:
    """Cover an S x S map by the triangles of uv (T, 2), uv_faces (F, 3)."""
    pixels = np.stack([uv[:, 0] * size - 0.5, (1 - uv[:, 1]) * size - 0.5], 1)
    corners = pixels[uv_faces]
    low = np.ceil(np.clip(corners.min(1) - 1e-6, 0, size - 1)).astype(np.int64)
    high = np.floor(np.clip(corners.max(1) + 1e-6, 0, size - 1)).astype(np.int64)
    extent = np.maximum(high - low + 1, 0)
    area = extent[:, 0] * extent[:, 1]
    triangle = np.full((size, size), -1, dtype=np.int32)
    weights = np.zeros((size, size, 3), dtype=np.float32)
    order = np.arange(len(uv_faces))
    start = 0
    total = np.cumsum(area)
    while start < len(order):
        stop = max(
            int(np.searchsorted(total, (total[start - 1] if start else 0) + _CHUNK)), start + 1
        )
        ids = order[start:stop]
        repeat = np.repeat(ids, area[ids])
        offset = np.arange(len(repeat)) - np.repeat(np.cumsum(area[ids]) - area[ids], area[ids])
        col = low[repeat, 0] + offset % np.maximum(extent[repeat, 0], 1)
        row = low[repeat, 1] + offset // np.maximum(extent[repeat, 0], 1)
        points = np.stack([col, row], 1).astype(np.float64)
        tri = corners[repeat]
        bary = barycentric(points, tri[:, 0], tri[:, 1], tri[:, 2])
        keep = bary.min(1) >= -1e-7
        triangle[row[keep], col[keep]] = repeat[keep]
        weights[row[keep], col[keep]] = bary[keep]
        start = stop
    return UVRaster(triangle, weights)


class UVLocator:
    """Finds the triangle of a UV mesh that holds a UV point; points just outside snap to the nearest triangle."""

    def __init__(self, uv: np.ndarray, uv_faces: np.ndarray) -> None:
        self._corners = uv[uv_faces].astype(np.float64)
        self._tree = KDTree(self._corners.mean(1))

    def locate(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(N, 2) -> triangle (N,), weights (N, 3) clamped to the triangle, inside (N,) bool."""
        points = np.asarray(points, dtype=np.float64)
        triangle, weights, inside = self._among(points, _CANDIDATES)
        lost = np.nonzero(~inside)[0]
        if len(lost):  # large triangles beside small ones: their centres are far down the list
            triangle[lost], weights[lost], inside[lost] = self._among(
                points[lost], _MORE_CANDIDATES
            )
        return triangle, weights, inside

    def _among(self, points: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """``locate`` among the ``count`` triangles of nearest centre."""
        count = min(count, len(self._corners))
        _, near = self._tree.query(points, k=count)
        near = near.reshape(len(points), count)
        tri = self._corners[near]
        bary = barycentric(points[:, None], tri[:, :, 0], tri[:, :, 1], tri[:, :, 2])
        rows = np.arange(len(points))
        inside = bary.min(-1).max(-1) >= -1e-6
        clamped = np.clip(bary, 0, None)
        clamped /= np.maximum(clamped.sum(-1, keepdims=True), 1e-12)
        reach = np.linalg.norm((clamped[..., None] * tri).sum(-2) - points[:, None], axis=-1)
        best = np.where(inside, bary.min(-1).argmax(-1), reach.argmin(-1))
        weights = clamped[rows, best]
        return near[rows, best].astype(np.int64), weights.astype(np.float32), inside
