"""bench/truth_heads.py, bench/fit_truth.py: truth that is true, and errors that are measured as stated."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench import fit_truth
from bench.truth_heads import aligned_error_m, draw_camera, draw_subject, toned
from core.head_fit import HeadFit
from core.head_model import HeadModel


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return HeadModel.load()


def exact_fit(head: HeadModel, yaw_deg: float) -> HeadFit:
    """The mean head, seen by a truth camera, fitted without error."""
    camera = draw_camera(head, yaw_deg, 3, 400)
    identity, expression = (
        np.zeros(n, np.float32) for n in (head.num_identity, head.num_expression)
    )
    uv = head.landmarks468_uv[np.isfinite(head.landmarks468_uv).all(1)].astype(np.float64)
    pixels = camera.project(head.basis(uv).points(identity, expression))
    weight = np.ones(len(uv))
    return HeadFit(camera, identity, expression, 0.1, 0.001, 1.0, (), uv, pixels, weight, None)


def picture(head: HeadModel, fit: HeadFit, folder: Path) -> fit_truth.Picture:
    from bench.truth_heads import Subject

    path = folder / "mean.png"
    fit_truth.keep_truth(path, Subject(head.mean, head.mean, (1.0, 1.0, 1.0)), fit.camera, head)
    return fit_truth.Picture.read(path, 0.0)


def test_a_perfect_fit_has_no_error(head: HeadModel, tmp_path: Path) -> None:
    fit = exact_fit(head, 20.0)
    truth = picture(head, fit, tmp_path)
    assert fit_truth.shape_errors(head, fit, truth)["posed_mm"] < 0.01
    found = fit_truth.registration(head, fit, truth)
    assert found["registration_median_texels"] < 0.05
    assert found["visibility_precision"] > 0.999 and found["visibility_recall"] > 0.999
    # 2 px to the right of where the head is: the warp to the landmarks takes most of it back, plain sampling none
    beside = replace(fit, camera=replace(fit.camera, center_px=fit.camera.center_px + [2.0, 0.0]))
    unwarped = replace(beside, anchors_weight=np.zeros(len(fit.anchors_uv)))
    assert fit_truth.registration(head, unwarped, truth)["registration_median_texels"] > 3


def test_alignment_takes_off_pose_and_scale_only() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(50, 3))
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    assert aligned_error_m(1.7 * points @ turn + [1, 2, 3], points).max() < 1e-9
    assert aligned_error_m(points * [1, 1, 1.5], points).mean() > 0.1


def test_people_differ_and_come_back_the_same(head: HeadModel, shared_data: Path) -> None:
    first, again, other = (draw_subject(head, shared_data, k) for k in (0, 0, 1))
    np.testing.assert_array_equal(first.posed, again.posed)
    distance = 1000 * aligned_error_m(first.neutral, other.neutral).mean()
    assert 1.0 < distance < 12.0 and first.tone != other.tone


def test_toning_keeps_black_black() -> None:
    texture = np.stack([np.zeros((4, 4, 3)), np.full((4, 4, 3), 0.8)]).astype(np.float32)
    dark = toned(texture, (0.4, 0.3, 0.2))
    assert dark[0].max() == 0 and (np.diff(dark[1], axis=-1) < 0).all()
