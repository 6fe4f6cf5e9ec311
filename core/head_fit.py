"""Landmarks -> camera, pose, identity and expression of the statistical head; residual in pixels.

Maximum a posteriori by Levenberg-Marquardt with an analytic Jacobian: perspective camera, identity with a
unit-variance Gaussian prior, expression in [0, 1] with a sparse prior, Cauchy weights against outliers. Points
of the face oval that turn away slide along the occluding contour (Cao et al., "Displaced dynamic expression
regression", SIGGRAPH 2014). N: points, K: identity modes, E: expression modes, V: vertices.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from .camera import Camera
from .errors import FitError
from .facemesh import BROWS, EYE_RINGS, LIP_RINGS, NOSE, NOSTRILS, OVAL
from .head_model import HeadBasis, HeadModel
from .landmarks import Landmarks

__all__ = ["Camera", "HeadFit", "fit_head"]

FOCAL_PRIOR = 1.4
"""Focal length over the longer image side where EXIF says nothing: about 50 mm on full frame."""
FOCAL_RANGE = (0.8, 4.0)
MAX_RESIDUAL_IOD = 0.10
"""A fit whose median landmark residual exceeds this share of the interocular distance is refused."""

_NOISE_IOD = 0.012
_CAUCHY = 3.0
_EFFECTIVE_POINTS = 220.0
_TURN_DISTRUST = 6.0
_EXPRESSION_SIGMA = 0.35
_EXPRESSION_SPARSE = 0.8
_ITERATIONS = 24
_SLIDE_AT = (4, 9, 14)


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


@dataclass(frozen=True)
class _Anchors:
    """The model at the landmarks: basis at the points and one small step to u and v (for normals)."""

    uv: np.ndarray
    basis: HeadBasis
    beside: tuple[HeadBasis, HeadBasis]
    weight: np.ndarray
    register: np.ndarray
    slides: np.ndarray
    points_used: np.ndarray


@dataclass(frozen=True)
class _Contour:
    """Mesh vertices that may become the occluding contour: ids, basis, and local triangles for normals."""

    uv: np.ndarray
    basis: HeadBasis
    faces: np.ndarray


@lru_cache(maxsize=4)
def _anchors(head: HeadModel, dense: bool) -> _Anchors:
    """Basis and weights of the 468 dense or the 68 sparse points; unknown points are left out."""
    if dense:
        uv = head.landmarks468_uv
        weight, register, slides = np.full(468, 0.6), np.full(468, 0.5), np.zeros(468, bool)
        for ids, fit_weight, register_weight in (
            (NOSE, 1.0, 1.0),
            (LIP_RINGS[0] + LIP_RINGS[-1], 1.3, 1.0),
            (EYE_RINGS[0] + EYE_RINGS[1], 1.6, 1.0),
            (BROWS, 0.25, 0.7),
            (OVAL, 0.5, 0.3),
            (NOSTRILS, 0.1, 0.0),
        ):
            weight[list(ids)], register[list(ids)] = fit_weight, register_weight
        slides[list(OVAL)] = True
    else:
        uv = head.landmarks68_uv
        weight, register, slides = np.full(68, 1.0), np.full(68, 1.0), np.zeros(68, bool)
        weight[:17], weight[17:27], weight[48:] = 0.5, 0.25, 1.2
        register[:17], register[17:27], slides[:17] = 0.3, 0.7, True
    used = np.isfinite(uv).all(1)
    uv = uv[used].astype(np.float64)
    step = 0.004
    beside = tuple(head.basis(uv + d) for d in (np.array([step, 0]), np.array([0, step])))
    return _Anchors(uv, head.basis(uv), beside, weight[used], register[used], slides[used], used)


@lru_cache(maxsize=4)
def _contour(head: HeadModel, dense: bool) -> _Contour:
    """Vertices of the embedded mesh within 0.1 of a sliding anchor, in UV."""
    anchors, mesh = _anchors(head, dense), head.embedded_mesh()
    oval = anchors.uv[anchors.slides]
    gap = np.linalg.norm(mesh.position_uv[:, None] - oval[None], axis=2).min(1)
    keep = gap < 0.10
    number = np.cumsum(keep) - 1
    faces = number[mesh.faces[keep[mesh.faces].all(1)]]
    whole = head.mesh_basis(mesh)
    basis = HeadBasis(whole.mean[keep], whole.identity[:, keep], whole.expression[:, keep])
    return _Contour(mesh.position_uv[keep], basis, faces)


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
    points, dense = landmarks.points, False
    if landmarks.dense is not None and int(np.isfinite(head.landmarks468_uv).all(1).sum()) > 300:
        points, dense = landmarks.dense, True
    anchors = _anchors(head, dense)
    observed = points[anchors.points_used].astype(np.float64)
    solver = _Solver(head, anchors, observed, image_size, focal_px, dense)
    solver.run()
    return solver.result(landmarks)


class _Solver:
    """State of one fit. Parameters: rotation (3, local), translation (3), log focal (1), K + E modes."""

    def __init__(
        self,
        head: HeadModel,
        anchors: _Anchors,
        observed: np.ndarray,
        image_size: tuple[int, int],
        focal_px: float | None,
        dense: bool,
    ) -> None:
        self.head, self.anchors, self.observed, self.dense = head, anchors, observed, dense
        self.height, self.width = image_size
        side = float(max(image_size))
        self.center = np.array([self.width, self.height]) / 2.0
        self.iod_px = float(np.ptp(observed, axis=0).max()) * 0.5
        self.sigma_px = max(_NOISE_IOD * self.iod_px, 0.25)
        self.log_focal_prior = np.log(focal_px if focal_px else FOCAL_PRIOR * side)
        self.log_focal_sigma = 0.05 if focal_px else 0.30
        self.log_focal_range = np.log(np.array(FOCAL_RANGE) * side)
        if focal_px:
            self.log_focal_range = np.log(focal_px) + np.array([-0.2, 0.2])
        self.num_identity, self.num_expression = head.num_identity, head.num_expression
        self.modes = np.zeros(self.num_identity + self.num_expression)
        self.log_focal = float(self.log_focal_prior)
        self.mean = anchors.basis.mean.astype(np.float64).copy()
        self.basis = np.concatenate([anchors.basis.identity, anchors.basis.expression]).astype(
            np.float64
        )
        self.weight = anchors.weight.copy()
        self.active = np.ones(len(observed), bool)
        self._start_pose()
        # the detector's own guess at depth bends the points of a turned head: trust the mean head more
        turn = np.clip(-self.R[2, 2], 0.3, 1.0) ** _TURN_DISTRUST
        self.weight *= np.sqrt(_EFFECTIVE_POINTS * turn / len(observed))

    def _start_pose(self) -> None:
        """PnP of the mean head, without the oval."""
        steady = ~self.anchors.slides
        intrinsics = np.array(
            [
                [np.exp(self.log_focal), 0, self.center[0]],
                [0, np.exp(self.log_focal), self.center[1]],
                [0, 0, 1],
            ]
        )
        ok, turn, shift = cv2.solvePnP(
            self.mean[steady], self.observed[steady], intrinsics, None, flags=cv2.SOLVEPNP_SQPNP
        )  # fmt: skip
        self.R, self.t = cv2.Rodrigues(turn)[0], shift.ravel()
        if not ok or not np.isfinite(self.t).all() or self.t[2] < 0.05:
            raise FitError(_refusal("no camera sees these points as a head"))

    def points(self) -> np.ndarray:
        """Model points (N, 3) in head space."""
        return self.mean + np.tensordot(self.modes, self.basis, 1)

    def camera(self) -> Camera:
        return Camera(
            float(np.exp(self.log_focal)), self.center, self.width, self.height, self.R, self.t
        )

    def _energy(self, residual: np.ndarray) -> float:
        """Negative log posterior: Cauchy data term, priors."""
        squared = (residual**2).sum(1) / (self.sigma_px * _CAUCHY) ** 2
        data = 0.5 * _CAUCHY**2 * (self.weight**2 * self.active * np.log1p(squared)).sum()
        identity, expression = np.split(self.modes, [self.num_identity])
        prior = 0.5 * (identity**2).sum() + 0.5 * ((expression / _EXPRESSION_SIGMA) ** 2).sum()
        prior += np.abs(expression).sum() * _EXPRESSION_SPARSE
        return (
            data
            + prior
            + 0.5 * ((self.log_focal - self.log_focal_prior) / self.log_focal_sigma) ** 2
        )

    def _residual(self) -> np.ndarray:
        return self.camera().project(self.points()) - self.observed

    def _normal_equations(self, residual: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Gauss-Newton Hessian (P, P) and gradient (P,) at the current state."""
        turned = self.points() @ self.R.T
        camera = turned + self.t
        focal, z = np.exp(self.log_focal), camera[:, 2]
        count, modes = len(z), len(self.modes)
        moved = np.zeros((7 + modes, count, 3))
        x, y, w = turned.T
        zero = np.zeros(count)
        moved[0] = np.stack([zero, -w, y], 1)
        moved[1] = np.stack([w, zero, -x], 1)
        moved[2] = np.stack([-y, x, zero], 1)
        moved[3:6] = np.eye(3)[:, None]
        moved[7:] = self.basis @ self.R.T
        plane = camera[:, :2] / z[:, None]
        jacobian = focal / z[:, None] * (moved[..., :2] - plane * moved[..., 2:])
        jacobian[6] = focal * plane
        squared = (residual**2).sum(1) / self.sigma_px**2
        weight = self.weight**2 * self.active / (1 + squared / _CAUCHY**2) / self.sigma_px**2
        flat = jacobian.reshape(7 + modes, -1)
        double = np.repeat(weight, 2)
        hessian = (flat * double) @ flat.T
        gradient = flat @ (double * residual.ravel())
        identity, expression = np.split(self.modes, [self.num_identity])
        hessian[6, 6] += 1 / self.log_focal_sigma**2
        gradient[6] += (self.log_focal - self.log_focal_prior) / self.log_focal_sigma**2
        curve = np.concatenate(
            [np.ones_like(identity), np.full_like(expression, _EXPRESSION_SIGMA**-2)]
        )
        hessian[np.arange(7, 7 + modes), np.arange(7, 7 + modes)] += curve
        gradient[7:] += curve * self.modes
        gradient[7 + self.num_identity :] += _EXPRESSION_SPARSE
        return hessian, gradient

    def _stepped(self, step: np.ndarray) -> tuple:
        """The state after a step, projected onto the bounds."""
        turn = cv2.Rodrigues(step[:3])[0]
        modes = self.modes + step[7:]
        modes[self.num_identity :] = np.clip(modes[self.num_identity :], 0.0, 1.0)
        modes[: self.num_identity] = np.clip(modes[: self.num_identity], -3.5, 3.5)
        log_focal = float(np.clip(self.log_focal + step[6], *self.log_focal_range))
        return turn @ self.R, self.t + step[3:6], log_focal, modes

    def run(self) -> None:
        """Damped Gauss-Newton with bounds; the contour is re-assigned a few times on the way."""
        damping = 1e-2
        residual = self._residual()
        energy = self._energy(residual)
        for iteration in range(_ITERATIONS):
            if iteration in _SLIDE_AT:
                self._slide()
                residual = self._residual()
                energy = self._energy(residual)
            hessian, gradient = self._normal_equations(residual)
            held = np.zeros(len(gradient), bool)
            tail = slice(7 + self.num_identity, None)
            expression = self.modes[self.num_identity :]
            held[tail] = ((expression <= 0) & (gradient[tail] > 0)) | (
                (expression >= 1) & (gradient[tail] < 0)
            )
            free = np.flatnonzero(~held)
            before = self.R, self.t, self.log_focal, self.modes
            for _ in range(6):
                step = np.zeros(len(gradient))
                part = hessian[np.ix_(free, free)]
                step[free] = -np.linalg.solve(
                    part + damping * np.diag(np.diag(part)), gradient[free]
                )
                self.R, self.t, self.log_focal, self.modes = self._stepped(step)
                trial = self._residual()
                new_energy = self._energy(trial)
                if np.isfinite(new_energy) and new_energy < energy and self.t[2] > 0.05:
                    damping = max(damping * 0.3, 1e-6)
                    break
                self.R, self.t, self.log_focal, self.modes = before
                damping *= 8.0
            else:
                if iteration > _SLIDE_AT[-1]:
                    break
                damping = 1e-2
                continue
            done = energy - new_energy < 1e-4 * energy and iteration > _SLIDE_AT[-1]
            residual, energy = trial, new_energy
            if done:
                break

    def facing(self) -> np.ndarray:
        """(N,) cosine between the anchors' normals and the direction to the camera."""
        identity, expression = np.split(self.modes.astype(np.float32), [self.num_identity])
        here = self.anchors.basis.points(identity, expression)
        to_u, to_v = (b.points(identity, expression) - here for b in self.anchors.beside)
        return _cosine(np.cross(to_u, to_v), self.camera().position - here)

    def _slide(self) -> None:
        """Move turned-away oval anchors to the contour vertex nearest to their pixel; drop hidden others."""
        facing = self.facing()
        self.mean = self.anchors.basis.mean.astype(np.float64).copy()
        self.basis[: self.num_identity] = self.anchors.basis.identity
        self.basis[self.num_identity :] = self.anchors.basis.expression
        visible = np.clip((facing + 0.1) / 0.35, 0.0, 1.0)
        slides = self.anchors.slides & (facing < 0.3)
        self.active = np.where(slides, 0.0, np.maximum(visible, 0.02))
        if not slides.any():
            return
        contour = _contour(self.head, self.dense)
        identity, expression = np.split(self.modes.astype(np.float32), [self.num_identity])
        points = contour.basis.points(identity, expression)
        across = np.cross(
            *(points[contour.faces[:, k]] - points[contour.faces[:, 0]] for k in (1, 2))
        )
        normals = np.zeros_like(points)
        for k in range(3):
            np.add.at(normals, contour.faces[:, k], across)
        camera = self.camera()
        grazing = np.abs(_cosine(normals, camera.position - points)) < 0.12
        if not grazing.any():
            return
        ids, pixels = np.flatnonzero(grazing), camera.project(points[grazing])
        for anchor in np.flatnonzero(slides):
            gap_px = np.linalg.norm(pixels - self.observed[anchor], axis=1)
            gap_px = np.where(
                np.linalg.norm(contour.uv[ids] - self.anchors.uv[anchor], axis=1) < 0.12,
                gap_px,
                np.inf,
            )
            best = int(gap_px.argmin())
            if not gap_px[best] < 0.5 * self.iod_px:
                continue
            vertex = ids[best]
            self.mean[anchor] = contour.basis.mean[vertex]
            self.basis[: self.num_identity, anchor] = contour.basis.identity[:, vertex]
            self.basis[self.num_identity :, anchor] = contour.basis.expression[:, vertex]
            self.active[anchor] = 0.7

    def result(self, landmarks: Landmarks) -> HeadFit:
        """Judge the fit; raises FitError."""
        camera, facing = self.camera(), self.facing()
        distance = np.linalg.norm(self._residual(), axis=1)
        steady = ~self.anchors.slides & (facing > 0.15)
        iod_px = landmarks.interocular_px
        identity, expression = np.split(self.modes.astype(np.float32), [self.num_identity])
        eyes = camera.project(
            self.head.basis(self.head.landmarks68_uv[[36, 45]]).points(identity, expression)
        )
        yaw, pitch, _ = camera.yaw_pitch_roll_deg
        # a turned head foreshortens the eye line: measure against the unforeshortened distance
        iod_px = max(iod_px, float(np.linalg.norm(eyes[0] - eyes[1]))) / max(
            np.cos(np.deg2rad(yaw)), 0.3
        )
        residual_px = float(np.median(distance[steady])) if steady.sum() > 10 else float("inf")
        residual_iod = residual_px / max(iod_px, 1e-6)
        if not np.isfinite(residual_iod) or residual_iod > MAX_RESIDUAL_IOD:
            raise FitError(_refusal(f"{residual_iod:.0%}"))
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
        register = self.anchors.register * np.clip((facing - 0.1) / 0.3, 0, 1)
        return HeadFit(
            camera, identity, expression, residual_px, residual_iod, float(confidence), tuple(warnings),
            self.anchors.uv, self.observed, register, self._gaze(landmarks, camera, identity),
        )  # fmt: skip

    def _gaze(
        self, landmarks: Landmarks, camera: Camera, identity: np.ndarray
    ) -> np.ndarray | None:
        """Where the iris centres' rays meet the eyeballs, seen from the eyeballs' centres."""
        if landmarks.iris is None:
            return None
        out = np.zeros((2, 3), np.float32)
        for eye, center in enumerate(self.head.eyes(identity)):
            x, y = (landmarks.iris[5 * eye] - camera.center_px) / camera.focal_px
            ray = camera.R.T @ np.array([x, y, 1.0])
            ray /= np.linalg.norm(ray)
            along = float((center - camera.position) @ ray)
            offset = camera.position + along * ray - center
            depth = np.sqrt(max(self.head.eye_radius_m**2 - float(offset @ offset), 0.0))
            aim = offset - depth * ray
            out[eye] = aim / np.linalg.norm(aim)
        return out


def _cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(N,) cosine between rows of a and b (N, 3)."""
    return (a * b).sum(1) / np.maximum(np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1), 1e-20)


def _refusal(got: str) -> str:
    return (
        f"expected a head within {MAX_RESIDUAL_IOD:.0%} of the interocular distance of the landmarks; got {got}; "
        "take a photo with the face less hidden or less turned"
    )
