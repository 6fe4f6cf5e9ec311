"""The equations of the head fit: projected points of the statistical head against landmarks, for one or many photos.

Maximum a posteriori by Levenberg-Marquardt with an analytic Jacobian: perspective camera, identity with a
unit-variance Gaussian prior, expression in [0, 1] with a sparse prior, Cauchy weights against outliers. Points
of the face oval that turn away slide along the occluding contour (Cao et al., "Displaced dynamic expression
regression", SIGGRAPH 2014). Photos of one person share the identity; each has its own camera and expression, which the
Schur complement eliminates, so the work grows with the number of photos and not with its cube.
N: points, K: identity modes, E: expression modes, V: vertices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from .camera import Camera
from .errors import FitError
from .facemesh import BROWS, EYE_RINGS, LIP_RINGS, NOSE, NOSTRILS, OVAL
from .head_model import HeadBasis, HeadModel
from .landmarks import Landmarks

FOCAL_PRIOR = 1.4
"""Focal length over the longer image side where EXIF says nothing: about 50 mm on full frame."""
FOCAL_RANGE = (0.8, 4.0)
MAX_RESIDUAL_IOD = 0.10
"""A fit whose median landmark residual exceeds this share of the interocular distance is refused."""

_NOISE_IOD = 0.012
_CAUCHY = 2.0
_EFFECTIVE_POINTS = 120.0
_TURN_DISTRUST = 8.0
_EXPRESSION_SIGMA = 0.25
_EXPRESSION_SPARSE = 0.8
_MAX_SIGMA = 3.5
_ITERATIONS = 24
_SLIDE_AT = (4, 9, 14)
_LOCAL = 7
"""Camera parameters: rotation (3, local), translation (3), log focal (1); the E expression modes follow."""


@dataclass(frozen=True)
class Anchors:
    """The model at the landmarks: basis at the points and one small step to u and v (for normals)."""

    uv: np.ndarray
    basis: HeadBasis
    beside: tuple[HeadBasis, HeadBasis]
    weight: np.ndarray
    register: np.ndarray
    slides: np.ndarray
    points_used: np.ndarray


@dataclass(frozen=True)
class Contour:
    """Mesh vertices that may become the occluding contour: ids, basis, and local triangles for normals."""

    uv: np.ndarray
    basis: HeadBasis
    faces: np.ndarray


@lru_cache(maxsize=4)
def anchors_of(head: HeadModel, dense: bool) -> Anchors:
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
    return Anchors(uv, head.basis(uv), beside, weight[used], register[used], slides[used], used)


@lru_cache(maxsize=4)
def _contour_of(head: HeadModel, dense: bool) -> Contour:
    """Vertices of the embedded mesh within 0.1 of a sliding anchor, in UV."""
    anchors, mesh = anchors_of(head, dense), head.embedded_mesh()
    oval = anchors.uv[anchors.slides]
    gap = np.linalg.norm(mesh.position_uv[:, None] - oval[None], axis=2).min(1)
    keep = gap < 0.10
    number = np.cumsum(keep) - 1
    faces = number[mesh.faces[keep[mesh.faces].all(1)]]
    whole = head.mesh_basis(mesh)
    basis = HeadBasis(whole.mean[keep], whole.identity[:, keep], whole.expression[:, keep])
    return Contour(mesh.position_uv[keep], basis, faces)


class Solver:
    """State of one photo's fit: camera (rotation, translation, log focal), identity (K,), expression (E,).

    Raises FitError where no camera sees the mean head in the points.
    """

    def __init__(
        self,
        landmarks: Landmarks,
        image_size: tuple[int, int],
        head: HeadModel,
        focal_px: float | None,
    ) -> None:
        points, self.dense = landmarks.points, False
        placed = int(np.isfinite(head.landmarks468_uv).all(1).sum())
        if landmarks.dense is not None and placed > 300:
            points, self.dense = landmarks.dense, True
        self.head, self.landmarks = head, landmarks
        self.anchors = anchors_of(head, self.dense)
        self.observed = points[self.anchors.points_used].astype(np.float64)
        self.height, self.width = image_size
        side = float(max(image_size))
        self.center = np.array([self.width, self.height]) / 2.0
        self.iod_px = float(np.ptp(self.observed, axis=0).max()) * 0.5
        self.sigma_px = max(_NOISE_IOD * self.iod_px, 0.25)
        self.log_focal_prior = np.log(focal_px if focal_px else FOCAL_PRIOR * side)
        self.log_focal_sigma = 0.05 if focal_px else 0.30
        self.log_focal_range = np.log(np.array(FOCAL_RANGE) * side)
        if focal_px:
            self.log_focal_range = np.log(focal_px) + np.array([-0.2, 0.2])
        self.identity = np.zeros(head.num_identity)
        self.expression = np.zeros(head.num_expression)
        self.log_focal = float(self.log_focal_prior)
        self.weight = self.anchors.weight.copy()
        self.active = np.ones(len(self.observed), bool)
        self._take_basis()
        self._start_pose()
        # the detector's own guess at depth bends the points of a turned head: trust the mean head more
        turn = np.clip(-self.R[2, 2], 0.3, 1.0) ** _TURN_DISTRUST
        self.weight *= np.sqrt(_EFFECTIVE_POINTS * turn / len(self.observed))

    def _take_basis(self) -> None:
        """The model at the anchors, each where it lies on the head."""
        basis = self.anchors.basis
        self.mean = basis.mean.astype(np.float64)
        self.to_identity, self.to_expression = (
            np.array(modes, np.float64, order="C") for modes in (basis.identity, basis.expression)
        )

    def _start_pose(self) -> None:
        """PnP of the mean head, without the oval."""
        steady = ~self.anchors.slides
        focal = np.exp(self.log_focal)
        intrinsics = np.array([[focal, 0, self.center[0]], [0, focal, self.center[1]], [0, 0, 1]])
        ok, turn, shift = cv2.solvePnP(
            self.mean[steady], self.observed[steady], intrinsics, None, flags=cv2.SOLVEPNP_SQPNP
        )  # fmt: skip
        self.R, self.t = cv2.Rodrigues(turn)[0], shift.ravel()
        if not ok or not np.isfinite(self.t).all() or self.t[2] < 0.05:
            raise FitError(refusal("no camera sees these points as a head"))

    def points(self) -> np.ndarray:
        """Model points (N, 3) in head space."""
        moved = np.tensordot(self.identity, self.to_identity, 1)
        return self.mean + moved + np.tensordot(self.expression, self.to_expression, 1)

    def camera(self) -> Camera:
        return Camera(
            float(np.exp(self.log_focal)), self.center, self.width, self.height, self.R, self.t
        )

    def residual(self) -> np.ndarray:
        """(N, 2) pixels, model minus detector."""
        return self.camera().project(self.points()) - self.observed

    def energy(self, residual: np.ndarray) -> float:
        """Negative log posterior without the identity's prior: Cauchy data term, priors of what is the photo's own."""
        if not np.isfinite(residual).all() or self.t[2] < 0.05:
            return float("inf")
        squared = (residual**2).sum(1) / (self.sigma_px * _CAUCHY) ** 2
        data = 0.5 * _CAUCHY**2 * (self.weight**2 * self.active * np.log1p(squared)).sum()
        prior = 0.5 * ((self.expression / _EXPRESSION_SIGMA) ** 2).sum()
        prior += np.abs(self.expression).sum() * _EXPRESSION_SPARSE
        focal = (self.log_focal - self.log_focal_prior) / self.log_focal_sigma
        return float(data + prior + 0.5 * focal**2)

    def normal_equations(self, residual: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Gauss-Newton Hessian (P, P) and gradient (P,) of ``energy``; P: camera, expression, identity."""
        turned = self.points() @ self.R.T
        camera = turned + self.t
        focal, z = np.exp(self.log_focal), camera[:, 2]
        local = _LOCAL + len(self.expression)
        moved = np.zeros((local + len(self.identity), len(z), 3))
        x, y, w = turned.T
        zero = np.zeros(len(z))
        moved[0] = np.stack([zero, -w, y], 1)
        moved[1] = np.stack([w, zero, -x], 1)
        moved[2] = np.stack([-y, x, zero], 1)
        moved[3:6] = np.eye(3)[:, None]
        moved[_LOCAL:local] = self.to_expression @ self.R.T
        moved[local:] = self.to_identity @ self.R.T
        plane = camera[:, :2] / z[:, None]
        jacobian = focal / z[:, None] * (moved[..., :2] - plane * moved[..., 2:])
        jacobian[6] = focal * plane
        squared = (residual**2).sum(1) / self.sigma_px**2
        weight = self.weight**2 * self.active / (1 + squared / _CAUCHY**2) / self.sigma_px**2
        flat = jacobian.reshape(len(moved), -1)
        double = np.repeat(weight, 2)
        hessian = (flat * double) @ flat.T
        gradient = flat @ (double * residual.ravel())
        hessian[6, 6] += 1 / self.log_focal_sigma**2
        gradient[6] += (self.log_focal - self.log_focal_prior) / self.log_focal_sigma**2
        own = np.arange(_LOCAL, local)
        hessian[own, own] += _EXPRESSION_SIGMA**-2
        gradient[own] += self.expression * _EXPRESSION_SIGMA**-2 + _EXPRESSION_SPARSE
        return hessian, gradient

    def free(self, gradient: np.ndarray) -> np.ndarray:
        """Indices of the photo's own parameters that no bound holds back against the gradient."""
        slope = gradient[_LOCAL : _LOCAL + len(self.expression)]
        held = ((self.expression <= 0) & (slope > 0)) | ((self.expression >= 1) & (slope < 0))
        return np.flatnonzero(np.concatenate([np.ones(_LOCAL, bool), ~held]))

    def state(self) -> tuple:
        return self.R, self.t, self.log_focal, self.expression, self.identity

    def restore(self, state: tuple) -> None:
        self.R, self.t, self.log_focal, self.expression, self.identity = state

    def step(self, own: np.ndarray, identity: np.ndarray) -> None:
        """Move by a step of the photo's own parameters and take an identity; projected onto the bounds."""
        self.R = cv2.Rodrigues(own[:3])[0] @ self.R
        self.t = self.t + own[3:6]
        self.log_focal = float(np.clip(self.log_focal + own[6], *self.log_focal_range))
        self.expression = np.clip(self.expression + own[_LOCAL:], 0.0, 1.0)
        self.identity = identity

    def facing(self) -> np.ndarray:
        """(N,) cosine between the anchors' normals and the direction to the camera."""
        identity, expression = self.identity, self.expression
        here = self.anchors.basis.points(identity, expression)
        to_u, to_v = (b.points(identity, expression) - here for b in self.anchors.beside)
        return _cosine(np.cross(to_u, to_v), self.camera().position - here)

    def slide(self) -> None:
        """Move turned-away oval anchors to the contour vertex nearest to their pixel; drop hidden others."""
        facing = self.facing()
        self._take_basis()
        visible = np.clip((facing + 0.1) / 0.35, 0.0, 1.0)
        slides = self.anchors.slides & (facing < 0.3)
        self.active = np.where(slides, 0.0, np.maximum(visible, 0.02))
        if not slides.any():
            return
        contour = _contour_of(self.head, self.dense)
        points = contour.basis.points(self.identity, self.expression)
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
            self.to_identity[:, anchor] = contour.basis.identity[:, vertex]
            self.to_expression[:, anchor] = contour.basis.expression[:, vertex]
            self.active[anchor] = 0.7


