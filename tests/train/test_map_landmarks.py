"""train/map_landmarks.py: the mean head's renders are faces, and their points are lifted to the right place."""

import numpy as np
import pytest

from core.head_model import HeadModel
from core.landmarks import detect, mediapipe_mirror
from train.map_landmarks import TONES, draw_view, lift


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return HeadModel.load()


def test_a_drawn_view_gives_the_stored_points_back(head: HeadModel) -> None:
    mesh = head.embedded_mesh()
    skin = np.zeros(len(mesh.faces), bool)
    skin[np.unique(head.raster(1024).triangle[head.skin_mask(1024)])] = True
    view = draw_view(head, mesh, skin, TONES[0], 0.0, 0.0, 0.3)
    uv, trust = lift(view, detect(view.image, "mediapipe").dense, mesh)
    stored = head.landmarks468_uv
    gap = np.linalg.norm(uv - stored, axis=1)[trust > 0.2]
    assert len(gap) > 150 and np.median(gap) < 0.008


def test_stored_points_are_symmetric_and_complete(head: HeadModel) -> None:
    uv = head.landmarks468_uv
    assert np.isfinite(uv).all()
    np.testing.assert_allclose((uv * [-1, 1] + [1, 0])[mediapipe_mirror()[:468]], uv, atol=0.01)
    np.testing.assert_allclose(uv[[33, 263]].mean(0)[0], 0.5, atol=0.003)
    assert uv[152, 1] < uv[17, 1] < uv[14, 1] < uv[13, 1] < uv[4, 1] < uv[168, 1] < uv[10, 1]
