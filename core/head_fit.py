"""Landmarks -> camera, pose, identity and expression of the statistical head; residual in pixels.

The equations are ``fit_solver.py``'s; here photos come in, fits go out, and each fit is judged.
N: points, K: identity modes, E: expression modes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .camera import Camera
from .errors import FitError
from .fit_solver import MAX_RESIDUAL_IOD, Solver, minimise, refusal
from .head_model import HeadModel
from .landmarks import Landmarks

__all__ = ["Camera", "HeadFit", "fit_head"]


@dataclass(frozen=True)
class HeadFit:
    """A head seen by a camera; the neutral head has the same identity and expression 0."""

    camera: Camera
    identity: np.ndarray
    """(K,) float32, unit variance."""
    expression: np.ndarray
    """(E,) float32 in [0, 1]."""
    residual_px: float
    """Median distance of the points that do not slide, pixels."""
    residual_iod: float
    """The same over the distance between the outer eye corners."""
    confidence: float
    """(0, 1]: falls with the residual, the turn away, the detector's doubt, and for very small faces."""
    warnings: tuple[str, ...]
    anchors_uv: np.ndarray
    """(N, 2) where the landmarks lie on the head."""
    anchors_px: np.ndarray
    """(N, 2) where the detector saw them."""
    anchors_weight: np.ndarray
    """(N,) [0, 1] how far each one is to be trusted when the texture is brought into register."""
    gaze: np.ndarray | None
    """(2, 3) unit vectors in head space, subject's right eye first; None without iris points."""


def fit_head(
    landmarks: Landmarks,
    image_size: tuple[int, int],
    head: HeadModel,
    focal_px: float | None = None,
) -> HeadFit:
    """Fit camera, identity and expression to landmarks.

    landmarks: of one photo, pixels; image_size: (H, W); focal_px: from EXIF where known, else free around
    FOCAL_PRIOR x the longer side. Takes about 0.2 s.
    Raises FitError when no plausible head explains the points.
    """
    return fit_alone(landmarks, image_size, head, focal_px)[1]


def fit_alone(
    landmarks: Landmarks,
    image_size: tuple[int, int],
    head: HeadModel,
    focal_px: float | None = None,
) -> tuple[Solver, HeadFit]:
    """``fit_head`` that also hands over its solver, from which a joint fit can go on."""
    solver = Solver(landmarks, image_size, head, focal_px)
    minimise([solver])
    fit = judge(solver)
    if not fit.residual_iod <= MAX_RESIDUAL_IOD:
        raise FitError(refusal(f"{fit.residual_iod:.0%}"))
    return solver, fit


def judge(solver: Solver) -> HeadFit:
    """The fit a solver has come to, with its residual, confidence and warnings."""
    landmarks, anchors = solver.landmarks, solver.anchors
    camera, facing = solver.camera(), solver.facing()
    distance = np.linalg.norm(solver.residual(), axis=1)
    steady = ~anchors.slides & (facing > 0.15)
    iod_px = landmarks.interocular_px
    identity, expression = (x.astype(np.float32) for x in (solver.identity, solver.expression))
    eyes = camera.project(
        solver.head.basis(solver.head.landmarks68_uv[[36, 45]]).points(identity, expression)
    )
    yaw, pitch, _ = camera.yaw_pitch_roll_deg
    # a turned head foreshortens the eye line: measure against the unforeshortened distance
    iod_px = max(iod_px, float(np.linalg.norm(eyes[0] - eyes[1]))) / max(
        np.cos(np.deg2rad(yaw)), 0.3
    )
    residual_px = float(np.median(distance[steady])) if steady.sum() > 10 else float("inf")
    residual_iod = residual_px / max(iod_px, 1e-6)
    warnings = []
    if landmarks.num_faces > 1:
        warnings.append(f"{landmarks.num_faces} faces found; the largest was taken")
    if abs(yaw) > 35 or abs(pitch) > 30:
        warnings.append(
            f"head turned {yaw:.0f} degrees sideways, {pitch:.0f} down; much skin is unseen"
        )
    if iod_px < 80:
        warnings.append(f"small face ({iod_px:.0f} px between the eyes); the maps will be soft")
    if residual_iod > 0.04:
        warnings.append(f"loose fit ({residual_iod:.1%} of the interocular distance)")
    confidence = np.exp(-((residual_iod / 0.05) ** 2)) * np.cos(np.deg2rad(min(abs(yaw), 80.0)))
    confidence *= (0.5 + 0.5 * min(landmarks.score / 0.6, 1.0)) * min(iod_px / 50.0, 1.0)
    register = anchors.register * np.clip((facing - 0.1) / 0.3, 0, 1)
    return HeadFit(
        camera, identity, expression, residual_px, residual_iod, float(confidence), tuple(warnings),
        anchors.uv, solver.observed, register, _gaze(solver, camera, identity),
    )  # fmt: skip


def _gaze(solver: Solver, camera: Camera, identity: np.ndarray) -> np.ndarray | None:
    """Where the iris centres' rays meet the eyeballs, seen from the eyeballs' centres."""
    landmarks, head = solver.landmarks, solver.head
    if landmarks.iris is None:
        return None
    out = np.zeros((2, 3), np.float32)
    for eye, center in enumerate(head.eyes(identity)):
        x, y = (landmarks.iris[5 * eye] - camera.center_px) / camera.focal_px
        ray = camera.R.T @ np.array([x, y, 1.0])
        ray /= np.linalg.norm(ray)
        along = float((center - camera.position) @ ray)
        offset = camera.position + along * ray - center
        depth = np.sqrt(max(head.eye_radius_m**2 - float(offset @ offset), 0.0))
        aim = offset - depth * ray
        out[eye] = aim / np.linalg.norm(aim)
    return out
