"""Photos of one person -> one identity, with a camera and an expression for each photo.

The landmarks of a photo are wrong in ways that depend on the pose, so ten photos from the front say little more than
one: each counts by how much its view differs from the others'. Whether photos show the same person is read from their
skin, where brows, lips, folds and moles lie, more than from the fitted shapes, which landmarks alone tell apart badly.
N: photos, L: side of the small textures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.sparse.csgraph import connected_components

from .fit_solver import Solver, minimise
from .head_fit import HeadFit, judge
from .head_model import HeadModel

LOOK_PX = 256
SAME_LOOK = 0.6
"""Correlation of two photos' skin above which they may show one person. Frames of one person's head turn lie at
0.72 to 0.98, 91 pairs of strangers at 0.21 to 0.79 with a median of 0.52."""
_SAME_VIEW_DEG = 25.0
_LOOK_BAND = (1.5, 10.0)
_MIN_COMMON = 200.0
_STRAINED = (1.8, 0.02)
_FACE = np.stack(np.meshgrid(np.linspace(0.28, 0.72, 40), np.linspace(0.30, 0.72, 40)), -1)


@dataclass(frozen=True)
class Look:
    """What is compared of a photo's skin: band-passed log brightness and how well it was seen, both (L, L)."""

    band: np.ndarray
    weight: np.ndarray

    @classmethod
    def of(cls, texture: np.ndarray, visibility: np.ndarray, face: np.ndarray) -> Look:
        """From a texture (L, L, 3) sRGB [0, 1]; face: (L, L) [0, 1]."""
        log = np.log(texture + 0.05).mean(-1).astype(np.float32)
        fine, coarse = (cv2.GaussianBlur(log, (0, 0), sigma) for sigma in _LOOK_BAND)
        return cls(fine - coarse, np.where(visibility > 0.45, visibility * face, 0.0))

    def correlation(self, other: Look) -> float:
        """[-1, 1] over the skin both show; nan where that is too little."""
        weight = self.weight * other.weight
        total = float(weight.sum())
        if total < _MIN_COMMON:
            return float("nan")
        a, b = (x - (x * weight).sum() / total for x in (self.band, other.band))
        scale = np.sqrt((a * a * weight).sum() * (b * b * weight).sum())
        return float((a * b * weight).sum() / max(scale, 1e-12))


@dataclass(frozen=True)
class SamePerson:
    """The joint fit of N photos."""

    fits: tuple[HeadFit, ...]
    """Per photo; all have the same identity."""
    weights: np.ndarray
    """(N,) [0, 1] how far each photo counted for the identity; 0 for one that contradicts the others."""
    distance_mm: np.ndarray
    """(N,) mean distance over the face between the head fitted to a photo alone and the joint one."""
    doubts: tuple[tuple[str, ...], ...]
    """Per photo what speaks against its showing the same person."""


def agreeing(looks: Sequence[Look]) -> tuple[np.ndarray, np.ndarray]:
    """(N,) bool: the photos that agree with one another, directly or by way of others; (N,) best correlation.

    Where photos fall into groups, the group that shows most skin is kept. Photos with too little skin in common are
    not held against each other.
    """
    count = len(looks)
    table = np.full((count, count), np.nan)
    for i in range(count):
        for j in range(i):
            table[i, j] = table[j, i] = looks[i].correlation(looks[j])
    linked = np.isnan(table) | (table >= SAME_LOOK)
    _, group = connected_components(linked, directed=False)
    shown = np.bincount(group, [look.weight.sum() for look in looks])
    best = np.where(np.isnan(table).all(1), 1.0, np.nanmax(np.nan_to_num(table, nan=-1.0), axis=1))
    return group == shown.argmax(), best


def fit_same_person(
    solvers: Sequence[Solver], head: HeadModel, trusted: np.ndarray | None = None
) -> SamePerson:
    """One identity for photos that were fitted alone (``head_fit.fit_alone``); the solvers are taken over.

    trusted: (N,) bool, photos that may shape the identity, all by default. A photo that the joint head explains much
    worse than its own did is left out in a second run; its camera and expression are still fitted.
    """
    trusted = np.ones(len(solvers), bool) if trusted is None else trusted.copy()
    alone = [solver.identity for solver in solvers]
    before = np.array([judge(solver).residual_iod for solver in solvers])
    angles = np.array([solver.camera().yaw_pitch_roll_deg[:2] for solver in solvers])
    fits, weights = _run(solvers, alone, angles, trusted)
    ratio, floor = _STRAINED
    after = np.array([fit.residual_iod for fit in fits])
    strained = trusted & (after > ratio * before) & (after > floor)
    if strained.any() and not (strained | ~trusted).all():
        fits, weights = _run(solvers, alone, angles, trusted & ~strained)
    basis = head.basis(_FACE.reshape(-1, 2))
    joint = basis.mean + np.tensordot(fits[0].identity, basis.identity, 1)
    shapes = [basis.mean + np.tensordot(identity, basis.identity, 1) for identity in alone]
    distance = [aligned_distance_m(shape, joint) * 1000 for shape in shapes]
    doubts = tuple(
        (
            f"the joint head fits this photo badly ({after[k]:.1%} of the interocular distance, alone "
            f"{before[k]:.1%}): another person? It is kept out of the merge",
        )
        if strained[k]
        else ()
        for k in range(len(solvers))
    )
    return SamePerson(fits, weights, np.array(distance), doubts)


def _run(
    solvers: Sequence[Solver], alone: Sequence[np.ndarray], angles: np.ndarray, used: np.ndarray
) -> tuple[tuple[HeadFit, ...], np.ndarray]:
    weights = np.zeros(len(solvers))
    weights[used] = view_weights(angles[used])
    start = np.average(alone, axis=0, weights=weights)
    for solver in solvers:
        solver.identity = start
    minimise(solvers, weights)
    return tuple(judge(solver) for solver in solvers), weights


def view_weights(angles_deg: np.ndarray) -> np.ndarray:
    """(N,) one over the number of photos that share a view; angles: (N, 2) yaw and pitch."""
    gap = np.linalg.norm(angles_deg[:, None] - angles_deg[None], axis=-1)
    return 1.0 / np.exp(-((gap / _SAME_VIEW_DEG) ** 2)).sum(1)


def aligned_distance_m(guess: np.ndarray, truth: np.ndarray) -> float:
    """Mean distance in metres of points (N, 3) after the best similarity (Umeyama 1991)."""
    a, b = (x.astype(np.float64) - x.mean(0) for x in (guess, truth))
    u, s, vt = np.linalg.svd(a.T @ b)
    flip = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    scale = np.trace(np.diag(s) @ flip) / (a**2).sum()
    return float(np.linalg.norm(scale * a @ u @ flip @ vt - b, axis=1).mean())
