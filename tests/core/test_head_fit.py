"""core/head_fit.py: known heads, projected, are found again; what cannot be a head is refused."""

import numpy as np
import pytest

from core.errors import FitError
from core.head_fit import Camera, HeadFit, fit_head
from core.head_model import HeadModel
from core.landmarks import MEDIAPIPE_68, Landmarks

SIZE = (900, 800)


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return HeadModel.load()


def camera(yaw_deg: float = 0.0, pitch_deg: float = 0.0, focal_px: float = 1260.0) -> Camera:
    """A camera 0.75 m in front of a head turned by yaw (towards image right) and pitch (down)."""
    a, b = np.deg2rad([yaw_deg, pitch_deg])
    turn_y = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    turn_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    rotation = np.diag([1.0, -1.0, -1.0]) @ turn_x @ turn_y
    return Camera(
        focal_px, np.array([400.0, 450.0]), 800, 900, rotation, np.array([0.01, 0.02, 0.75])
    )


def person(head: HeadModel, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A plausible identity and a mild smile with an open jaw."""
    identity = np.random.default_rng(seed).normal(0, 0.8, head.num_identity).astype(np.float32)
    expression = np.zeros(head.num_expression, np.float32)
    for name, value in {"mouthSmileLeft": 0.5, "mouthSmileRight": 0.5, "jawOpen": 0.2}.items():
        expression[head.expression_names.index(name)] = value
    return identity, expression


def seen(
    head: HeadModel,
    eye: Camera,
    identity: np.ndarray,
    expression: np.ndarray,
    noise_px: float = 0.5,
    dense: bool = True,
) -> Landmarks:
    """The landmarks a perfect detector with some noise would give."""
    rng = np.random.default_rng(1)
    uv = head.landmarks468_uv if dense else head.landmarks68_uv
    points = eye.project(head.basis(uv).points(identity, expression))
    points = (points + rng.normal(0, noise_px, points.shape)).astype(np.float32)
    sparse = points[list(MEDIAPIPE_68)] if dense else points
    return Landmarks(sparse, points if dense else None, None, "test", 1, 0.8)


def face_error_mm(
    head: HeadModel, fit: HeadFit | None, identity: np.ndarray, expression: np.ndarray
) -> float:
    """Mean distance over the face after rigid + scale alignment, of the fit or of the mean head."""
    grid = np.stack(
        np.meshgrid(np.linspace(0.28, 0.72, 40), np.linspace(0.30, 0.72, 40)), -1
    ).reshape(-1, 2)
    basis = head.basis(grid)
    truth = basis.points(identity, expression).astype(np.float64)
    zero = np.zeros_like(identity), np.zeros_like(expression)
    guess = basis.points(*((fit.identity, fit.expression) if fit else zero)).astype(np.float64)
    a, b = guess - guess.mean(0), truth - truth.mean(0)
    u, s, vt = np.linalg.svd(a.T @ b)
    flip = np.diag([1, 1, np.sign(np.linalg.det(u @ vt))])
    scale = np.trace(np.diag(s) @ flip) / (a**2).sum()
    return float(np.linalg.norm(scale * a @ u @ flip @ vt - b, axis=1).mean() * 1000)


def test_camera_projects_as_stated() -> None:
    eye = Camera(
        100.0, np.array([50.0, 40.0]), 100, 80, np.diag([1.0, -1.0, -1.0]), np.array([0, 0, 2.0])
    )
    points = np.array([[0, 0, 0], [0.2, 0, 0], [0, 0.2, 0], [0.2, 0, 1.0]])
    np.testing.assert_allclose(eye.project(points), [[50, 40], [60, 40], [50, 30], [70, 40]])
    np.testing.assert_allclose(eye.position, [0, 0, 2])


@pytest.mark.parametrize("yaw_deg", [0.0, 20.0, -40.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_finds_a_known_head_again(head: HeadModel, yaw_deg: float, seed: int) -> None:
    identity, expression = person(head, seed)
    eye = camera(yaw_deg, 5.0)
    fit = fit_head(seen(head, eye, identity, expression), SIZE, head, focal_px=eye.focal_px)
    assert fit.residual_iod < 0.015 and fit.residual_px > 0
    found = face_error_mm(head, fit, identity, expression)
    assert found < 0.6 * face_error_mm(head, None, identity, expression)
    assert found < 2.0
    yaw, pitch, _ = fit.camera.yaw_pitch_roll_deg
    assert abs(yaw - yaw_deg) < 4 and abs(pitch - 5.0) < 4


def test_smile_is_expression_not_identity(head: HeadModel) -> None:
    identity, expression = person(head, 2)
    eye = camera()
    fit = fit_head(seen(head, eye, identity, expression), SIZE, head)
    smile = fit.expression[
        [head.expression_names.index(f"mouthSmile{side}") for side in ("Left", "Right")]
    ]
    assert (smile > 0.2).all()
    assert (fit.expression >= 0).all() and (fit.expression <= 1).all()
    still = fit_head(seen(head, eye, identity, np.zeros_like(expression)), SIZE, head)
    assert np.sort(still.expression)[-3:].mean() < 0.3 < np.sort(fit.expression)[-2:].mean()


def test_free_focal_stays_in_range(head: HeadModel) -> None:
    eye = camera(15.0)
    fit = fit_head(seen(head, eye, *person(head, 3)), SIZE, head)
    assert 0.8 * 900 <= fit.camera.focal_px <= 4.0 * 900


def test_sparse_landmarks_do(head: HeadModel) -> None:
    identity, expression = person(head, 4)
    fit = fit_head(
        seen(head, camera(10.0), identity, expression, dense=False), SIZE, head, focal_px=1260.0
    )
    assert fit.residual_iod < 0.02
    assert face_error_mm(head, fit, identity, expression) < 0.85 * face_error_mm(
        head, None, identity, expression
    )


def test_outliers_do_not_pull(head: HeadModel) -> None:
    identity, expression = person(head, 5)
    marks = seen(head, camera(), identity, expression)
    broken = marks.dense.copy()
    broken[::17] += 60.0
    fit = fit_head(
        Landmarks(marks.points, broken, None, "test", 1, 0.8), SIZE, head, focal_px=1260.0
    )
    assert face_error_mm(head, fit, identity, expression) < 0.7 * face_error_mm(
        head, None, identity, expression
    )


def test_gaze_points_at_the_camera_when_the_iris_does(head: HeadModel) -> None:
    identity, expression = person(head, 6)
    eye = camera()
    centres = head.eyes(identity)
    toward = eye.position - centres
    front = centres + head.eye_radius_m * toward / np.linalg.norm(toward, axis=1, keepdims=True)
    iris = np.repeat(eye.project(front), 5, 0).astype(np.float32)
    marks = seen(head, eye, identity, expression, noise_px=0.0)
    fit = fit_head(
        Landmarks(marks.points, marks.dense, iris, "test", 1, 0.8), SIZE, head, focal_px=1260.0
    )
    assert np.allclose(np.linalg.norm(fit.gaze, axis=1), 1, atol=1e-5)
    assert (fit.gaze[:, 2] > 0.9).all()


def test_several_faces_and_a_turned_head_are_warned_of(head: HeadModel) -> None:
    marks = seen(head, camera(-42.0), *person(head, 7))
    fit = fit_head(Landmarks(marks.points, marks.dense, None, "test", 3, 0.8), SIZE, head)
    assert any("3 faces" in w for w in fit.warnings) and any("turned" in w for w in fit.warnings)
    frontal = fit_head(seen(head, camera(), *person(head, 7)), SIZE, head)
    assert frontal.confidence > fit.confidence and not frontal.warnings


def test_points_of_no_head_are_refused(head: HeadModel) -> None:
    noise = np.random.default_rng(0).uniform(200, 600, (468, 2)).astype(np.float32)
    with pytest.raises(FitError, match="expected"):
        fit_head(Landmarks(noise[list(MEDIAPIPE_68)], noise, None, "test", 1, 0.8), SIZE, head)
