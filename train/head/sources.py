"""Readers of the two licensed sources: the HiFi3D-layout head (MIT, FFHQ-UV) and ICT-FaceKit (MIT, USC ICT)."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.head_model import HeadMesh, read_head_obj

ICT_SKIN_END = 11248
"""Vertices 0..11247 of ICT-FaceKit are face, head and neck (ICT-FaceKit README)."""
ICT_MOUTH = (11248, 13294)
ICT_SOCKET_LEFT = (13294, 13678)
ICT_SOCKET_RIGHT = (13678, 14062)
ICT_GUMS = (14062, 17039)
ICT_TEETH_UPPER = (17039, 19247)
ICT_TEETH_LOWER = (19247, 21451)
ICT_EYE_LEFT = (21451, 23021)
ICT_EYE_RIGHT = (23021, 24591)


@dataclass(frozen=True)
class IctFaceKit:
    """ICT-FaceKit in metres: neutral (V, 3), triangles (F, 3), modes (K, V, 3), 68 landmark vertex ids."""

    neutral: np.ndarray
    triangles: np.ndarray
    identity: np.ndarray
    expression: np.ndarray
    expression_names: tuple[str, ...]
    landmarks: np.ndarray

    def part(self, start: int, end: int) -> np.ndarray:
        """Triangles whose three corners all lie in the vertex range [start, end)."""
        inside = ((self.triangles >= start) & (self.triangles < end)).all(1)
        return self.triangles[inside]


def read_ict(data: Path) -> IctFaceKit:
    """Read ICT-FaceKit from the data folder (centimetres there, metres here)."""
    archive = np.load(data / "ict_facekit" / "ict_facekit.npz", allow_pickle=True)
    listed = json.loads((data / "ict_facekit" / "vertex_indices.json").read_text())["expressions"]
    names = [str(name) for name in archive["expression_names"]]
    rows = [names.index(name) for name in listed]
    quads = archive["quads"]
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    triangles = triangles[
        (triangles >= 0).all(1)
    ]  # a triangle among the quads has -1 for its fourth corner
    marks = json.loads((data / "hifi3d" / "landmarks_ict_facekit.json").read_text())["multipie68"]
    return IctFaceKit(
        neutral=archive["neutral"].astype(np.float64) * 0.01,
        triangles=triangles.astype(np.int64),
        identity=archive["identity_deltas"].astype(np.float32) * 0.01,
        expression=archive["expression_deltas"][rows].astype(np.float32) * 0.01,
        expression_names=tuple(
            re.sub("_L$", "Left", re.sub("_R$", "Right", name)) for name in listed
        ),
        landmarks=np.asarray(marks, dtype=np.int64),
    )


@dataclass(frozen=True)
class LayoutHead:
    """The HiFi3D-layout head in metres: mesh with vertices (V, 3), landmark ids (68,), mirror permutation (V,)."""

    mesh: HeadMesh
    vertices: np.ndarray
    landmarks: np.ndarray
    mirror: np.ndarray


def read_layout_head(data: Path) -> LayoutHead:
    """Read the HiFi3D-layout OBJ (decimetres there, metres here), its landmarks and its left-right permutation."""
    mesh, vertices = read_head_obj(data / "hifi3d" / "head.obj")
    marks = json.loads((data / "hifi3d" / "landmarks_hifi3d.json").read_text())
    ids = next(value for value in marks.values() if isinstance(value, list) and len(value) == 68)
    mirror = np.load(data / "hifi3d" / "hifi3d_mirror_vertex_perm.npy")
    return LayoutHead(mesh, vertices * 0.1, np.asarray(ids), mirror.astype(np.int64))
