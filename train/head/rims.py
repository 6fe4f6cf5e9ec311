"""Rims and seams of the layout: the curves where UV islands end, resampled by arc length.

Islands are joined again along them (lids, lips, the seam at the back), so both sides of a curve share its samples.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from core.head_model import HeadMesh

SLIT_UV, FAR_UV = 1.5e-4, 2e-3
"""How far (UV) a resampled curve may leave the true one: on the face well under half of the slit between the lips."""


@dataclass(frozen=True)
class RimSide:
    """One side of a curve: the island it bounds, sample ids (M,) and UVs (M, 2) along it."""

    island: int
    samples: np.ndarray
    uv: np.ndarray


@dataclass(frozen=True)
class Rims:
    """Samples on all curves: source corners (N, 3) and weights (N, 3); and the sides they lie on."""

    corners: np.ndarray
    weights: np.ndarray
    sides: list[RimSide]

    def on_island(self, island: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Points of one island's outline: UVs (M, 2), sample ids (M,), outline edges (C, 2) into these.

        A seam inside the island gives its samples twice, with two UVs.
        """
        ids: dict[tuple[int, float, float], int] = {}
        edges = []
        for side in self.sides:
            if side.island != island:
                continue
            keys = [
                (int(sample), round(float(u), 6), round(float(v), 6))
                for sample, (u, v) in zip(side.samples, side.uv, strict=True)
            ]
            row = [ids.setdefault(key, len(ids)) for key in keys]
            edges += list(zip(row[:-1], row[1:], strict=True))
        uv = np.asarray([key[1:] for key in ids])
        return uv, np.asarray([key[0] for key in ids]), np.asarray(edges, dtype=np.int64)


def islands_of(layout: HeadMesh) -> np.ndarray:
    """UV island of each triangle (F,), the one with most triangles first."""
    count = len(layout.uv)
    pairs = np.concatenate([layout.uv_faces[:, [0, 1]], layout.uv_faces[:, [1, 2]]])
    _, label = connected_components(
        coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), (count, count))
    )
    of_face = label[layout.uv_faces[:, 0]]
    order = np.argsort(-np.bincount(of_face))
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return rank[of_face]


def sample_rims(
    layout: HeadMesh, islands: np.ndarray, vertices: np.ndarray, rim_m: float, far_m: float
) -> Rims:
    """Resample every curve: about rim_m apart on the face and in the mouth, far_m at the back and the neck."""
    left: dict[tuple[int, int], tuple[int, int, int]] = {}
    for face, (corner, uv_corner) in enumerate(
        zip(layout.faces.tolist(), layout.uv_faces.tolist(), strict=True)
    ):
        for k in range(3):
            n = (k + 1) % 3
            left[corner[k], corner[n]] = (face, uv_corner[k], uv_corner[n])
    around: dict[int, list[int]] = defaultdict(list)
    for (a, b), (_, ta, tb) in left.items():
        other = left.get((b, a))
        if other is None:
            around[a].append(b)
            around[b].append(a)
        elif a < b and other[1:] != (tb, ta):
            around[a].append(b)
            around[b].append(a)
    corners: list[list[int]] = []
    weights: list[list[float]] = []
    sides: list[RimSide] = []
    ends: dict[int, int] = {}

    def add(first: int, second: int, t: float) -> int:
        corners.append([first, second, first])
        weights.append([1.0 - t, t, 0.0])
        return len(corners) - 1

    for path in _paths(around):
        line = vertices[path]
        lengths = np.linalg.norm(np.diff(line, axis=0), axis=1)
        along = np.concatenate([[0], np.cumsum(lengths)])
        curves = [_side_of(layout, islands, left, path, forward) for forward in (True, False)]
        back = line[:, 2].max() < 0.03 or np.abs(line[:, 0]).max() > 0.06
        step, tolerance = (far_m, FAR_UV) if back else (rim_m, SLIT_UV)
        count = max(int(round(along[-1] / step)), 3)
        marks = np.linspace(0, along[-1], count + 1)
        for curve in curves:
            if curve is not None:
                marks = _refine(marks, along, curve[1], tolerance)
        ids = []
        for mark in marks:
            k = int(np.clip(np.searchsorted(along, mark, side="right") - 1, 0, len(lengths) - 1))
            t = (mark - along[k]) / lengths[k]
            if mark in (0, along[-1]):
                vertex = path[0] if mark == 0 else path[-1]
                ids.append(ends.setdefault(vertex, -1))
                if ids[-1] < 0:
                    ids[-1] = ends[vertex] = add(vertex, vertex, 0.0)
            else:
                ids.append(add(path[k], path[k + 1], float(t)))
        for curve in curves:
            if curve is not None:
                uv = np.stack([np.interp(marks, along, curve[1][:, k]) for k in range(2)], 1)
                sides.append(RimSide(curve[0], np.asarray(ids), uv))
    return Rims(np.asarray(corners), np.asarray(weights), sides)


def _side_of(
    layout: HeadMesh,
    islands: np.ndarray,
    left: dict[tuple[int, int], tuple[int, int, int]],
    path: list[int],
    forward: bool,
) -> tuple[int, np.ndarray] | None:
    """Island and UVs (P, 2) of the faces left (forward) or right of a path of vertices; None beyond the mesh."""
    rows = []
    for a, b in zip(path[:-1], path[1:], strict=True):
        side = left.get((a, b) if forward else (b, a))
        if side is None:
            return None
        rows.append(side)
    first, second = (1, 2) if forward else (2, 1)
    ids = [row[first] for row in rows] + [rows[-1][second]]
    return int(islands[rows[0][0]]), layout.uv[ids].astype(np.float64)


def _refine(marks: np.ndarray, along: np.ndarray, uv: np.ndarray, tolerance: float) -> np.ndarray:
    """Halve intervals whose chord leaves the curve uv (P, 2) at arc lengths along (P,) by more than the tolerance."""
    while True:
        at = np.stack([np.interp(marks, along, uv[:, k]) for k in range(2)], 1)
        chord = np.stack([np.interp(along, marks, at[:, k]) for k in range(2)], 1)
        off = np.linalg.norm(chord - uv, axis=1)
        interval = np.clip(np.searchsorted(marks, along, side="right") - 1, 0, len(marks) - 2)
        split = np.unique(interval[off > tolerance])
        split = split[np.diff(marks)[split] > 1e-5]
        if not len(split):
            return marks
        marks = np.sort(np.concatenate([marks, (marks[split] + marks[split + 1]) / 2]))


def _paths(around: dict[int, list[int]]) -> list[list[int]]:
    """Split the graph of cut edges into paths between junctions and closed loops."""
    used: set[tuple[int, int]] = set()
    paths: list[list[int]] = []

    def walk(start: int, after: int) -> list[int]:
        path = [start, after]
        used.add((min(start, after), max(start, after)))
        while len(around[path[-1]]) == 2 and path[-1] != start:
            here = path[-1]
            step = next((n for n in around[here] if (min(here, n), max(here, n)) not in used), None)
            if step is None:
                break
            used.add((min(here, step), max(here, step)))
            path.append(step)
        return path

    for junction in [v for v, n in around.items() if len(n) != 2] + list(around):
        for neighbour in around[junction]:
            if (min(junction, neighbour), max(junction, neighbour)) not in used:
                paths.append(walk(junction, neighbour))
    return paths
