"""Our own triangle mesh over the UV layout: rims and seams resampled by arc length, the inside by blue noise.

The layout's islands are joined again along their common rims (lids, lips, the seam at the back), so the head is closed
but for the neck. Only positions on the registered surface are read; no vertex or face list of the source is kept.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from scipy.spatial import Delaunay, KDTree

from core.head_model import HeadMesh
from core.uv_raster import UVLocator, rasterize_uv

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
    islands = _islands(layout)
    rims = _sample_rims(layout, vertices, spacing)
    uv_points: list[np.ndarray] = []
    vertex_ids: list[np.ndarray] = []
    uv_faces: list[np.ndarray] = []
    next_vertex = len(rims.points)
    corners, weights = [rims.corners], [rims.weights]
    offset = 0
    for island in range(islands.max() + 1):
        faces = layout.uv_faces[islands == island]
        rim_uv, rim_vertex = rims.on_island(islands, island)
        rim_side = _skin_side(layout, rims, rim_vertex, islands == island)
        inside = _blue_noise(layout, vertices, landmarks, faces, rim_uv, spacing, inner=island != 0)
        points = np.concatenate([rim_uv, inside])
        opened, lips = (points, None) if island else _open_slits(points, rim_uv, rim_side)
        clear = _clear_of_rims(opened, len(rim_uv))
        inside, points, opened = inside[clear[len(rim_uv) :]], points[clear], opened[clear]
        lips = None if lips is None else lips[clear]
        triangles = Delaunay(opened).simplices
        locator = UVLocator(layout.uv, faces)
        centroid = points[triangles].mean(1)
        _, _, hit = locator.locate(centroid)
        a, b, c = (points[triangles[:, k]] for k in range(3))
        area = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
        triangles = np.where(area[:, None] < 0, triangles[:, [0, 2, 1]], triangles)
        hit &= np.abs(area) > 1e-10
        if lips is not None:
            hit &= ~((lips[triangles] != 0).all(1) & (np.ptp(lips[triangles], axis=1) == 2))
        triangles = triangles[hit]
        found, inside_weights, _ = locator.locate(inside)
        corners.append(layout.faces[islands == island][found])
        weights.append(inside_weights)
        inside_points = np.einsum("nk,nkd->nd", weights[-1], vertices[corners[-1]])
        surface = np.concatenate([rims.points[rim_vertex], inside_points])
        triangles = _flip_to_surface(triangles, opened, surface)
        ids = np.concatenate([rim_vertex, next_vertex + np.arange(len(inside))])
        next_vertex += len(inside)
        uv_points.append(points)
        vertex_ids.append(ids)
        uv_faces.append(triangles + offset)
        offset += len(points)
    uv = np.concatenate(uv_points)
    ids = np.concatenate(vertex_ids)
    triangles = np.concatenate(uv_faces)
    faces = ids[triangles]
    proper = (
        (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    )
    mesh, used = _compact(faces[proper], triangles[proper], uv)
    return ResampledMesh(mesh, np.concatenate(corners)[used], np.concatenate(weights)[used])


def _clear_of_rims(points: np.ndarray, num_rim: int) -> np.ndarray:
    """(N,) bool, False for inside points in the diametral circle of a rim edge: they would hide that edge."""
    rim, inside = points[:num_rim], points[num_rim:]
    tree = KDTree(rim)
    spacing = np.asarray(tree.query(rim, k=3)[0])[
        :, 2
    ]  # to the farther of the two neighbours along the rim
    near = np.asarray(tree.query(inside, k=12)[1])
    clear = np.ones(len(points), dtype=bool)
    for i in range(near.shape[1]):
        for j in range(i):
            first, second = rim[near[:, i]], rim[near[:, j]]
            longest = 1.5 * np.minimum(spacing[near[:, i]], spacing[near[:, j]])
            edge = np.linalg.norm(first - second, axis=1) < longest
            hidden = ((first - inside) * (second - inside)).sum(1) <= 0
            clear[num_rim:] &= ~(edge & hidden)
    return clear


def _skin_side(
    layout: HeadMesh, rims: _Rims, samples: np.ndarray, allowed: np.ndarray
) -> np.ndarray:
    """Per rim sample (M,): +1 where the skin beside it lies above, -1 below (in v)."""
    side = np.zeros(len(samples))
    for row, sample in enumerate(samples):
        own = [(face, uv) for face, uv in rims.sides[sample] if allowed[face]]
        side[row] = np.mean(
            [layout.uv[layout.uv_faces[face], 1].mean() - uv[1] for face, uv in own]
        )
    return np.sign(side)


def _open_slits(
    uv: np.ndarray, rim_uv: np.ndarray, rim_side: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Move UV points (N, 2) apart at the closed lips and narrow lids, where both rims lie closer than their samples.

    Returns the moved points and, per point, 0 off the slits, +1 on an upper rim, -1 on a lower rim.
    """
    out = uv.copy()
    lips = np.zeros(len(uv))
    half_open = 0.008
    for low_u, high_u, low_v, high_v in (
        (0.40, 0.60, 0.40, 0.44),
        (0.33, 0.44, 0.61, 0.64),
        (0.56, 0.67, 0.61, 0.64),
    ):
        inside = (rim_uv > [low_u, low_v]).all(1) & (rim_uv < [high_u, high_v]).all(1)
        rim = rim_uv[inside]
        centre, width = (rim[:, 0].min() + rim[:, 0].max()) / 2, np.ptp(rim[:, 0]) / 2
        grid = np.linspace(rim[:, 0].min(), rim[:, 0].max(), 60)
        near = np.abs(rim[:, 0][None] - grid[:, None]) < 0.004
        top = np.where(near, rim[:, 1][None], -1).max(1)
        bottom = np.where(near, rim[:, 1][None], 2).min(1)
        above = uv[:, 1] - np.interp(uv[:, 0], grid, (top + bottom) / 2)
        side = np.sign(above)
        side[: len(rim_uv)][inside] = rim_side[inside]
        lips[: len(rim_uv)][inside] = rim_side[inside]
        shift = half_open * np.sqrt(np.clip(1 - ((uv[:, 0] - centre) / width) ** 2, 0, None))
        out[:, 1] += side * shift * np.exp(-np.abs(above) / 0.02)
    return out, lips


