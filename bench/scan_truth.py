"""What is true of a scan: its maps, its mask and its mesh, in UV. numpy and core; no bpy."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.color import decode_normal
from core.errors import InputError
from core.head_model import HEAD_FILE, HeadModel, read_head_obj
from core.images import read_map
from core.passes import PASSES
from core.rerender import head_space_normals, tangent_frames
from core.skin_segment import face_trust
from core.uv_raster import rasterize_uv

from .cache import file_hash
from .evaluation import Maps, as_channels, resized
from .metrics import eroded, normal_angle_deg


@dataclass(frozen=True)
class Scan:
    """Truth of one scan, maps of side S."""

    maps: Maps
    """Pass key -> (S, S, C) float32 as stored; passes without a file are missing."""
    mask: np.ndarray
    """(S, S) bool: the face, where figures are taken."""
    position: np.ndarray
    """(S, S, 3) the true mesh in UV, in its own unit and place."""

    @classmethod
    def read(cls, folder: Path, head: HeadModel, size: int) -> Scan:
        """Maps, ``mask.png`` (else the face of the layout) and the mesh of a scan folder. InputError without."""
        found = {
            r.key: folder / r.dataset_file for r in PASSES if (folder / r.dataset_file).is_file()
        }
        if "albedo" not in found:
            raise InputError(f"expected diffuse.png in {folder}; got none; do add the scan's maps")
        maps = resized({key: read_map(path) for key, path in found.items()}, size)
        maps = {key: as_channels(x, key) for key, x in maps.items()}
        own = folder / "mask.png"
        mask = resized({"": read_map(own) if own.is_file() else face_trust(head, size)}, size)[""]
        return cls(maps, mask[..., 0] > 0.5, _position(folder, head, size))


def _position(folder: Path, head: HeadModel, size: int) -> np.ndarray:
    """UV position map of the scan's mesh: from its coefficients, else from its HiFi3D OBJ."""
    meta = folder / "meta.json"
    known = json.loads(meta.read_text(encoding="utf-8")) if meta.is_file() else {}
    if "identity" in known:
        if known.get("head", file_hash(HEAD_FILE)) != file_hash(HEAD_FILE):
            raise InputError(
                f"expected scans of this head model; got {folder.name} of another; do make the scans again"
            )
        identity, expression = (np.array(known[k], np.float32) for k in ("identity", "expression"))
        return head.position_map(identity, expression, size)
    found = sorted(folder.glob("*.obj"))
    if not found:
        raise InputError(
            f"expected meta.json with coefficients or an .obj in {folder}; got neither"
        )
    mesh, vertices = read_head_obj(found[0])
    of_uv = np.zeros(len(mesh.uv), np.int64)
    of_uv[mesh.uv_faces.ravel()] = mesh.faces.ravel()
    raster = rasterize_uv(mesh.uv, mesh.uv_faces, size)
    return raster.interpolate(vertices[of_uv].astype(np.float32), mesh.uv_faces, True)


def similarity(source: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Scale s, rotation R, shift t minimising |s R source + t - target|, points (N, 3) (Umeyama 1991)."""
    a, b = source - source.mean(0), target - target.mean(0)
    u, values, vt = np.linalg.svd(b.T @ a)
    sign = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = u @ sign @ vt
    scale = float((values * np.diag(sign)).sum() / (a**2).sum())
    return scale, rotation, target.mean(0) - scale * rotation @ source.mean(0)


def object_normals(
    scan: Scan, normal: np.ndarray, position: np.ndarray, head: HeadModel
) -> tuple[dict[str, Any], dict[str, float]]:
    """Head-space normals against the true ones, and the shape's error, after the best similarity.

    normal: (S, S, 3) predicted tangent map as stored; position: (S, S, 3) the fitted head, metres. Returns
    row -> angles, and {"distance_mm"}: mean distance between the surfaces at one UV, on the mask.
    """
    size = len(normal)
    inner = eroded(scan.mask, 2)  # where neighbours, which frames are made from, are skin too
    scale, rotation, shift = similarity(scan.position[inner].astype(np.float64), position[inner])
    true_position = (scale * scan.position @ rotation.T + shift).astype(np.float32)
    flat = np.broadcast_to(np.float32((0.5, 0.5, 1.0)), normal.shape)
    true = _in_space(scan.maps.get("normal", flat), true_position)
    zero = np.zeros(head.num_identity), np.zeros(head.num_expression)
    candidates = {
        "model": _in_space(normal, position),
        "fitted head, flat normal": _in_space(flat, position),
        "mean head, flat normal": _in_space(flat, head.position_map(*zero, size)),
    }
    rows = {
        row: {f"normal_angle_deg.{k}": v for k, v in normal_angle_deg(x, true, inner).items()}
        for row, x in candidates.items()
    }
    distance = np.linalg.norm(position - true_position, axis=2)[inner].mean() * 1000
    return rows, {"distance_mm": float(distance)}


def _in_space(stored: np.ndarray, position: np.ndarray) -> np.ndarray:
    normals = head_space_normals(stored, tangent_frames(position)[2], position)
    return decode_normal(normals.astype(np.float64) * 0.5 + 0.5)
