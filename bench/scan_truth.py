"""What is true of a scan: its maps, its mask and its mesh, in UV. numpy and core; no bpy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.color import decode_normal
from core.errors import InputError
from core.head_model import HeadModel
from core.images import read_map
from core.passes import PASSES
from core.rerender import head_space_normals, tangent_frames
from core.skin_segment import face_trust
from core.uv_raster import rasterize_uv

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
        return cls(maps, mask[..., 0] > 0.5, _position(folder, size))


def _position(folder: Path, size: int) -> np.ndarray:
    """UV position map of the scan's own mesh, head.obj or the first .obj; texels outside take the nearest value."""
    found = sorted(folder.glob("*.obj"), key=lambda path: path.name != "head.obj")
    if not found:
        raise InputError(f"expected the scan's mesh as .obj in {folder}; got none")
    vertices, uv, faces, uv_faces = read_obj(found[0])
    of_uv = np.zeros(len(uv), np.int64)
    of_uv[uv_faces.ravel()] = faces.ravel()
    raster = rasterize_uv(uv, uv_faces, size)
    return raster.interpolate(vertices[of_uv].astype(np.float32), uv_faces, True)


def read_obj(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Vertices (V, 3), UVs (T, 2), faces (F, 3) into both, of any OBJ with UVs; polygons become fans."""
    rows: dict[str, list] = {"v": [], "vt": [], "f": []}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        kind, *values = line.split() or [""]
        if kind in ("v", "vt"):
            rows[kind].append([float(x) for x in values[:3]])
        elif kind == "f":
            corners = [[int(i or 0) - 1 for i in corner.split("/")[:2]] for corner in values]
            rows["f"] += [(corners[0], *corners[k : k + 2]) for k in range(1, len(corners) - 1)]
    triangles = np.array([f for f in rows["f"] if all(len(c) == 2 for c in f)], np.int32)
    if not len(triangles) or triangles.min() < 0:
        raise InputError(f"expected an OBJ with faces and UVs (f v/vt ...); got {path}")
    uv = np.array([row[:2] for row in rows["vt"]], np.float32)
    return np.array(rows["v"]), uv, triangles[..., 0], triangles[..., 1]


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
