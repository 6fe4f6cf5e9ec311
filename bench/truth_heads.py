"""Heads and photographs of known truth for the fit: people drawn from ICT-FaceKit's own modes, not from ours.

The shipped head keeps 60 rotated modes of ICT-FaceKit's 100; here all 100 are drawn, carried to the shipped mesh by
position and normal from the source itself, so the statistics under test have no part in the truth.
V: vertices of the embedded mesh, K: modes. Metres, +Y up, +Z out of the face; pixels have their origin top-left.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy.interpolate import RBFInterpolator
from scipy.spatial import KDTree

from core.camera import Camera
from core.color import linear_to_srgb, srgb_to_linear
from core.head_model import HeadModel
from core.unwrap import vertex_normals

_SKIN_END, _INSIDE_END = 11248, 14062
"""Vertices of ICT-FaceKit: skin, then mouth cavity and eye sockets (its README)."""
_NORMAL_WEIGHT_M = 0.006
_NEIGHBOURS = 6
_EXPRESSIONS = ("mouthSmileLeft", "mouthSmileRight", "browInnerUpLeft", "browInnerUpRight", "jawOpen",
                "mouthFrownLeft", "mouthFrownRight", "cheekSquintLeft", "cheekSquintRight")  # fmt: skip
_TONES = ((1.0, 1.0, 1.0), (0.72, 0.62, 0.55), (0.45, 0.34, 0.28), (0.22, 0.15, 0.12))
"""Linear gains on a light skin: light, tan, brown, dark."""


@dataclass(frozen=True)
class Subject:
    """One person of known shape: posed (V, 3) and neutral (V, 3) vertices, and which tone the skin has."""

    posed: np.ndarray
    neutral: np.ndarray
    tone: tuple[float, float, float]


@lru_cache(maxsize=2)
def _carried_modes(data: Path) -> np.ndarray:
    """ICT-FaceKit's identity modes (100, V, 3) on the embedded mesh, metres."""
    archive = np.load(data / "ict_facekit" / "ict_facekit.npz")
    marks = json.loads((data / "hifi3d" / "landmarks_ict_facekit.json").read_text())["multipie68"]
    head = HeadModel.load()
    mesh, mean = head.embedded_mesh(), head.mean.astype(np.float64)
    neutral = archive["neutral"].astype(np.float64) * 0.01
    zero = np.zeros(head.num_identity), np.zeros(head.num_expression)
    ours = head.basis(head.landmarks68_uv).points(*zero).astype(np.float64)
    inner = np.arange(17, 68)  # the jaw line's points are not the same places on both
    warp = RBFInterpolator(
        neutral[marks][inner], ours[inner] - neutral[marks][inner], smoothing=1e-7, degree=1
    )
    quads = archive["quads"]
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int64)
    used = neutral[:_INSIDE_END]
    source = used + warp(used)
    normals = vertex_normals(source, triangles[(triangles < _INSIDE_END).all(1)])
    target_normals = vertex_normals(mean, mesh.faces)
    deltas = archive["identity_deltas"][:, :_INSIDE_END].astype(np.float32) * 0.01
    skin = np.zeros(len(mean), bool)
    skin[np.unique(mesh.faces[head._skin_triangles])] = True
    out = np.zeros((len(deltas), len(mean), 3), np.float32)
    for part, start, end in ((skin, 0, _SKIN_END), (~skin, _SKIN_END, _INSIDE_END)):
        oriented = np.concatenate([source, _NORMAL_WEIGHT_M * normals], 1)[start:end]
        query = np.concatenate([mean, _NORMAL_WEIGHT_M * target_normals], 1)[part]
        gap, index = KDTree(oriented).query(query, k=_NEIGHBOURS)
        weight = 1.0 / np.maximum(np.asarray(gap), 1e-4) ** 2
        weight /= weight.sum(1, keepdims=True)
        out[:, part] = np.einsum("vn,kvnd->kvd", weight, deltas[:, np.asarray(index) + start])
    return out


def draw_subject(head: HeadModel, data: Path, index: int, seed: int = 0) -> Subject:
    """Person number ``index``: unit-variance modes, a slight size, a mild expression."""
    rng = np.random.default_rng([seed, index])
    modes = _carried_modes(data)
    shape = head.mean + np.tensordot(rng.normal(size=len(modes)), modes, 1)
    shape = shape * rng.uniform(0.95, 1.05)
    expression = np.zeros(head.num_expression)
    names = [name for name in _EXPRESSIONS if name in head.expression_names]
    for name in rng.choice(names, 3, replace=False):
        expression[head.expression_names.index(name)] = rng.uniform(0.05, 0.4)
    posed = shape + np.tensordot(expression, head.expression, 1)
    return Subject(posed.astype(np.float32), shape.astype(np.float32), _TONES[index % len(_TONES)])


def draw_camera(head: HeadModel, yaw_deg: float, index: int, size: int, seed: int = 0) -> Camera:
    """A portrait camera on the face: 40-75 mm, the head turned by yaw (its sign drawn) and a little pitch."""
    rng = np.random.default_rng([seed, index, 1])
    yaw = np.deg2rad(yaw_deg + rng.uniform(-2, 2)) * rng.choice([-1, 1])
    pitch = np.deg2rad(rng.uniform(-6, 6))
    cos, sin = np.cos([yaw, pitch]), np.sin([yaw, pitch])
    about_y = np.array([[cos[0], 0, sin[0]], [0, 1, 0], [-sin[0], 0, cos[0]]])
    about_x = np.array([[1, 0, 0], [0, cos[1], -sin[1]], [0, sin[1], cos[1]]])
    rotation = np.diag([1.0, -1.0, -1.0]) @ about_x @ about_y
    focal = size * rng.uniform(1.1, 2.0)
    centre = np.array([0.0, head.eye_centers[:, 1].mean() - 0.02, 0.02])
    distance = focal * 0.27 / size
    shift = np.array([rng.uniform(-0.01, 0.01), rng.uniform(-0.01, 0.01), distance])
    middle = np.full(2, size / 2)
    return Camera(focal, middle, size, size, rotation, shift - rotation @ centre)


def toned(texture: np.ndarray, tone: tuple[float, float, float]) -> np.ndarray:
    """Texture (S, S, 3) sRGB [0, 1] with its skin made darker by linear gains; black hair and brows stay black."""
    return linear_to_srgb(srgb_to_linear(texture) * np.asarray(tone)).astype(np.float32)


def aligned_error_m(guess: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(N,) distances in metres of points (N, 3) after the best similarity (Umeyama 1991)."""
    a, b = (x.astype(np.float64) - x.mean(0) for x in (guess, truth))
    u, s, vt = np.linalg.svd(a.T @ b)
    flip = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    scale = np.trace(np.diag(s) @ flip) / (a**2).sum()
    return np.linalg.norm(scale * a @ u @ flip @ vt - b, axis=1)
