"""The head's mesh: constrained triangulation, and the embedded mesh drawn from the layout."""

from __future__ import annotations

import numpy as np
import pytest

from train.head.rims import islands_of, sample_rims
from train.head.sources import read_layout_head
from train.head.triangulate import flip_to_surface, regions, triangulate


def edges_of(triangles: np.ndarray) -> set[frozenset[int]]:
    return {frozenset((int(t[k]), int(t[k - 1]))) for t in triangles for k in range(3)}


def areas(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    a, b, c = (points[triangles[:, k]] for k in range(3))
    return np.cross(b - a, c - a) / 2


def slit() -> tuple[np.ndarray, np.ndarray]:
    """A cloud of points in the unit square around a slit far narrower than the cloud is dense."""
    rng = np.random.default_rng(0)
    x = np.linspace(0.25, 0.75, 9)
    lips = np.concatenate(
        [np.stack([x, 0.5 + 0 * x], 1), np.stack([x[1:-1], 0.501 + 0 * x[1:-1]], 1)]
    )
    cloud = rng.random((400, 2))
    cloud = cloud[np.abs(cloud[:, 1] - 0.5) > 0.004]
    loop = np.r_[0:9, 15:8:-1, 0]
    return np.concatenate([lips, cloud]), np.stack([loop[:-1], loop[1:]], 1)


def test_constraints_are_edges_and_the_plane_is_covered_once() -> None:
    points, outline = slit()
    triangles = triangulate(points, outline)
    assert {frozenset(edge) for edge in outline.tolist()} <= edges_of(triangles)
    assert (areas(points, triangles) > 0).all()
    plain = triangulate(points, outline[:0])
    assert areas(points, triangles).sum() == pytest.approx(areas(points, plain).sum())
    assert edges_of(plain) != edges_of(triangles), "the slit was not there by chance"


def test_regions_end_at_the_outline() -> None:
    points, outline = slit()
    triangles = triangulate(points, outline)
    label = regions(triangles, outline)
    area = np.bincount(label, areas(points, triangles))
    assert len(area) == 2
    assert area.min() == pytest.approx(0.001 * (0.5 + 0.375) / 2, rel=1e-6), (
        "the slit is a trapezium"
    )


def test_crossing_constraints_are_refused() -> None:
    points = np.array([[0, 0], [1, 0], [1, 1], [0, 1.0]])
    with pytest.raises(ValueError, match="do not cross"):
        triangulate(points, np.array([[0, 2], [1, 3]]))


def test_flips_widen_the_narrowest_angle_on_the_surface() -> None:
    rng = np.random.default_rng(1)
    plane = rng.random((200, 2))
    surface = np.column_stack([plane[:, 0] * 6, plane[:, 1], np.sin(plane[:, 0] * 4)])
    before = triangulate(plane, np.zeros((0, 2), int))
    after = flip_to_surface(before, plane, surface)

    def narrowest(triangles: np.ndarray) -> np.ndarray:
        corners = surface[triangles]
        cosines = []
        for k in range(3):
            u, v = corners[:, (k + 1) % 3] - corners[:, k], corners[:, (k + 2) % 3] - corners[:, k]
            cosines.append((u * v).sum(1) / np.linalg.norm(u, axis=1) / np.linalg.norm(v, axis=1))
        return np.arccos(np.max(cosines, axis=0))

    assert (areas(plane, after) > 0).all()
    assert areas(plane, after).sum() == pytest.approx(areas(plane, before).sum())
    assert np.median(narrowest(after)) > 1.3 * np.median(narrowest(before))


def test_rims_of_the_layout_are_closed_outlines_with_common_samples(shared_data) -> None:
    layout = read_layout_head(shared_data)
    islands = islands_of(layout.mesh)
    rims = sample_rims(layout.mesh, islands, layout.vertices, 1e-3, 6e-3)
    assert islands.max() == 4, "skin, two halves of the mouth, two sockets"
    np.testing.assert_allclose(rims.weights.sum(1), 1)
    shared: set[int] = set()
    for island in range(1, 5):
        uv, samples, outline = rims.on_island(island)
        _, degree = np.unique(outline, return_counts=True)
        assert (degree == 2).all() and len(degree) == len(uv), "one closed outline"
        shared |= set(samples.tolist())
    skin = set(rims.on_island(0)[1].tolist())
    assert len(shared & skin) > 200, "lids and lips are the skin's and the cavities'"
