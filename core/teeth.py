"""The inside of the mouth: two rows of teeth on their gums, moved by identity and the jaw, and a wet lining.

The head file holds each row as a grid (U columns along the arch, W rows from the outer gum over the cutting edge to
the inner gum) and, per mode, an affine map: jaws are rigid, so a mode moves a point x by map @ (x, 1).
"""

from __future__ import annotations

import cv2
import numpy as np

from .color import linear_to_srgb, srgb_to_linear
from .export import Part
from .head_model import HeadModel

_ENAMEL_SRGB = (0.80, 0.75, 0.66)
_GUM_SRGB = (0.58, 0.32, 0.31)
_LINING_SRGB = (0.40, 0.17, 0.16)
_ROUGHNESS = 0.22
_TEXELS_PER_CELL = 6
_STILL_M = 1e-5


def build_teeth(head: HeadModel, identity: np.ndarray, expression: np.ndarray) -> list[Part]:
    """Upper and lower row, head space, metres, at rest; shapes and weights carry the jaw's expressions.

    identity (K,), expression (E,).
    """
    rows = []
    for jaw, name in enumerate(("teeth_upper", "teeth_lower")):
        grid = head.teeth[jaw].reshape(-1, 3)
        person = np.tensordot(identity.astype(np.float32), head.teeth_identity[:, jaw], 1)
        rest = grid + _moved(person, grid)
        shapes = {
            key: offsets
            for key, moves in zip(head.expression_names, head.teeth_expression[:, jaw], strict=True)
            if np.abs(offsets := _moved(moves, rest)).max() > _STILL_M
        }
        weights = dict(zip(head.expression_names, expression.tolist(), strict=True))
        faces, uv = _grid_mesh(*head.teeth.shape[1:3])
        if jaw == 1:  # its gum is below: the upper row seen in a mirror
            faces = faces[:, ::-1]
        rows.append(
            Part(
                name,
                rest.astype(np.float32),
                faces,
                uv,
                base_color=teeth_texture(head.teeth_gum[jaw]),
                roughness=_ROUGHNESS,
                shapes=shapes,
                weights={key: weights[key] for key in shapes},
            )
        )
    return rows


def line_mouth(albedo: np.ndarray, head: HeadModel) -> np.ndarray:
    """Albedo (S, S, 3) sRGB [0, 1] with the mouth cavity's islands, which no photo shows, in the red of its lining."""
    mask = head.mouth_mask(albedo.shape[0]).astype(np.uint8)
    margin = cv2.dilate(mask, np.ones((5, 5), np.uint8)) > 0
    inside = margin & ~head.skin_mask(albedo.shape[0])
    return np.where(inside[..., None], np.float32(_LINING_SRGB), albedo)


def posed(part: Part) -> np.ndarray:
    """Vertices (V, 3) of a part with its shapes at their weights."""
    moved = [part.weights[key] * offsets for key, offsets in part.shapes.items()]
    return part.vertices + np.sum(moved, axis=0, dtype=np.float32) if moved else part.vertices


def teeth_texture(gum: np.ndarray) -> np.ndarray:
    """(U, W) gum share [0, 1] -> (6 W, 6 U, 3) sRGB [0, 1]: enamel, gum, a soft line between them."""
    columns, rows = gum.shape
    size = (columns * _TEXELS_PER_CELL, rows * _TEXELS_PER_CELL)
    share = cv2.resize(gum.T.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    share = cv2.GaussianBlur(share, (0, 0), 0.5 * _TEXELS_PER_CELL)
    share = np.clip((share - 0.35) / 0.3, 0, 1)[..., None]
    enamel, pink = (srgb_to_linear(np.asarray(c, np.float32)) for c in (_ENAMEL_SRGB, _GUM_SRGB))
    return linear_to_srgb(enamel * (1 - share) + pink * share).astype(np.float32)


def _moved(maps: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Offsets (N, 3) that an affine map (3, 4) gives points (N, 3)."""
    return points @ maps[:, :3].T + maps[:, 3]


def _grid_mesh(columns: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Triangles (F, 3) facing outwards and UVs (U W, 2) of a grid numbered row by row within a column."""
    ids = np.arange(columns * rows).reshape(columns, rows)
    a, b, c, d = ids[:-1, :-1], ids[:-1, 1:], ids[1:, 1:], ids[1:, :-1]
    faces = np.concatenate([np.stack([a, b, c], -1), np.stack([a, c, d], -1)]).reshape(-1, 3)
    u, v = np.meshgrid(
        (np.arange(columns) + 0.5) / columns, 1 - (np.arange(rows) + 0.5) / rows, indexing="ij"
    )
    return faces.astype(np.int32), np.stack([u, v], -1).reshape(-1, 2).astype(np.float32)
