"""core/joint_fit.py: one identity from several photos, and who is not the same person."""

import numpy as np
import pytest

from core.head_fit import Camera, fit_alone
from core.head_model import HeadModel
from core.joint_fit import (
    LOOK_PX,
    Look,
    agreeing,
    aligned_distance_m,
    fit_same_person,
    view_weights,
)
from core.landmarks import MEDIAPIPE_68, Landmarks

SIZE = (900, 800)


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return HeadModel.load()


def seen(head: HeadModel, identity: np.ndarray, yaw_deg: float, seed: int) -> Landmarks:
    """Landmarks with 1.5 px of noise of a head turned by yaw, with an expression of its own."""
    rng = np.random.default_rng(seed)
    a = np.deg2rad(yaw_deg)
    turn = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    eye = Camera(
        1260.0, np.array([400.0, 450.0]), 800, 900, np.diag([1.0, -1, -1]) @ turn, np.array([0, 0, 0.75])
    )  # fmt: skip
    expression = np.zeros(head.num_expression, np.float32)
    expression[rng.integers(head.num_expression, size=2)] = 0.4
    points = eye.project(head.basis(head.landmarks468_uv).points(identity, expression))
    points = (points + rng.normal(0, 1.5, points.shape)).astype(np.float32)
    return Landmarks(points[list(MEDIAPIPE_68)], points, None, "test", 1, 0.8)


def person(head: HeadModel, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.8, head.num_identity).astype(np.float32)


def error_mm(head: HeadModel, found: np.ndarray, truth: np.ndarray) -> float:
    grid = np.stack(
        np.meshgrid(np.linspace(0.28, 0.72, 30), np.linspace(0.30, 0.72, 30)), -1
    ).reshape(-1, 2)
    basis, still = head.basis(grid), np.zeros(head.num_expression)
    return 1000 * aligned_distance_m(basis.points(found, still), basis.points(truth, still))


@pytest.mark.parametrize("yaws_deg", [(-25.0, 25.0), (0.0, 30.0)])
def test_two_views_beat_one(head: HeadModel, yaws_deg: tuple[float, ...]) -> None:
    alone, together = [], []
    for seed in (0, 1):
        truth = person(head, seed)
        fits = [
            fit_alone(seen(head, truth, yaw, 10 * seed + k), SIZE, head, 1260.0)
            for k, yaw in enumerate(yaws_deg)
        ]
        alone += [error_mm(head, fit.identity, truth) for _, fit in fits]
        joint = fit_same_person([solver for solver, _ in fits], head)
        assert all((fit.identity == joint.fits[0].identity).all() for fit in joint.fits)
        for fit, yaw in zip(joint.fits, yaws_deg, strict=True):
            assert abs(fit.camera.yaw_pitch_roll_deg[0] - yaw) < 4
        assert (joint.distance_mm > 0).all() and not any(joint.doubts)
        together.append(error_mm(head, joint.fits[0].identity, truth))
    assert np.mean(together) < 0.9 * np.mean(alone)


def test_a_distrusted_photo_leaves_the_identity_alone(head: HeadModel) -> None:
    truth, other = person(head, 2), person(head, 3)
    views = [(truth, -20.0), (truth, 20.0), (other, 0.0)]

    def solvers() -> list:
        return [
            fit_alone(seen(head, who, yaw, k), SIZE, head, 1260.0)[0]
            for k, (who, yaw) in enumerate(views)
        ]

    clean = fit_same_person(solvers()[:2], head)
    mixed = fit_same_person(solvers(), head, np.array([True, True, False]))
    assert mixed.weights[2] == 0
    identities = [fit.fits[0].identity for fit in (clean, mixed)]
    assert error_mm(head, identities[1], identities[0]) < 0.15


def test_equal_views_share_their_weight() -> None:
    weights = view_weights(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [60.0, 0.0]]))
    assert weights[3] > 0.95 and abs(weights[:3].sum() - 1) < 0.05


def look(seed: int, noise: float = 0.0, part: slice = slice(None)) -> Look:
    rng = np.random.default_rng(seed)
    small = rng.uniform(0.3, 0.8, (32, 32, 3))
    texture = np.kron(small, np.ones((8, 8, 1)))
    texture = texture + noise * np.random.default_rng(99).normal(size=texture.shape)
    seen_part = np.zeros((LOOK_PX, LOOK_PX))
    seen_part[:, part] = 1
    return Look.of(np.clip(texture, 0, 1), seen_part, np.ones((LOOK_PX, LOOK_PX)))


def test_strangers_are_told_apart_by_their_skin() -> None:
    same = [look(0), look(0, 0.1), look(1), look(0, 0.05)]
    keep, best = agreeing(same)
    assert keep.tolist() == [True, True, False, True]
    assert best[2] < 0.3 < 0.8 < best[0]


def test_photos_that_share_no_skin_are_not_held_against_each_other() -> None:
    """Left and right profile meet only by way of the frontal photo."""
    keep, _ = agreeing([look(0, part=slice(0, 120)), look(0), look(0, part=slice(136, 256))])
    assert keep.all()
    keep, best = agreeing([look(0, part=slice(0, 120)), look(1, part=slice(136, 256))])
    assert keep.all() and (best == 1).all()
