"""Eyeballs: where they sit, where they look, what colour they are."""

from __future__ import annotations

import numpy as np

from core.eyes import build_eyes, eye_texture, iris_color
from core.head_model import HeadModel
from core.landmarks import Landmarks


def test_eyes_sit_behind_the_lids() -> None:
    head = HeadModel.load()
    parts = build_eyes(head, None, None, np.zeros(head.num_identity, np.float32))
    assert [part.name for part in parts] == ["eye_right", "eye_left"]
    for part, outer in zip(parts, (36, 45), strict=True):
        lid = head.basis(head.landmarks68_uv[outer : outer + 1]).mean[0]
        center = part.vertices.mean(0)
        assert np.sign(center[0]) == np.sign(lid[0])
        assert np.linalg.norm(center - lid) < 0.03
        ball = head.eyes(np.zeros(head.num_identity, np.float32))[0 if outer == 36 else 1]
        forward = part.vertices[0] - ball
        assert forward[2] > 0.99 * np.linalg.norm(forward), "without gaze they look straight ahead"


def test_eye_texture_has_dark_pupil_coloured_iris_and_bright_sclera() -> None:
    image = eye_texture(np.array([0.2, 0.4, 0.6]), 0.0145, 256)
    assert image[128, 128].max() < 0.2
    iris = image[128, 128 + 13]
    assert iris[2] > iris[0] + 0.1
    assert image[128, 128 + 24].min() > 0.6


def test_iris_colour_is_read_from_the_ring() -> None:
    image = np.full((200, 300, 3), 0.8, np.float32)
    rows, cols = np.mgrid[:200, :300]
    iris = np.zeros((10, 2), np.float32)
    for eye, x in enumerate((100.0, 200.0)):
        radius = np.hypot(cols + 0.5 - x, rows + 0.5 - 100)
        image[radius < 12] = (0.15, 0.3, 0.5)
        image[radius < 4] = 0.02
        iris[5 * eye : 5 * eye + 5] = [[x, 100], [x + 12, 100], [x, 88], [x - 12, 100], [x, 112]]
    points = np.zeros((68, 2), np.float32)
    landmarks = Landmarks(points, None, iris, "test", 1, 1.0)
    np.testing.assert_allclose(
        iris_color(image, landmarks, np.ones(3)), (0.15, 0.3, 0.5), atol=0.03
    )