def _flip_to_surface(triangles: np.ndarray, plane: np.ndarray, surface: np.ndarray) -> np.ndarray:
    """Flip edges until opposite angles on the surface (N, 3) sum to at most 180 degrees and the plane stays valid."""
    tris = triangles.tolist()

    def area(a: int, b: int, c: int) -> float:
        ab, ac = plane[b] - plane[a], plane[c] - plane[a]
        return float(ab[0] * ac[1] - ab[1] * ac[0])

    def angle(apex: int, a: int, b: int) -> float:
        u, w = surface[a] - surface[apex], surface[b] - surface[apex]
        return float(np.arctan2(np.linalg.norm(np.cross(u, w)), u @ w))

    for _ in range(6):
        owner: dict[tuple[int, int], int] = {}
        for index, (a, b, c) in enumerate(tris):
            owner[(a, b)], owner[(b, c)], owner[(c, a)] = index, index, index
        touched: set[int] = set()
        flips = 0
        for (a, b), first in list(owner.items()):
            second = owner.get((b, a))
            if second is None or a > b or first in touched or second in touched:
                continue
            c = next(v for v in tris[first] if v not in (a, b))
            d = next(v for v in tris[second] if v not in (a, b))
            if angle(c, a, b) + angle(d, a, b) <= np.pi + 1e-3:
                continue
            if (c, d) in owner or (d, c) in owner or min(area(a, d, c), area(d, b, c)) <= 1e-9:
                continue
            tris[first], tris[second] = [a, d, c], [d, b, c]
            touched.update((first, second))
            flips += 1
        if not flips:
            break
    return np.asarray(tris)


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


