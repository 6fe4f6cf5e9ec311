"""A result folder as arrays: head.obj, the parts and shapes of head.glb, report.json. numpy only, no bpy."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

SURFACE_KEY = "occlusion_roughness_metallic"
"""glTF's packed map of head.glb: red is openness, green roughness, blue 0."""
_DTYPES = {5121: "<u1", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
_SAME_POINT_M = 2e-6
"""head.obj rounds to 0.1 micrometre, head.glb to float32."""


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
class Polygons:
    """A mesh of any polygons: V vertices, L corners, P polygons."""

    vertices: np.ndarray
    """(V, 3)."""
    corners: np.ndarray
    """(L,) vertex ids."""
    uv: np.ndarray
    """(L, 2), v up."""
    starts: np.ndarray
    """(P,) first corner of each polygon."""


@dataclass(frozen=True)
class Part:
    """A mesh beside the head: an eyeball, the teeth."""

    name: str
    mesh: Mesh
    texture_png: bytes
    """Encoded image; empty where the part has one colour."""
    color: tuple[float, ...]
    """Linear RGBA, where there is no texture."""
    roughness: float
    ior: float
    shapes: dict[str, np.ndarray]
    """Expression name -> (V, 3) offsets, metres; may be empty."""


@dataclass(frozen=True)
class Files:
    """Everything of a result but the maps."""

    folder: Path
    report: dict[str, Any]
    head: Mesh
    parts: tuple[Part, ...]
    shapes: dict[str, np.ndarray]
    """Expression name -> (V, 3) offsets of the head, metres; may be empty."""
    surface_png: bytes
    """The image called SURFACE_KEY, encoded."""


_held: list[Files] = []
"""What a thread has read already, for the operator that applies it."""


def hold(files: Files) -> None:
    """Keep one result, read elsewhere, until it is taken."""
    _held[:] = [files]


def take(folder: Path) -> Files:
    """The result of a folder: the one that is held, else read now; ResultProblem as in read()."""
    held = _held.pop() if _held else None
    return held if held is not None and held.folder == folder else read(folder)


def read(folder: Path) -> Files:
    """Read a result folder; ResultProblem when something is missing or damaged."""
    folder = Path(folder)
    try:
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        head = read_obj(folder / "head.obj")
        glb = _Glb((folder / "head.glb").read_bytes())
        parts = tuple(glb.part(name) for name in glb.mesh_names() if name != "head")
        return Files(folder, report, head, parts, _head_shapes(glb, head), glb.image(SURFACE_KEY))
    except (OSError, ValueError, KeyError, IndexError, StopIteration, struct.error) as error:
        raise ResultProblem(
            f"{folder}: expected a whole result; got {' '.join(str(error).split())}; do decompose again"
        ) from None


def read_obj(path: Path) -> Mesh:
    """Triangles of an OBJ with UVs, in the file's own vertex order."""
    rows: dict[str, list[str]] = {"v": [], "vt": [], "f": []}
    for line in path.read_text(encoding="utf-8").splitlines():
        kind, _, rest = line.partition(" ")
        if kind in rows:
            rows[kind].append(rest)
    vertices, uv = _numbers(rows["v"], float), _numbers(rows["vt"], float)
    per_corner = 1 + rows["f"][0].split()[0].count("/")
    corners = _numbers([row.replace("/", " ") for row in rows["f"]], np.int64)
    corners = corners.reshape(-1, 3, per_corner) - 1
    return Mesh(vertices, corners[..., 0].copy(), uv, corners[..., 1].copy())


def write_obj(path: Path, mesh: Polygons) -> None:
    """A mesh as OBJ, whole or not at all, vertex order kept; UVs are written once per vertex and place."""
    places, index = np.unique(np.column_stack([mesh.corners, mesh.uv]), axis=0, return_inverse=True)
    lines = [f"v {x:.7f} {y:.7f} {z:.7f}" for x, y, z in mesh.vertices.tolist()]
    lines += [f"vt {u:.7f} {v:.7f}" for _, u, v in places.tolist()]
    pairs = np.column_stack([mesh.corners, index.reshape(-1)]) + 1
    corners = [f"{vertex}/{place}" for vertex, place in pairs.tolist()]
    bounds = [*mesh.starts.tolist(), len(corners)]
    lines += [f"f {' '.join(corners[a:b])}" for a, b in zip(bounds, bounds[1:])]  # noqa: B905
    partial = path.with_suffix(".part")
    partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
    partial.replace(path)


def _numbers(rows: list[str], kind: Any) -> np.ndarray:
    """(len(rows), N) from as many lines of N numbers."""
    flat = np.array(" ".join(rows).split(), dtype=kind)
    return flat.reshape(len(rows), -1)


def _head_shapes(glb: _Glb, head: Mesh) -> dict[str, np.ndarray]:
    """The head's shapes on head.obj's vertices: glTF splits them where UVs part, in the order of (vertex, UV)."""
    points, shapes = glb.shapes("head")
    if not shapes:
        return {}
    pairs = np.unique(head.faces * len(head.uv) + head.uv_faces)
    rows = pairs // len(head.uv)
    if len(rows) != len(points) or np.abs(head.vertices[rows] - points).max() > _SAME_POINT_M:
        raise ValueError("head.obj and head.glb that differ")
    found = {}
    for name, moved in shapes.items():
        found[name] = np.zeros_like(head.vertices)
        found[name][rows] = moved
    return found


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

    def part(self, name: str) -> Part:
        primitive = self._mesh(name)["primitives"][0]
        attributes = primitive["attributes"]
        vertices = self._array(attributes["POSITION"]).astype(np.float64)
        uv = self._array(attributes["TEXCOORD_0"]).astype(np.float64)
        faces = self._array(primitive["indices"]).reshape(-1, 3).astype(np.int64)
        material = self._json["materials"][primitive["material"]]
        surface = material["pbrMetallicRoughness"]
        picture = b""
        if "baseColorTexture" in surface:
            source = self._json["textures"][surface["baseColorTexture"]["index"]]["source"]
            picture = self._view(self._json["images"][source]["bufferView"])
        return Part(
            name,
            Mesh(vertices, faces, np.stack([uv[:, 0], 1.0 - uv[:, 1]], 1), faces),
            picture,
            tuple(surface.get("baseColorFactor", (1.0, 1.0, 1.0, 1.0))),
            surface.get("roughnessFactor", 1.0),
            material.get("extensions", {}).get("KHR_materials_ior", {}).get("ior", 1.5),
            self.shapes(name)[1],
        )

    def shapes(self, name: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """A mesh's points (M, 3), and its named offsets of them."""
        mesh = self._mesh(name)
        names = mesh.get("extras", {}).get("targetNames", [])
        primitive = mesh["primitives"][0]
        targets = primitive.get("targets", [])
        return self._array(primitive["attributes"]["POSITION"]), {
            key: self._array(target["POSITION"])
            for key, target in zip(names, targets)  # noqa: B905
        }

    def image(self, name: str) -> bytes:
        row = next((row for row in self._json["images"] if row["name"] == name), None)
        if row is None:
            raise ValueError(f"no image {name} in head.glb")
        return self._view(row["bufferView"])

    def _mesh(self, name: str) -> dict[str, Any]:
        return next(row for row in self._json["meshes"] if row["name"] == name)

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
