"""A result folder as arrays: head.obj, the eyes and shapes of head.glb, report.json. numpy only, no bpy."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_DTYPES = {5121: "<u1", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}


class ResultProblem(Exception):
    """The folder is not a whole result; one line."""


@dataclass(frozen=True)
class Mesh:
    """V vertices, T UV points, F triangles; head space (metres, +Y up, +Z out of the face)."""

    vertices: np.ndarray
    """(V, 3) float64."""
    faces: np.ndarray
    """(F, 3) vertex ids."""
    uv: np.ndarray
    """(T, 2), v up."""
    uv_faces: np.ndarray
    """(F, 3) UV ids."""


@dataclass(frozen=True)
class Eye:
    """An eyeball with its picture."""

    name: str
    mesh: Mesh
    texture_png: bytes
    """Encoded image; empty where the eye has none."""
    roughness: float
    ior: float


@dataclass(frozen=True)
class Files:
    """Everything of a result but the maps."""

    folder: Path
    report: dict[str, Any]
    head: Mesh
    eyes: tuple[Eye, ...]
    shapes: dict[str, tuple[np.ndarray, np.ndarray]]
    """Expression name -> points (M, 3) of the head and their offsets (M, 3), metres; may be empty."""


def read(folder: Path) -> Files:
    """Read a result folder; ResultProblem when something is missing or damaged."""
    folder = Path(folder)
    try:
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        head = read_obj(folder / "head.obj")
        glb = _Glb((folder / "head.glb").read_bytes())
        eyes = tuple(glb.eye(name) for name in glb.mesh_names() if name.startswith("eye_"))
        return Files(folder, report, head, eyes, glb.shapes("head"))
    except (OSError, ValueError, KeyError, IndexError, struct.error) as error:
        raise ResultProblem(
            f"{folder}: expected a whole result; got {' '.join(str(error).split())}; do decompose again"
        ) from None


def read_obj(path: Path) -> Mesh:
    """Triangles of an OBJ with UVs, in the file's own vertex order."""
    vertices, uv, corners = [], [], []
    for line in path.read_text(encoding="utf-8").splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "v":
            vertices.append(rest.split()[:3])
        elif kind == "vt":
            uv.append(rest.split()[:2])
        elif kind == "f":
            corners.append([corner.split("/")[:2] for corner in rest.split()])
    indices = np.array(corners, np.int64) - 1
    return Mesh(
        np.array(vertices, np.float64),
        np.ascontiguousarray(indices[..., 0]),
        np.array(uv, np.float64),
        np.ascontiguousarray(indices[..., 1]),
    )


class _Glb:
    """The parts of glTF 2.0 binary that core/export.py writes."""

    def __init__(self, data: bytes) -> None:
        if data[:4] != b"glTF":
            raise ValueError("expected a glTF binary")
        length = struct.unpack_from("<I", data, 12)[0]
        self._json = json.loads(data[20 : 20 + length])
        self._binary = data[20 + length + 8 :]

    def mesh_names(self) -> list[str]:
        return [mesh["name"] for mesh in self._json["meshes"]]

    def eye(self, name: str) -> Eye:
        primitive = self._primitive(name)
        attributes = primitive["attributes"]
        uv = self._array(attributes["TEXCOORD_0"]).astype(np.float64)
        faces = self._array(primitive["indices"]).reshape(-1, 3).astype(np.int64)
        vertices = self._array(attributes["POSITION"]).astype(np.float64)
        mesh = Mesh(vertices, faces, np.stack([uv[:, 0], 1.0 - uv[:, 1]], 1), faces)
        material = self._json["materials"][primitive["material"]]
        surface = material["pbrMetallicRoughness"]
        picture = b""
        if "baseColorTexture" in surface:
            texture = self._json["textures"][surface["baseColorTexture"]["index"]]
            picture = self._view(self._json["images"][texture["source"]]["bufferView"])
        ior = material.get("extensions", {}).get("KHR_materials_ior", {}).get("ior", 1.4)
        return Eye(name, mesh, picture, surface.get("roughnessFactor", 0.1), ior)

    def shapes(self, name: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        mesh = next(row for row in self._json["meshes"] if row["name"] == name)
        names = mesh.get("extras", {}).get("targetNames", [])
        primitive = mesh["primitives"][0]
        points = self._array(primitive["attributes"]["POSITION"])
        targets = primitive.get("targets", [])
        return {
            key: (points, self._array(target["POSITION"]))
            for key, target in zip(names, targets)  # noqa: B905
        }

    def _primitive(self, name: str) -> dict[str, Any]:
        mesh = next(row for row in self._json["meshes"] if row["name"] == name)
        return mesh["primitives"][0]

    def _view(self, index: int) -> bytes:
        view = self._json["bufferViews"][index]
        start = view.get("byteOffset", 0)
        return self._binary[start : start + view["byteLength"]]

    def _array(self, index: int) -> np.ndarray:
        accessor = self._json["accessors"][index]
        dtype, width = _DTYPES[accessor["componentType"]], _WIDTHS[accessor["type"]]
        if "bufferView" in accessor:
            values = np.frombuffer(self._view(accessor["bufferView"]), dtype).reshape(-1, width)
        else:
            values = np.zeros((accessor["count"], width), dtype)
        if "sparse" in accessor:
            sparse = accessor["sparse"]
            where = sparse["indices"]
            rows = np.frombuffer(self._view(where["bufferView"]), _DTYPES[where["componentType"]])
            values = values.copy()
            found = np.frombuffer(self._view(sparse["values"]["bufferView"]), dtype)
            values[rows] = found.reshape(-1, width)
        return values
