"""The fitted head as files: OBJ (vertex order kept) and GLB (glTF 2.0, maps and eyes wired).

Vertices are metres, +Y up, +Z out of the face, which is glTF's own space. V vertices, T UV points,
F triangles of a :class:`core.head_model.HeadMesh`; UV have v up here and v down in glTF.

How the passes become a glTF material (textures 8-bit PNG, embedded):

===================  ============================================================================
albedo               baseColorTexture (sRGB)
normal               normalTexture (tangent space, +Y up, which is glTF's convention too)
ambient_occlusion    occlusionTexture (red channel; shared with roughness)
roughness            metallicRoughnessTexture (green; blue = metallic = 0); given as ``roughness``
                     in the maps, else the regional one of :func:`core.shading.skin_roughness`
specular             KHR_materials_specular: specularTexture (alpha) with specularColorFactor 2, so
                     that F0 = 2 s F0(ior): s = 0.5 is exactly the IOR, as Blender's Specular IOR
                     Level has it. KHR_materials_ior says 1.4 (skin), F0 = 0.028
translucency         not in glTF's core (no subsurface there): stays a file beside the GLB
===================  ============================================================================
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from .errors import OutputError
from .shading import SKIN_IOR, skin_roughness

if TYPE_CHECKING:
    from .head_model import HeadMesh

_FLOAT, _UINT16, _UINT32 = 5126, 5123, 5125
_ARRAY_BUFFER, _ELEMENT_BUFFER = 34962, 34963
_SPARSE_THRESHOLD_M = 1e-6
"""Expression offsets shorter than this are left out of the sparse morph targets."""


@dataclass(frozen=True)
class Part:
    """A separate mesh beside the head, for instance an eyeball or a row of teeth."""

    name: str
    vertices: np.ndarray
    """(V, 3) metres, head space."""
    faces: np.ndarray
    """(F, 3) vertex ids, counter-clockwise seen from outside."""
    uv: np.ndarray
    """(T, 2), v up."""
    uv_faces: np.ndarray | None = None
    """(F, 3) UV ids; None where UV and vertices share ids."""
    base_color: np.ndarray | tuple[float, float, float] = (0.85, 0.82, 0.80)
    """(H, W, 3) float [0, 1], sRGB-encoded, or one such colour."""
    roughness: float = 0.08
    ior: float = SKIN_IOR
    shapes: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Expression name -> (V, 3) offsets in metres, on ``vertices`` at rest."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Expression name -> how far its shape is in, [0, 1], for every name in ``shapes``."""


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Smooth unit normals (V, 3) float32: triangle normals averaged by their angle at the vertex.

    Vertices no triangle uses get +Z.
    """
    corners = np.asarray(vertices, np.float64)[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-20)
    total = np.zeros((len(vertices), 3))
    for k in range(3):
        a = corners[:, (k + 1) % 3] - corners[:, k]
        b = corners[:, (k + 2) % 3] - corners[:, k]
        angle = np.arctan2(np.linalg.norm(np.cross(a, b), axis=1), (a * b).sum(1))
        for axis in range(3):
            total[:, axis] += np.bincount(
                faces[:, k], angle * normal[:, axis], minlength=len(vertices)
            )
    length = np.linalg.norm(total, axis=1, keepdims=True)
    unit = np.where(length > 1e-12, total / np.maximum(length, 1e-12), (0.0, 0.0, 1.0))
    return unit.astype(np.float32)


def vertex_tangents(
    vertices: np.ndarray, normals: np.ndarray, uv: np.ndarray, faces: np.ndarray
) -> np.ndarray:
    """Unit tangents with handedness (V, 4) float32 for vertices already split at UV seams.

    xyz runs along +u; cross(normal, xyz) * w runs along +v (up in the image), as the normal pass
    and glTF have it. Vertices whose triangles have no extent in UV get any direction of the surface.
    """
    corners, where = vertices[faces], uv[faces]
    edge1, edge2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    du, dv = where[:, 1] - where[:, 0], where[:, 2] - where[:, 0]
    area = du[:, 0] * dv[:, 1] - du[:, 1] * dv[:, 0]
    sign = np.where(area < 0, -1.0, 1.0)[:, None]
    along_u = (edge1 * dv[:, 1:] - edge2 * du[:, 1:]) * sign
    along_v = (edge2 * du[:, :1] - edge1 * dv[:, :1]) * sign

    def gather(values: np.ndarray) -> np.ndarray:
        total = np.zeros((len(vertices), 3))
        for k in range(3):
            for axis in range(3):
                total[:, axis] += np.bincount(faces[:, k], values[:, axis], minlength=len(vertices))
        return total

    tangent, bitangent = gather(along_u), gather(along_v)
    tangent -= (tangent * normals).sum(1, keepdims=True) * normals
    length = np.linalg.norm(tangent, axis=1, keepdims=True)
    other = np.cross(np.where(np.abs(normals[:, 1:2]) < 0.9, (0.0, 1.0, 0.0), (1.0, 0, 0)), normals)
    other /= np.maximum(np.linalg.norm(other, axis=1, keepdims=True), 1e-20)
    tangent = np.where(length > 1e-20, tangent / np.maximum(length, 1e-20), other)
    hand = np.where((np.cross(normals, tangent) * bitangent).sum(1) < 0, -1.0, 1.0)
    return np.column_stack([tangent, hand]).astype(np.float32)


def write_obj(
    path: str | Path,
    mesh: HeadMesh,
    vertices: np.ndarray,
    normals: np.ndarray | None = None,
    texture: str | None = None,
) -> None:
    """Write ``vertices`` (V, 3) with the mesh's faces and per-corner UVs, in the mesh's own order.

    ``normals`` (V, 3) are written per vertex where given. With ``texture`` (a path relative to the
    OBJ) a ``.mtl`` of the same stem is written too, so viewers show it. OutputError where the file
    cannot be written.
    """
    path = Path(path)
    vertices = _checked_vertices(mesh, vertices)
    lines = ["# FacePBR head: metres, +Y up, +Z out of the face"]
    if texture is not None:
        lines.append(f"mtllib {path.stem}.mtl")
    lines.append("o head")
    lines += [f"v {x:.7f} {y:.7f} {z:.7f}" for x, y, z in vertices.tolist()]
    lines += [f"vt {u:.6f} {v:.6f}" for u, v in np.asarray(mesh.uv, np.float64).tolist()]
    if normals is not None:
        lines += [f"vn {x:.5f} {y:.5f} {z:.5f}" for x, y, z in np.asarray(normals).tolist()]
    if texture is not None:
        lines.append("usemtl skin")
    lines.append("s 1")
    pairs = np.stack([mesh.faces, mesh.uv_faces], axis=-1).astype(np.int64) + 1
    for corners in pairs.tolist():
        if normals is None:
            lines.append("f " + " ".join(f"{v}/{t}" for v, t in corners))
        else:
            lines.append("f " + " ".join(f"{v}/{t}/{v}" for v, t in corners))
    _write(path, ("\n".join(lines) + "\n").encode())
    if texture is not None:
        material = f"newmtl skin\nKd 1 1 1\nKs 0.04 0.04 0.04\nNs 60\nmap_Kd {texture}\n"
        _write(path.with_suffix(".mtl"), material.encode())


def write_glb(
    path: str | Path,
    mesh: HeadMesh,
    vertices: np.ndarray,
    maps: Mapping[str, np.ndarray],
    eyes: Sequence[Part] = (),
    expression_shapes: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Write the head, its maps and its eyes as one glTF 2.0 binary.

    ``vertices`` (V, 3) metres; ``maps`` pass key -> (S, S[, C]) float [0, 1] as stored (colours
    sRGB-encoded), any of them missing or of different sizes; ``eyes`` further parts, their shapes at
    their weights; ``expression_shapes`` name -> (V, 3) offsets in metres, written as sparse morph
    targets at weight 0, since ``vertices`` are posed. The head is split at UV seams, with normals
    smoothed before the split, so no seam shows. OutputError where the file cannot be written.
    """
    vertices = _checked_vertices(mesh, vertices)
    glb = _Glb()
    shapes = {} if expression_shapes is None else dict(expression_shapes)
    children = [
        glb.add_mesh(
            "head",
            vertices,
            mesh.faces,
            mesh.uv,
            mesh.uv_faces,
            glb.skin_material(maps),
            shapes,
            dict.fromkeys(shapes, 0.0),
        )
    ]
    for part in eyes:
        uv_faces = part.faces if part.uv_faces is None else part.uv_faces
        material = glb.plain_material(part)
        children.append(
            glb.add_mesh(
                part.name,
                part.vertices,
                part.faces,
                part.uv,
                uv_faces,
                material,
                part.shapes,
                part.weights,
            )
        )
    _write(Path(path), glb.encode("FacePBR", children))