def _cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(N,) cosine between rows of a and b (N, 3)."""
    return (a * b).sum(1) / np.maximum(np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1), 1e-20)


def refusal(got: str) -> str:
    return (
        f"expected a head within {MAX_RESIDUAL_IOD:.0%} of the interocular distance of the landmarks; got {got}; "
        "take a photo with the face less hidden or less turned"
    )


def minimise(solvers: Sequence[Solver], weights: Sequence[float] | None = None) -> None:
    """Fit photos that share one identity by damped Gauss-Newton with bounds; contours slide a few times on the way.

    weights: how far each photo's landmarks count for the identity, default 1; 0 leaves it to the others.
    The solvers are left at the solution; all hold the same identity.
    """
    share = np.ones(len(solvers)) if weights is None else np.maximum(weights, 1e-3)
    identity = solvers[0].identity

    def total(residuals: list[np.ndarray]) -> float:
        own = sum(w * s.energy(r) for w, s, r in zip(share, solvers, residuals, strict=True))
        return float(own + 0.5 * (solvers[0].identity ** 2).sum())

    residuals = [solver.residual() for solver in solvers]
    energy, damping = total(residuals), 1e-2
    for iteration in range(_ITERATIONS):
        if iteration in _SLIDE_AT:
            for solver in solvers:
                solver.slide()
            residuals = [solver.residual() for solver in solvers]
            energy = total(residuals)
        equations = [s.normal_equations(r) for s, r in zip(solvers, residuals, strict=True)]
        before = [solver.state() for solver in solvers]
        for _ in range(6):
            shift, own = _solve(solvers, equations, share, identity, damping)
            trial_identity = np.clip(identity + shift, -_MAX_SIGMA, _MAX_SIGMA)
            for solver, step in zip(solvers, own, strict=True):
                solver.step(step, trial_identity)
            trial = [solver.residual() for solver in solvers]
            new_energy = total(trial)
            if new_energy < energy:
                damping = max(damping * 0.3, 1e-6)
                break
            for solver, state in zip(solvers, before, strict=True):
                solver.restore(state)
            damping *= 8.0
        else:
            if iteration > _SLIDE_AT[-1]:
                break
            damping = 1e-2
            continue
        done = energy - new_energy < 1e-4 * energy and iteration > _SLIDE_AT[-1]
        residuals, energy, identity = trial, new_energy, trial_identity
        if done:
            break


def _solve(
    solvers: Sequence[Solver],
    equations: list[tuple[np.ndarray, np.ndarray]],
    share: np.ndarray,
    identity: np.ndarray,
    damping: float,
) -> tuple[np.ndarray, list[np.ndarray]]:
    """One damped step: of the identity (K,) and of each photo's own parameters, by the Schur complement."""
    count = len(identity)
    hessian, gradient = np.eye(count), identity.copy()
    parts = []
    for solver, (matrix, slope), weight in zip(solvers, equations, share, strict=True):
        free = solver.free(slope)
        own, cross = matrix[np.ix_(free, free)], matrix[free][:, -count:]
        own = own + damping * np.diag(np.diag(own))
        solved = np.linalg.solve(own, np.column_stack([cross, slope[free]]))
        hessian += weight * (matrix[-count:, -count:] - cross.T @ solved[:, :-1])
        hessian[np.diag_indices(count)] += damping * weight * np.diag(matrix)[-count:]
        gradient += weight * (slope[-count:] - cross.T @ solved[:, -1])
        parts.append((free, solved))
    hessian[np.diag_indices(count)] += damping
    shift = -np.linalg.solve(hessian, gradient)
    steps = []
    for solver, (free, solved) in zip(solvers, parts, strict=True):
        step = np.zeros(_LOCAL + len(solver.expression))
        step[free] = -solved[:, -1] - solved[:, :-1] @ shift
        steps.append(step)
    return shift, steps
