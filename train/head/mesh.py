"""Our own triangle mesh over the UV layout: rims and seams resampled by arc length, the inside by blue noise.

The layout's islands are joined again along their common rims (lids, lips, the seam at the back), so the head is closed
but for the neck. Only positions on the registered surface are read; no vertex or face list of the source is kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import KDTree

from core.head_model import HeadMesh
from core.uv_raster import UVLocator, rasterize_uv

from .rims import islands_of, sample_rims
from .triangulate import flip_to_surface, regions, triangulate

GRID = 1024
"""Side of the texel grid the blue noise is relaxed on."""


@dataclass(frozen=True)
class Spacing:
    """Wanted edge lengths in millimetres, by distance to the nearest facial feature."""

    rim_mm: float = 1.0
    feature_mm: float = 1.3
    face_mm: float = 3.0
    ear_mm: float = 1.5
    eye_mm: float = 0.75
    far_mm: float = 8.0
    inner_mm: float = 3.0


@dataclass(frozen=True)
class ResampledMesh:
    """Our mesh and where each of its vertices lies on the source: corners (V, 3) vertex ids, weights (V, 3)."""

    mesh: HeadMesh
    corners: np.ndarray
    weights: np.ndarray

    def carry(self, values: np.ndarray) -> np.ndarray:
        """Source vertex values (..., N, C) -> our vertices (..., V, C)."""
        return np.einsum("nk,...nkd->...nd", self.weights, values[..., self.corners, :])


def build_mesh(
    layout: HeadMesh, vertices: np.ndarray, landmarks: np.ndarray, spacing: Spacing
) -> ResampledMesh:
    """layout + registered vertices (V, 3) m + 68 landmark ids -> our mesh, its UVs inside the same layout."""
    islands = islands_of(layout)
    rims = sample_rims(layout, islands, vertices, spacing.rim_mm * 1e-3, spacing.far_mm * 0.8e-3)
    rim_points = np.einsum("nk,nkd->nd", rims.weights, vertices[rims.corners])
    corners, weights = [rims.corners], [rims.weights]
    uv_points: list[np.ndarray] = []
    faces: list[np.ndarray] = []
    uv_faces: list[np.ndarray] = []
    next_vertex = len(rims.corners)
    next_uv = 0
    for island in range(islands.max() + 1):
        own = islands == island
        locator = UVLocator(layout.uv, layout.uv_faces[own])
        rim_uv, rim_vertex, outline = rims.on_island(island)
        inside = _blue_noise(
            layout, vertices, landmarks, layout.uv_faces[own], rim_uv, spacing, inner=island != 0
        )
        points = np.concatenate([rim_uv, inside])
        triangles = _fill(points, outline, locator)
        found, inside_weights, _ = locator.locate(inside)
        corners.append(layout.faces[own][found])
        weights.append(inside_weights)
        inside_points = np.einsum("nk,nkd->nd", weights[-1], vertices[corners[-1]])
        surface = np.concatenate([rim_points[rim_vertex], inside_points])
        triangles = flip_to_surface(triangles, points, surface)
        ids = np.concatenate([rim_vertex, next_vertex + np.arange(len(inside))])
        faces.append(ids[triangles])
        uv_faces.append(triangles + next_uv)
        uv_points.append(points)
        next_vertex += len(inside)
        next_uv += len(points)
    mesh, used = _compact(
        np.concatenate(faces), np.concatenate(uv_faces), np.concatenate(uv_points)
    )
    return ResampledMesh(mesh, np.concatenate(corners)[used], np.concatenate(weights)[used])


def _fill(points: np.ndarray, outline: np.ndarray, locator: UVLocator) -> np.ndarray:
    """Triangles (F, 3) of points (N, 2) inside the outline's edges (C, 2), slits and notches left open.

    A box around the points keeps the outside from being slivers along a straight outline.
    """
    low, high = points.min(0) - 1.0, points.max(0) + 1.0
    box = np.array([low, [high[0], low[1]], high, [low[0], high[1]]])
    boxed = np.concatenate([points, box])
    triangles = triangulate(boxed, outline)
    label = regions(triangles, outline)
    a, b, c = (boxed[triangles[:, k]] for k in range(3))
    area = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    largest = [
        np.flatnonzero(label == k)[area[label == k].argmax()] for k in range(label.max() + 1)
    ]
    _, _, hit = locator.locate(boxed[triangles[largest]].mean(1))
    return triangles[hit[label]]


def _compact(
    faces: np.ndarray, uv_faces: np.ndarray, uv: np.ndarray
) -> tuple[HeadMesh, np.ndarray]:
    """Drop unused vertices and UVs and number the rest in order; also the old ids of the kept vertices."""
    kept_vertices, faces_flat = np.unique(faces, return_inverse=True)
    used, uv_flat = np.unique(uv_faces, return_inverse=True)
    faces = faces_flat.reshape(-1, 3).astype(np.int32)
    uv_faces = uv_flat.reshape(-1, 3).astype(np.int32)
    kept = uv[used].astype(np.float32)
    position = np.zeros((faces.max() + 1, 2), dtype=np.float32)
    position[faces.ravel()] = kept[uv_faces.ravel()]
    return HeadMesh("facepbr", faces, kept, uv_faces, position), kept_vertices


def _blue_noise(
    layout: HeadMesh, vertices: np.ndarray, landmarks: np.ndarray, uv_faces: np.ndarray,
    rim_uv: np.ndarray, spacing: Spacing, inner: bool,
) -> np.ndarray:  # fmt: skip
    """Points (N, 2) inside an island whose local spacing follows ``Spacing``: weighted Lloyd relaxation, mirrored."""
    uv_to_vertex = np.zeros(len(layout.uv), dtype=np.int64)
    uv_to_vertex[layout.uv_faces.ravel()] = layout.faces.ravel()
    raster = rasterize_uv(layout.uv, uv_faces, GRID)
    corner_points = vertices[uv_to_vertex]
    position = raster.interpolate(corner_points, uv_faces, fill=True).astype(np.float64)
    rows, cols = np.nonzero(raster.mask)
    texels = np.stack([(cols + 0.5) / GRID, 1 - (rows + 0.5) / GRID], 1)
    du = np.gradient(position, axis=1)[rows, cols] * GRID
    dv = np.gradient(position, axis=0)[rows, cols] * GRID
    area = np.linalg.norm(np.cross(du, dv), axis=1)
    points = position[rows, cols]
    wanted = np.full(len(points), spacing.inner_mm)
    if not inner:
        features = vertices[landmarks[np.r_[27:68]]]
        distance = KDTree(features).query(points)[0] * 1e3
        eyes_mouth = spacing.feature_mm + (spacing.face_mm - spacing.feature_mm) * np.clip(
            (distance - 5) / 14, 0, 1
        )
        wanted = eyes_mouth + (spacing.far_mm - spacing.face_mm) * np.clip(
            (distance - 55) / 60, 0, 1
        )
        from_eye = KDTree(vertices[landmarks[36:48]]).query(points)[0] * 1e3
        wanted = np.minimum(
            wanted, spacing.eye_mm + np.clip((from_eye - 3) / 8, 0, None) * spacing.face_mm
        )
        for side in (0.16, 0.84):
            from_ear = np.hypot((texels[:, 0] - side) / 0.055, (texels[:, 1] - 0.545) / 0.115)
            near_ear = spacing.ear_mm + (spacing.far_mm - spacing.ear_mm) * np.clip(
                (from_ear - 0.95) / 1.2, 0, 1
            )
            wanted = np.minimum(wanted, near_ear)
    density = np.clip(area, None, np.percentile(area, 99.5)) / (wanted * 1e-3) ** 2
    symmetric = abs(texels[:, 0].mean() - 0.5) < 0.02
    half = texels[:, 0] < 0.5 if symmetric else np.ones(len(texels), dtype=bool)
    texels, density = texels[half], density[half]
    count = int(round(density.sum() / GRID**2 * 1.12))
    rng = np.random.default_rng(7)
    seeds = texels[rng.choice(len(texels), count, replace=False, p=density / density.sum())]
    jitter = rng.normal(scale=1e-5, size=seeds.shape)
    seeds = seeds + jitter
    rim = KDTree(rim_uv)
    for _ in range(40):
        own = KDTree(seeds).query(texels)[1]
        weight = np.bincount(own, density, len(seeds))
        moved = np.stack(
            [np.bincount(own, density * texels[:, k], len(seeds)) for k in range(2)], 1
        )
        seeds = np.where(weight[:, None] > 0, moved / np.maximum(weight[:, None], 1e-12), seeds)
    local = np.sqrt(1.0 / np.maximum(density[KDTree(texels).query(seeds)[1]], 1e-9))
    keep = rim.query(seeds)[0] > 0.55 * local
    if symmetric:
        keep &= (0.5 - seeds[:, 0]) > 0.28 * local
    seeds = seeds[keep]
    if not symmetric:
        return seeds
    line = _centre_line(texels, density, rim_uv)
    return np.concatenate([seeds, seeds * [-1, 1] + [1, 0], line])


def _centre_line(texels: np.ndarray, density: np.ndarray, rim_uv: np.ndarray) -> np.ndarray:
    """Points on u = 0.5, spaced by the local density, clear of the rims."""
    near = texels[:, 0] > 0.5 - 1.5 / GRID
    v, step = texels[near, 1], np.sqrt(1.0 / density[near])
    order = np.argsort(v)
    v, step = v[order], step[order]
    points = []
    at = v[0]
    while at < v[-1]:
        local = float(np.interp(at, v, step))
        points.append([0.5, at])
        at += local
    line = np.asarray(points)
    local = np.interp(line[:, 1], v, step)
    inside = np.abs(v[np.searchsorted(v, line[:, 1]).clip(0, len(v) - 1)] - line[:, 1]) < 2 / GRID
    return line[inside & (KDTree(rim_uv).query(line)[0] > 0.5 * local)]
