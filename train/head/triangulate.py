"""Constrained triangulation in the plane, and edge flips towards well-shaped triangles on the surface above it.

N: points, F: triangles (counter-clockwise), C: constraint edges, which no flip ever removes.
"""

from __future__ import annotations

from collections import defaultdict
from math import atan2, sqrt

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import Delaunay


def triangulate(points: np.ndarray, constraints: np.ndarray) -> np.ndarray:
    """Triangles (F, 3) over the convex hull of points (N, 2) that hold every edge of constraints (C, 2).

    Delaunay's triangulation with the missing edges recovered by flips (Sloan 1993). Raises ValueError where two
    constraints cross or a constraint runs through a point.
    """
    mesh = _Mesh(Delaunay(points).simplices, points)
    mesh.walls = {frozenset(edge) for edge in constraints.tolist()}
    for a, b in constraints.tolist():
        mesh.recover(a, b)
    return mesh.triangles()


def regions(triangles: np.ndarray, constraints: np.ndarray) -> np.ndarray:
    """(F,) label of the region each triangle lies in, where regions end at the constraints (C, 2)."""
    walls = {frozenset(edge) for edge in constraints.tolist()}
    owner: dict[frozenset[int], int] = {}
    pairs = []
    for index, corners in enumerate(triangles.tolist()):
        for k in range(3):
            edge = frozenset((corners[k], corners[k - 1]))
            if edge in walls:
                continue
            if edge in owner:
                pairs.append((owner[edge], index))
            owner[edge] = index
    first, second = np.asarray(pairs, dtype=np.int64).reshape(-1, 2).T
    count = len(triangles)
    graph = coo_matrix((np.ones(len(first)), (first, second)), (count, count))
    return connected_components(graph, directed=False)[1]


def flip_to_surface(triangles: np.ndarray, plane: np.ndarray, surface: np.ndarray) -> np.ndarray:
    """Flip inner edges while that widens the smallest angle on the surface (N, 3) and the plane (N, 2) stays valid.

    Every flip raises the sorted list of angles, so this ends.
    """
    mesh = _Mesh(triangles, plane)
    corners = [tuple(row) for row in surface.tolist()]
    stack = [edge for edge in mesh.apex if edge[0] < edge[1]]
    while stack:
        a, b = stack.pop()
        if (a, b) not in mesh.apex or (b, a) not in mesh.apex or not mesh.can_flip(a, b):
            continue
        c, d = mesh.apex[a, b], mesh.apex[b, a]
        now = min(_narrowest(corners, a, b, c), _narrowest(corners, b, a, d))
        then = min(_narrowest(corners, a, d, c), _narrowest(corners, d, b, c))
        if then > now + 1e-6:
            mesh.flip(a, b)
            stack += [(a, c), (c, b), (b, d), (d, a)]
    return mesh.triangles()


def _narrowest(points: list[tuple[float, float, float]], a: int, b: int, c: int) -> float:
    """Smallest angle (rad) of a triangle in space, 0 where it has no area."""
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = points[a], points[b], points[c]
    ux, uy, uz = bx - ax, by - ay, bz - az
    vx, vy, vz = cx - ax, cy - ay, cz - az
    wx, wy, wz = vx - ux, vy - uy, vz - uz
    nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
    twice_area = sqrt(nx * nx + ny * ny + nz * nz)
    at_a = ux * vx + uy * vy + uz * vz
    at_b = -(ux * wx + uy * wy + uz * wz)
    at_c = vx * wx + vy * wy + vz * wz
    return atan2(twice_area, max(at_a, at_b, at_c))


class _Mesh:
    """Triangles by their directed edges: ``apex[a, b]`` is the third corner of the triangle left of a -> b."""

    def __init__(self, triangles: np.ndarray, points: np.ndarray) -> None:
        self.points = [(float(x), float(y)) for x, y in points]
        self.apex: dict[tuple[int, int], int] = {}
        self.around: defaultdict[int, set[int]] = defaultdict(set)
        self.walls: set[frozenset[int]] = set()
        for a, b, c in triangles.tolist():
            if self.area(a, b, c) < 0:
                b, c = c, b
            self.apex[a, b], self.apex[b, c], self.apex[c, a] = c, a, b
            for vertex, others in ((a, (b, c)), (b, (a, c)), (c, (a, b))):
                self.around[vertex].update(others)

    def area(self, a: int, b: int, c: int) -> float:
        """Twice the signed area of a triangle in the plane."""
        (ax, ay), (bx, by), (cx, cy) = self.points[a], self.points[b], self.points[c]
        return (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)

    def triangles(self) -> np.ndarray:
        """(F, 3), each once."""
        rows = [(a, b, c) for (a, b), c in self.apex.items() if a < b and a < c]
        return np.asarray(sorted(rows), dtype=np.int64)

    def can_flip(self, a: int, b: int) -> bool:
        """Whether a - b is no wall, and its two triangles make a convex quad whose other diagonal is new."""
        if frozenset((a, b)) in self.walls:
            return False
        c, d = self.apex[a, b], self.apex[b, a]
        if d in self.around[c]:
            return False
        least = 1e-6 * (self.area(a, b, c) + self.area(b, a, d))
        return min(self.area(a, d, c), self.area(d, b, c)) > least

    def flip(self, a: int, b: int) -> tuple[int, int]:
        """Replace the edge a - b by the quad's other diagonal, which is returned."""
        c, d = self.apex.pop((a, b)), self.apex.pop((b, a))
        for p, q, r in ((a, d, c), (d, b, c)):
            self.apex[p, q], self.apex[q, r], self.apex[r, p] = r, p, q
        self.around[a].discard(b)
        self.around[b].discard(a)
        self.around[c].add(d)
        self.around[d].add(c)
        return c, d

    def crosses(self, a: int, b: int, p: int, q: int) -> bool:
        """Whether the open segments a - b and p - q cross."""
        return (
            self.area(a, b, p) * self.area(a, b, q) < 0
            and self.area(p, q, a) * self.area(p, q, b) < 0
        )

    def recover(self, a: int, b: int) -> None:
        """Flip the edges that cross a - b until it is one itself."""
        crossing = self._crossing(a, b)
        patience = 100 + 20 * len(crossing) ** 2
        while crossing:
            p, q = crossing.pop(0)
            if not self.can_flip(p, q):
                crossing.append((p, q))
            else:
                c, d = self.flip(p, q)
                if self.crosses(a, b, c, d):
                    crossing.append((c, d))
            patience -= 1
            if not patience:
                break
        if b not in self.around[a]:
            raise ValueError(f"expected constraints that do not cross; got {a} - {b} in the way")

    def _crossing(self, a: int, b: int) -> list[tuple[int, int]]:
        """Edges between a and b, in order; empty where a - b is an edge already."""
        if b in self.around[a]:
            return []
        start = next(
            (
                (p, self.apex[a, p])
                for p in self.around[a]
                if (a, p) in self.apex and self.crosses(a, b, p, self.apex[a, p])
            ),
            None,
        )
        found = []
        while start is not None:
            p, q = start
            found.append(start)
            far = self.apex.get((q, p))
            if far is None or far == b:
                break
            start = (p, far) if self.crosses(a, b, p, far) else (far, q)
        return found
