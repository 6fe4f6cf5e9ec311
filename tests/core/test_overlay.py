"""core/overlay.py: the grid lies on the head, the rest of the photo stays as it was."""

import numpy as np

from core.head_fit import Camera, HeadFit
from core.head_model import HeadModel
from core.landmarks import Landmarks
from core.overlay import draw_overlay


def test_draws_on_the_head_only() -> None:
    head = HeadModel.load()
    eye = Camera(
        600.0, np.array([150.0, 120.0]), 300, 260, np.diag([1.0, -1.0, -1.0]), np.array([0, 0, 0.9])
    )
    zero = np.zeros(head.num_identity, np.float32), np.zeros(head.num_expression, np.float32)
    points = eye.project(head.basis(head.landmarks68_uv).points(*zero)).astype(np.float32)
    fit = HeadFit(eye, *zero, 0.5, 0.01, 1.0, (), head.landmarks68_uv, points, np.ones(68), None)
    photo = np.full((260, 300, 3), 0.5, np.float32)
    drawn = draw_overlay(photo, fit, Landmarks(points, None, None, "test", 1, 1.0), head)
    changed = np.abs(drawn - photo).max(-1) > 0.05
    assert drawn.shape == photo.shape and 0 <= drawn.min() and drawn.max() <= 1
    assert changed[100:150, 120:180].mean() > 0.3
    assert not changed[:10, :40].any() and (photo == 0.5).all()
