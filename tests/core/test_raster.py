"""core/raster.py: the z-buffer against its slow twin and against hand-made cases."""

import numpy as np

from core.raster import rasterize, rasterize_reference


def test_agrees_with_the_reference() -> None:
    rng = np.random.default_rng(0)
    pixels, depth = rng.random((30, 2)) * 40 - 5, rng.random(30) + 0.5
    faces = rng.integers(0, 30, (25, 3))
    fast, slow = (f(pixels, depth, faces, 24, 31) for f in (rasterize, rasterize_reference))
    np.testing.assert_array_equal(fast.triangle, slow.triangle)
    np.testing.assert_allclose(fast.depth, slow.depth, rtol=1e-6)
    np.testing.assert_allclose(fast.weights, slow.weights, atol=1e-6)
    assert fast.mask.mean() > 0.3


def test_nearer_triangle_wins_and_pixel_centres_count() -> None:
    square = np.array([[0, 0], [4, 0], [0, 4], [4, 4]], float)
    pixels = np.concatenate([square, square])
    depth = np.array([2.0] * 4 + [1.0] * 4)
    faces = np.array([[0, 1, 2], [1, 3, 2], [4, 5, 6]])
    raster = rasterize(pixels, depth, faces, 4, 4)
    assert raster.mask.all()
    assert raster.triangle[0, 0] == 2 and raster.depth[0, 0] == 1.0
    assert raster.triangle[3, 3] == 1 and raster.depth[3, 3] == 2.0


def test_weights_are_perspective_correct() -> None:
    """Half-way on screen between z = 1 and z = 3 lies a quarter of the way along the edge in space."""
    pixels = np.array([[0, -8], [8, -8], [0, 8], [8, 8]], float)
    depth = np.array([1.0, 3.0, 1.0, 3.0])
    raster = rasterize(pixels, depth, np.array([[0, 1, 2], [1, 3, 2]]), 1, 8)
    share = raster.interpolate(
        np.array([[0.0], [1.0], [0.0], [1.0]]), np.array([[0, 1, 2], [1, 3, 2]])
    )
    s = (np.arange(8) + 0.5) / 8
    np.testing.assert_allclose(share[0, :, 0], (s / 3) / ((1 - s) + s / 3), atol=1e-6)


def test_behind_the_camera_is_left_out() -> None:
    pixels = np.array([[0, 0], [4, 0], [0, 4]], float)
    assert not rasterize(pixels, np.array([1.0, 1.0, -1.0]), np.array([[0, 1, 2]]), 4, 4).mask.any()
