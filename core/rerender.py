"""The decomposed head lit again by the photo's own light and drawn over the photo, for the eye to judge.

S: side of the maps, H, W: photo. Colours sRGB-encoded [0, 1] unless said otherwise.
"""

from __future__ import annotations

import cv2
import numpy as np

from .color import linear_to_srgb, srgb_to_linear
from .head_fit import HeadFit
from .head_model import HeadModel
from .raster import rasterize
from .shading import shade_diffuse

MAX_SIDE_PX = 1200


def tangent_frames(position_map: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit tangent (+u), bitangent (+v) and normal, each (S, S, 3), of a UV position map (S, S, 3)."""
    along_u = np.gradient(position_map, axis=1)
    along_v = -np.gradient(position_map, axis=0)
    normal = _unit(np.cross(along_u, along_v))
    tangent = _unit(along_u - (along_u * normal).sum(-1, keepdims=True) * normal)
    return tangent, np.cross(normal, tangent), normal


def head_space_normals(
    normal_map: np.ndarray, geometry: np.ndarray, position_map: np.ndarray
) -> np.ndarray:
    """Tangent-space map (S, S, 3) stored n * 0.5 + 0.5 and smooth normals (S, S, 3) -> unit head-space normals."""
    tangent, _, _ = tangent_frames(position_map)
    tangent = _unit(tangent - (tangent * geometry).sum(-1, keepdims=True) * geometry)
    bitangent = np.cross(geometry, tangent)
    local = normal_map * 2.0 - 1.0
    return _unit(local[..., :1] * tangent + local[..., 1:2] * bitangent + local[..., 2:] * geometry)


def shade_texture(
    albedo: np.ndarray, normals: np.ndarray, ambient_occlusion: np.ndarray, light: np.ndarray
) -> np.ndarray:
    """Albedo (S, S, 3) under an SH light (9, 3), linear: shaded texture (S, S, 3) sRGB-encoded."""
    shaded = shade_diffuse(srgb_to_linear(albedo), normals, ambient_occlusion, light)
    return linear_to_srgb(np.clip(shaded, 0.0, 1.0)).astype(np.float32)


def draw_over_photo(
    photo: np.ndarray, texture: np.ndarray, confidence: np.ndarray, fit: HeadFit, head: HeadModel
) -> np.ndarray:
    """The textured posed head over the photo (H, W, 3) where ``confidence`` (S, S) says it was seen."""
    scale = min(1.0, MAX_SIDE_PX / max(photo.shape[:2]))
    height, width = (max(int(round(side * scale)), 1) for side in photo.shape[:2])
    canvas = cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA)
    mesh = head.embedded_mesh()
    vertices = head.vertices(mesh, fit.identity, fit.expression)
    pixels = fit.camera.project(vertices) * [width / photo.shape[1], height / photo.shape[0]]
    depth = fit.camera.to_camera(vertices)[:, 2]
    raster = rasterize(pixels, depth, mesh.faces, height, width)
    seen = raster.mask
    corners = mesh.uv[mesh.uv_faces[raster.triangle[seen]]]
    uv = (raster.weights[seen][..., None] * corners).sum(1)
    size = texture.shape[0]
    columns, rows = np.zeros((2, height, width), np.float32)
    columns[seen] = uv[:, 0] * size - 0.5
    rows[seen] = (1.0 - uv[:, 1]) * size - 0.5
    color = cv2.remap(texture, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    trust = cv2.remap(confidence.astype(np.float32), columns, rows, cv2.INTER_LINEAR)
    alpha = np.where(seen, np.clip(trust * 2.0, 0, 1), 0).astype(np.float32)
    alpha = cv2.GaussianBlur(cv2.erode(alpha, np.ones((3, 3), np.uint8)), (0, 0), 1.5)[..., None]
    layer = np.where(seen[..., None], color, canvas)
    return canvas * (1 - alpha) + layer * alpha


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
