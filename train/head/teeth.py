"""Upper and lower teeth of our own mesh: a grid along each dental arch, laid on ICT-FaceKit's teeth and gums.

Each grid column runs from the outer gum over the cutting edge to the inner gum, around a line inside the arch that
stands on end; only where rays meet the source is read. Jaws are rigid: a mode moves each by an affine map.
J = 2: upper, lower; U: columns along the arch; W: rows around it; K: modes. Metres, head space.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import trimesh
from scipy.interpolate import make_smoothing_spline

from .sources import ICT_GUMS, ICT_TEETH_LOWER, ICT_TEETH_UPPER, IctFaceKit

COLUMNS = 240
_CORE_M = 0.0045
"""Height of the inner line's foot behind the cutting edges: below it rays fan out, above it they run level."""
_OUTER_M, _INNER_M = 0.014, 0.008
"""How far the inner line reaches up the outer and the inner gum."""
_LEVEL_ROWS, _FAN_ROWS, _INNER_ROWS = 12, 15, 5
_REACH_M = (0.0005, 0.009)
_ROLL_ROOM_M = (0.0, 0.0015, -0.0025)
"""The upper row gives way to an upper lip rolled in over it, which would cut through it."""


@dataclass(frozen=True)
class Teeth:
    """points (J, U, W, 3) float32; gum (J, U, W) [0, 1]; affine maps of modes (K, J, 3, 4) float32."""

    points: np.ndarray
    gum: np.ndarray
    identity: np.ndarray
    expression: np.ndarray


def build_teeth(ict: IctFaceKit) -> Teeth:
    """Sample both jaws of the ICT neutral and fit the jaws' affine maps."""
    points, gum, identity, expression = [], [], [], []
    for part, up in ((ICT_TEETH_UPPER, 1.0), (ICT_TEETH_LOWER, -1.0)):
        surface, is_gum = _sample_jaw(ict, part, up)
        points.append(surface)
        gum.append(is_gum)
        rest = ict.neutral[slice(*part)]
        identity.append(_affine(rest, ict.identity[:, slice(*part)]))
        expression.append(_affine(rest, ict.expression[:, slice(*part)]))
    expression[0][ict.expression_names.index("mouthRollUpper"), :, 3] = _ROLL_ROOM_M
    return Teeth(
        np.stack(points).astype(np.float32),
        np.stack(gum).astype(np.float16),
        np.stack(identity, 1).astype(np.float32),
        np.stack(expression, 1).astype(np.float32),
    )


def _affine(rest: np.ndarray, deltas: np.ndarray) -> np.ndarray:
    """Least-squares maps (K, 3, 4) with deltas (K, N, 3) = map @ (rest (N, 3), 1); 0 for modes that hardly move it."""
    system = np.column_stack([rest, np.ones(len(rest))])
    inverse = np.linalg.pinv(system)
    maps = np.einsum("in,knd->kdi", inverse, deltas)
    still = np.abs(np.median(deltas, axis=1)).max(1) < 1e-6
    return np.where(still[:, None, None], 0.0, maps)


def _sample_jaw(ict: IctFaceKit, part: tuple[int, int], up: float) -> tuple[np.ndarray, np.ndarray]:
    """Grid (U, W, 3) on the jaw's outside and whether each point lies on gum (U, W); up: +1 where gums are above."""
    core, out = _arch(ict.neutral[slice(*part)], up)
    foot = np.zeros(_FAN_ROWS)
    rise = np.concatenate(
        [np.linspace(_OUTER_M, 0.0, _LEVEL_ROWS + 1)[:-1], foot]
        + [np.linspace(0.0, _INNER_M, _INNER_ROWS + 1)[1:]]
    )
    angle = np.concatenate(
        [np.zeros(_LEVEL_ROWS), np.linspace(0.0, -np.pi, _FAN_ROWS), np.full(_INNER_ROWS, -np.pi)]
    )
    vertical = np.array([0.0, up, 0.0])
    base = core[:, None] + rise[None, :, None] * vertical
    direction = (
        np.cos(angle)[None, :, None] * out[:, None] + np.sin(angle)[None, :, None] * vertical
    )
    start = np.where(np.cos(angle) > -0.2, 0.015, 0.0055)[None, :, None]
    rays = direction.reshape(-1, 3).astype(np.float64)
    teeth, gums = ict.part(*part), ict.part(*ICT_GUMS)
    opens = ict.expression[ict.expression_names.index("jawOpen")]
    hangs = np.abs(opens[gums]).max((1, 2)) > 1e-4
    gums = gums[hangs == (up < 0)]
    mesh = trimesh.Trimesh(ict.neutral, np.concatenate([teeth, gums]), process=False)
    place, ray, triangle = mesh.ray.intersects_location(
        (base + start * direction).reshape(-1, 3), -rays, multiple_hits=False
    )
    reach = np.full(len(rays), _REACH_M[0])
    reach[ray] = ((place - base.reshape(-1, 3)[ray]) * rays[ray]).sum(1)
    is_gum = np.zeros(len(rays))
    is_gum[ray] = triangle >= len(teeth)
    reach = np.clip(reach, *_REACH_M).reshape(base.shape[:2])
    return base + reach[..., None] * direction, is_gum.reshape(base.shape[:2])


def _arch(teeth: np.ndarray, up: float) -> tuple[np.ndarray, np.ndarray]:
    """Points inside the arch (U, 3), the subject's right (-x) first, and unit outward directions (U, 3), level."""
    edge = (up * teeth[:, 1]).min()
    crown = teeth[up * teeth[:, 1] < edge + 0.007 + 0.003 * (teeth[:, 2] < 0.085)]
    crown = np.concatenate([crown, crown * [-1, 1, 1]])
    centre = crown[:, 2].min()
    turn = np.arctan2(crown[:, 0], crown[:, 2] - centre)
    radius = np.hypot(crown[:, 0], crown[:, 2] - centre)
    bins = np.linspace(-np.pi / 2, np.pi / 2, 41)
    middle, at = [], []
    for low, high in zip(bins[:-1], bins[1:], strict=True):
        inside = (turn >= low) & (turn < high)
        if inside.sum() > 5:
            height = up * (np.quantile(up * crown[inside, 1], 0.02) + _CORE_M)
            r, angle = (radius[inside].min() + radius[inside].max()) / 2, (low + high) / 2
            middle.append([r * np.sin(angle), height, centre + r * np.cos(angle)])
            at.append(angle)
    curve = [make_smoothing_spline(at, [m[k] for m in middle], lam=3e-4) for k in range(3)]
    fine = np.linspace(at[0], at[-1], 2000)
    line = np.stack([c(fine) for c in curve], 1)
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    marks = np.interp(np.linspace(0, along[-1], COLUMNS), along, fine)
    core = np.stack([c(marks) for c in curve], 1)
    tangent = np.stack([c(marks, 1) for c in curve], 1) * [1, 0, 1]
    out = np.cross(tangent, [0.0, 1.0, 0.0]) * [1, 0, 1]
    out *= np.sign((out * (core - [0, 0, centre])).sum(1))[:, None]
    return core, out / np.linalg.norm(out, axis=1, keepdims=True)
