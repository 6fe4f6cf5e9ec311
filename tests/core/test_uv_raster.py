"""UV coverage: texel centres, barycentric weights, points beside the layout."""

from __future__ import annotations

import numpy as np

from core.uv_raster import UVLocator, barycentric, rasterize_uv

UV = np.array([[0.1, 0.1], [0.9, 0.1], [0.1, 0.9], [0.9, 0.9]])
FACES = np.array([[0, 1, 2], [1, 3, 2]])


def test_raster_reproduces_uv_itself() -> None:
    size = 64
    raster = rasterize_uv(UV, FACES, size)
    rows, cols = np.nonzero(raster.mask)
    expected = np.stack([(cols + 0.5) / size, 1 - (rows + 0.5) / size], 1)
    np.testing.assert_allclose(raster.interpolate(UV, FACES)[rows, cols], expected, atol=1e-6)
    inside = ((expected > 0.1) & (expected < 0.9)).all(1)
    assert (
        inside.all()
        and len(rows) == round((0.8 * size) ** 2)
        or abs(len(rows) - (0.8 * size) ** 2) < 4 * size
    )


def test_outside_texels_take_the_nearest_value() -> None:
    raster = rasterize_uv(UV, FACES, 32)
    filled = raster.interpolate(UV, FACES)
    np.testing.assert_allclose(filled[0, 0], [0.1, 0.9], atol=0.04)
    assert (raster.interpolate(UV, FACES, fill=False)[0, 0] == 0).all()


def test_locator_finds_inside_and_snaps_outside() -> None:
    triangle, weights, inside = UVLocator(UV, FACES).locate(
        np.array([[0.2, 0.2], [0.8, 0.8], [0.95, 0.5]])
    )
    assert triangle.tolist() == [0, 1, 1] and inside.tolist() == [True, True, False]
    points = (weights[..., None] * UV[FACES[triangle]]).sum(1)
    np.testing.assert_allclose(points[:2], [[0.2, 0.2], [0.8, 0.8]], atol=1e-6)
    assert points[2, 0] <= 0.9 + 1e-6 and abs(points[2, 1] - 0.5) < 0.06


def test_degenerate_triangle_never_wins() -> None:
    a = np.zeros((1, 2))
    assert barycentric(np.array([[0.0, 0.0]]), a, a, a).max() == -np.inf