def _checked_vertices(mesh: HeadMesh, vertices: np.ndarray) -> np.ndarray:
    vertices = np.asarray(vertices, np.float64)
    if vertices.shape != (mesh.num_vertices, 3):
        raise ValueError(f"expected vertices ({mesh.num_vertices}, 3); got {vertices.shape}")
    if not np.isfinite(vertices).all():
        raise ValueError("expected finite vertices; got NaN or infinity")
    return vertices


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise OutputError(
            f"{path}: expected to write here; got {error.strerror}; do choose another folder"
        ) from None


def _bytes8(values: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(np.nan_to_num(values), 0.0, 1.0) * 255.0).astype(np.uint8)


def _plane(values: np.ndarray) -> np.ndarray:
    """(H, W), (H, W, 1) or (H, W, 3) -> (H, W); three channels are averaged."""
    values = np.asarray(values, np.float32)
    return values if values.ndim == 2 else values.mean(axis=-1)


class _Glb:
    """The growing JSON and binary chunk of one file."""

    def __init__(self) -> None:
        self._binary = bytearray()
        self._json: dict[str, Any] = {
            key: []
            for key in (
                "nodes", "meshes", "materials", "textures", "images", "accessors", "bufferViews"
            )
        }  # fmt: skip
        self._extensions: set[str] = set()

    # --- buffers ---

    def _view(self, data: bytes, target: int | None = None) -> int:
        self._binary += b"\0" * (-len(self._binary) % 4)
        view: dict[str, Any] = {
            "buffer": 0, "byteOffset": len(self._binary), "byteLength": len(data)
        }  # fmt: skip
        if target is not None:
            view["target"] = target
        self._binary += data
        return self._append("bufferViews", view)

    def _append(self, key: str, value: dict[str, Any]) -> int:
        self._json[key].append(value)
        return len(self._json[key]) - 1

    def _vectors(self, values: np.ndarray, bounds: bool = False) -> int:
        values = np.ascontiguousarray(values, dtype="<f4")
        accessor: dict[str, Any] = {
            "bufferView": self._view(values.tobytes(), _ARRAY_BUFFER),
            "componentType": _FLOAT,
            "count": len(values),
            "type": f"VEC{values.shape[1]}",
        }
        if bounds:
            accessor["min"] = values.min(0).tolist()
            accessor["max"] = values.max(0).tolist()
        return self._append("accessors", accessor)

    def _sparse_offsets(self, offsets: np.ndarray) -> int:
        offsets = np.asarray(offsets, dtype="<f4")
        moved = np.flatnonzero(np.abs(offsets).max(1) > _SPARSE_THRESHOLD_M)
        accessor: dict[str, Any] = {"componentType": _FLOAT, "count": len(offsets), "type": "VEC3"}
        kept = offsets[moved]
        low, high = (kept.min(0), kept.max(0)) if len(moved) else (np.zeros(3), np.zeros(3))
        if 0 < len(moved) < len(offsets):
            low, high = np.minimum(low, 0.0), np.maximum(high, 0.0)
        accessor["min"], accessor["max"] = low.tolist(), high.tolist()
        if len(moved):
            accessor["sparse"] = {
                "count": len(moved),
                "indices": {
                    "bufferView": self._view(moved.astype("<u4").tobytes()),
                    "componentType": _UINT32,
                },
                "values": {"bufferView": self._view(np.ascontiguousarray(kept).tobytes())},
            }
        return self._append("accessors", accessor)

    # --- meshes ---

    def add_mesh(
        self,
        name: str,
        vertices: np.ndarray,
        faces: np.ndarray,
        uv: np.ndarray,
        uv_faces: np.ndarray,
        material: int,
        shapes: Mapping[str, np.ndarray],
        weights: Mapping[str, float],
    ) -> int:
        """One node with one mesh of one primitive, shapes at their weights; returns the node's index."""
        key = faces.astype(np.int64) * len(uv) + uv_faces.astype(np.int64)
        unique, indices = np.unique(key, return_inverse=True)
        of_vertex, of_uv = unique // len(uv), unique % len(uv)
        wide = len(unique) > 65535
        flat_uv = np.asarray(uv, np.float64)[of_uv]
        split = np.asarray(vertices, np.float64)[of_vertex]
        normals = vertex_normals(vertices, faces)[of_vertex]
        index_data = indices.reshape(-1).astype("<u4" if wide else "<u2")
        index_accessor = {
            "bufferView": self._view(index_data.tobytes(), _ELEMENT_BUFFER),
            "componentType": _UINT32 if wide else _UINT16,
            "count": index_data.size,
            "type": "SCALAR",
        }
        primitive: dict[str, Any] = {
            "indices": self._append("accessors", index_accessor),
            "attributes": {
                "POSITION": self._vectors(split, bounds=True),
                "NORMAL": self._vectors(normals),
                "TEXCOORD_0": self._vectors(np.stack([flat_uv[:, 0], 1.0 - flat_uv[:, 1]], 1)),
            },
            "material": material,
            "mode": 4,
        }
        if "normalTexture" in self._json["materials"][material]:
            tangents = vertex_tangents(split, normals, flat_uv, indices.reshape(-1, 3))
            primitive["attributes"]["TANGENT"] = self._vectors(tangents)
        entry: dict[str, Any] = {"name": name, "primitives": [primitive]}
        if shapes:
            primitive["targets"] = [
                {"POSITION": self._sparse_offsets(np.asarray(offsets)[of_vertex])}
                for offsets in shapes.values()
            ]
            entry["weights"] = [float(weights[key]) for key in shapes]
            entry["extras"] = {"targetNames": list(shapes)}
        return self._append("nodes", {"name": name, "mesh": self._append("meshes", entry)})

    # --- materials ---

    def _texture(self, name: str, pixels: np.ndarray) -> dict[str, int]:
        """uint8 (H, W, 3) RGB or (H, W, 4) RGBA -> {"index": texture}."""
        order = [2, 1, 0, 3][: pixels.shape[2]]
        done, png = cv2.imencode(
            ".png", np.ascontiguousarray(pixels[..., order]), [cv2.IMWRITE_PNG_COMPRESSION, 4]
        )
        if not done:
            raise OutputError(f"expected to encode texture {name}; the encoder failed")
        image = {"name": name, "mimeType": "image/png", "bufferView": self._view(png.tobytes())}
        source = self._append("images", image)
        return {"index": self._append("textures", {"sampler": 0, "source": source, "name": name})}

    def skin_material(self, maps: Mapping[str, np.ndarray]) -> int:
        """The passes as the module's table says; returns the material's index."""
        metallic_roughness: dict[str, Any] = {"metallicFactor": 0.0}
        material: dict[str, Any] = {"name": "skin", "pbrMetallicRoughness": metallic_roughness}
        if "albedo" in maps:
            metallic_roughness["baseColorTexture"] = self._texture(
                "albedo", _bytes8(np.asarray(maps["albedo"]))
            )
        if "normal" in maps:
            material["normalTexture"] = self._texture("normal", _bytes8(np.asarray(maps["normal"])))
        specular = _plane(maps["specular"]) if "specular" in maps else None
        if "roughness" in maps:
            roughness = _plane(maps["roughness"])
        else:
            size = 512 if specular is None else specular.shape[0]
            roughness = skin_roughness(size, specular)
        occlusion = np.ones_like(roughness)
        if "ambient_occlusion" in maps:
            height, width = roughness.shape
            occlusion = cv2.resize(_plane(maps["ambient_occlusion"]), (width, height))
        packed = self._texture(
            "occlusion_roughness_metallic",
            _bytes8(np.stack([occlusion, roughness, np.zeros_like(roughness)], axis=-1)),
        )
        metallic_roughness["metallicRoughnessTexture"] = packed
        metallic_roughness["metallicFactor"] = 1.0  # times blue = 0; importers keep the texture
        if "ambient_occlusion" in maps:
            material["occlusionTexture"] = dict(packed)
        extensions: dict[str, Any] = {"KHR_materials_ior": {"ior": SKIN_IOR}}
        material["extensions"] = extensions
        self._extensions.add("KHR_materials_ior")
        if specular is not None:
            grey = _bytes8(specular)
            extensions["KHR_materials_specular"] = {
                "specularTexture": self._texture("specular", np.stack([grey] * 4, axis=-1)),
                "specularColorFactor": [2.0, 2.0, 2.0],
            }
            self._extensions.add("KHR_materials_specular")
        return self._append("materials", material)

    def plain_material(self, part: Part) -> int:
        """A smooth dielectric, for instance an eye; returns the material's index."""
        surface: dict[str, Any] = {"metallicFactor": 0.0, "roughnessFactor": part.roughness}
        if isinstance(part.base_color, tuple):
            encoded = np.asarray(part.base_color, np.float64)
            linear = np.where(
                encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4
            )
            surface["baseColorFactor"] = [*linear.tolist(), 1.0]
        else:
            surface["baseColorTexture"] = self._texture(part.name, _bytes8(part.base_color))
        self._extensions.add("KHR_materials_ior")
        return self._append(
            "materials",
            {
                "name": part.name,
                "pbrMetallicRoughness": surface,
                "extensions": {"KHR_materials_ior": {"ior": part.ior}},
            },
        )

    # --- the file ---

    def encode(self, name: str, children: list[int]) -> bytes:
        """Whole .glb: header, JSON chunk, binary chunk, each padded to 4 bytes."""
        root = self._append("nodes", {"name": name, "children": children})
        self._binary += b"\0" * (-len(self._binary) % 4)
        content: dict[str, Any] = {
            "asset": {"version": "2.0", "generator": "FacePBR"},
            "scene": 0,
            "scenes": [{"name": name, "nodes": [root]}],
            "samplers": [{"magFilter": 9729, "minFilter": 9987, "wrapS": 33071, "wrapT": 33071}],
            "buffers": [{"byteLength": len(self._binary)}],
            "extensionsUsed": sorted(self._extensions),
        }
        content |= {key: value for key, value in self._json.items() if value}
        text = json.dumps(content, separators=(",", ":"), allow_nan=False).encode()
        text += b" " * (-len(text) % 4)
        total = 12 + 8 + len(text) + 8 + len(self._binary)
        header = struct.pack("<4sII", b"glTF", 2, total)
        chunk = struct.pack("<I4s", len(text), b"JSON") + text
        return (
            header + chunk + struct.pack("<I4s", len(self._binary), b"BIN\0") + bytes(self._binary)
        )