def _islands(layout: HeadMesh) -> np.ndarray:
    """UV island of each triangle (F,), the main island first."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

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


@dataclass(frozen=True)
class _Rims:
    """Samples on seams and rims: points (N, 3) m, source corners and weights (N, 3), and per side (triangle, uv)."""

    points: np.ndarray
    corners: np.ndarray
    weights: np.ndarray
    sides: list[list[tuple[int, np.ndarray]]]

    def on_island(self, islands: np.ndarray, island: int) -> tuple[np.ndarray, np.ndarray]:
        """UVs (M, 2) and sample ids (M,) that lie on one island; a seam inside an island gives a sample twice."""
        uv, ids = [], []
        for sample, sides in enumerate(self.sides):
            seen: list[np.ndarray] = []
            for face, point in sides:
                if islands[face] == island and not any(
                    np.abs(point - other).max() < 1e-7 for other in seen
                ):
                    seen.append(point)
                    uv.append(point)
                    ids.append(sample)
        return np.asarray(uv).reshape(-1, 2), np.asarray(ids, dtype=np.int64)


def _sample_rims(layout: HeadMesh, vertices: np.ndarray, spacing: Spacing) -> _Rims:
    edges: dict[tuple[int, int], list[tuple[int, int, int]]] = defaultdict(list)
    for face, (corner, uv_corner) in enumerate(
        zip(layout.faces.tolist(), layout.uv_faces.tolist(), strict=True)
    ):
        for k in range(3):
            a, b, ta, tb = corner[k], corner[(k + 1) % 3], uv_corner[k], uv_corner[(k + 1) % 3]
            edges[(a, b) if a < b else (b, a)].append((face, ta, tb) if a < b else (face, tb, ta))
    cut = {e: s for e, s in edges.items() if len(s) == 1 or s[0][1:] != s[1][1:]}
    around: dict[int, list[int]] = defaultdict(list)
    for a, b in cut:
        around[a].append(b)
        around[b].append(a)
    faces_at: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for face, (corner, uv_corner) in enumerate(
        zip(layout.faces.tolist(), layout.uv_faces.tolist(), strict=True)
    ):
        for vertex, uv_id in zip(corner, uv_corner, strict=True):
            if vertex in around:
                faces_at[vertex].append((face, uv_id))
    points: list[np.ndarray] = []
    corners: list[list[int]] = []
    weights: list[list[float]] = []
    sides: list[list[tuple[int, np.ndarray]]] = []

    def add_vertex(vertex: int) -> None:
        points.append(vertices[vertex])
        corners.append([vertex] * 3)
        weights.append([1.0, 0.0, 0.0])
        sides.append(
            [(face, layout.uv[uv_id].astype(np.float64)) for face, uv_id in faces_at[vertex]]
        )

    for path in _paths(around):
        line = vertices[path]
        lengths = np.linalg.norm(np.diff(line, axis=0), axis=1)
        closed = path[0] == path[-1]
        back = line[:, 2].max() < 0.03 or np.abs(line[:, 0]).max() > 0.06
        step = (spacing.far_mm * 0.8 if back else spacing.rim_mm) * 1e-3
        count = max(int(round(lengths.sum() / step)), 3)
        along = np.concatenate([[0], np.cumsum(lengths)])
        marks = np.linspace(0, along[-1], count + 1)[1:-1]
        add_vertex(path[0])
        if not closed:
            add_vertex(path[-1])
        for mark in marks:
            k = min(int(np.searchsorted(along, mark, side="right")) - 1, len(lengths) - 1)
            t = (mark - along[k]) / lengths[k]
            a, b = path[k], path[k + 1]
            flip = a > b
            own = []
            for face, ta, tb in cut[(b, a) if flip else (a, b)]:
                first, second = (tb, ta) if flip else (ta, tb)
                own.append((face, (1 - t) * layout.uv[first] + t * layout.uv[second]))
            points.append((1 - t) * line[k] + t * line[k + 1])
            corners.append([a, b, a])
            weights.append([1.0 - t, t, 0.0])
            sides.append(own)
    return _merge(_Rims(np.asarray(points), np.asarray(corners), np.asarray(weights), sides))


def _merge(rims: _Rims) -> _Rims:
    """Path ends are met by several paths: keep one sample each."""
    _, first = np.unique(np.round(rims.points, 7), axis=0, return_index=True)
    keep = np.sort(first)
    return _Rims(
        rims.points[keep], rims.corners[keep], rims.weights[keep], [rims.sides[k] for k in keep]
    )


def _paths(around: dict[int, list[int]]) -> list[list[int]]:
    """Split the cut graph into paths between junctions and closed loops."""
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
