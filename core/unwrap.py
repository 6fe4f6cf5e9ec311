"""Photo + fit -> texture in the UV layout: sampling, soft visibility, skin mask, registration, completion.

S: map size, N: landmarks, V: vertices, F: triangles. Photos and textures are float32, sRGB-encoded [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from scipy.interpolate import RBFInterpolator

from .camera import Camera
from .completion import complete
from .facemesh import EYE_RINGS, LIP_RINGS
from .head_fit import HeadFit
from .head_model import HeadModel
from .raster import Raster, rasterize
from .skin_segment import face_polygon, face_trust, fill_uv_polygon, segment_skin

_DEPTH_BUFFER_PX = 520
_OCCLUSION_BIAS_M = 0.005
_COSINE_RANGE = (0.12, 0.42)
_REGISTER_LIMIT_IOD = 0.08
_REGISTER_GRID = 96
_REGISTER_BOX = (0.16, 0.14, 0.84, 0.82)


@dataclass(frozen=True)
class UVTexture:
    """A photo unwrapped to the UV layout."""

    texture: np.ndarray
    """(S, S, 3) completed texture, sRGB-encoded [0, 1]."""
    visibility: np.ndarray
    """(S, S) [0, 1]: seen by the camera, squarely and unhidden, and skin."""
    confidence: np.ndarray
    """(S, S) [0, 1]: 1 seen and trusted, 0 invented."""
    normals: np.ndarray
    """(S, S, 3) unit geometric normals of the posed head, head space."""
    position: np.ndarray
    """(S, S, 3) posed head, metres, head space."""
    density: np.ndarray | None = None
    """(S, S) photo pixels per texel side: below 1 the photo is coarser than the texture; None for a UV texture."""


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Area-weighted unit normals (V, 3) of vertices (V, 3), faces (F, 3)."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    across = np.cross(b - a, c - a)
    normals = np.zeros((len(vertices), 3))
    for axis in range(3):
        for k in range(3):
            normals[:, axis] += np.bincount(faces[:, k], across[:, axis], len(vertices))
    return (normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-20)).astype(
        np.float32
    )


@dataclass(frozen=True)
class DepthBuffer:
    """Z-buffer of the posed head over its bounding box: px = (pixel - origin_px) * scale."""

    raster: Raster
    origin_px: np.ndarray
    scale: float

    @classmethod
    def of(cls, vertices: np.ndarray, faces: np.ndarray, camera: Camera) -> DepthBuffer:
        """Rasterise the posed head; its longer side covers _DEPTH_BUFFER_PX."""
        pixels, depth = camera.project(vertices), camera.to_camera(vertices)[:, 2]
        low, high = pixels.min(0) - 2, pixels.max(0) + 2
        scale = _DEPTH_BUFFER_PX / float((high - low).max())
        width, height = np.ceil((high - low) * scale).astype(int)
        return cls(rasterize((pixels - low) * scale, depth, faces, height, width), low, scale)

    def lookup(self, image: np.ndarray, pixels: np.ndarray, outside: float = 0.0) -> np.ndarray:
        """Nearest value of an (h, w) map of this buffer at photo pixels (H, W, 2)."""
        xy = ((pixels - self.origin_px) * self.scale - 0.5).astype(np.float32)
        return cv2.remap(
            image, xy[..., 0], xy[..., 1], cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=outside
        )  # fmt: skip


def angle_visibility(position: np.ndarray, normals: np.ndarray, camera: Camera) -> np.ndarray:
    """(S, S) smooth step of the cosine between the normal and the direction to the camera."""
    to_camera = camera.position.astype(np.float32) - position
    cosine = (normals * to_camera).sum(-1) / np.maximum(np.linalg.norm(to_camera, axis=-1), 1e-9)
    low, high = _COSINE_RANGE
    ramp = np.clip((cosine - low) / (high - low), 0, 1)
    return (ramp * ramp * (3 - 2 * ramp)).astype(np.float32)


@dataclass(frozen=True)
class Geometry:
    """A posed head in UV as a camera sees it, before anything is known of skin."""

    position: np.ndarray
    """(S, S, 3) posed head, metres, head space."""
    normals: np.ndarray
    """(S, S, 3) unit geometric normals, head space."""
    pixels: np.ndarray
    """(S, S, 2) float32 where each texel projects to."""
    visibility: np.ndarray
    """(S, S) [0, 1]: faces the camera and nothing of the head lies between; 0 outside the layout."""

    @classmethod
    def of(cls, vertices: np.ndarray, camera: Camera, head: HeadModel, size: int) -> Geometry:
        """Of posed vertices (V, 3) of the embedded mesh, on maps of ``size`` texels a side."""
        mesh, layout = head.embedded_mesh(), head.skin_mask(size)
        both = np.concatenate([vertices, vertex_normals(vertices, mesh.faces)], 1)
        maps = head.vertex_map(both, size, fill=False)
        position, normals = np.ascontiguousarray(maps[..., :3]), maps[..., 3:]
        normals = normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-9)
        buffer = DepthBuffer.of(vertices, mesh.faces, camera)
        in_camera = position.reshape(-1, 3) @ camera.R.T.astype(np.float32)
        in_camera = in_camera + camera.t.astype(np.float32)
        in_camera = np.where(layout.reshape(-1, 1), in_camera, [0, 0, 1]).reshape(size, size, 3)
        depth = in_camera[..., 2]
        plane = camera.focal_px * in_camera[..., :2] / depth[..., None]
        pixels = (plane + camera.center_px).astype(np.float32)
        nearest = buffer.lookup(buffer.raster.depth, pixels, outside=1e9)
        open_sky = (depth <= nearest + _OCCLUSION_BIAS_M).astype(np.float32)
        open_sky = cv2.erode(open_sky, np.ones((3, 3), np.uint8))
        visibility = angle_visibility(position, normals, camera) * open_sky * layout
        return cls(position, normals.astype(np.float32), pixels, visibility.astype(np.float32))


def visibility_reference(
    points: np.ndarray,
    vertices: np.ndarray,
    faces: np.ndarray,
    eye: np.ndarray,
    bias_m: float = _OCCLUSION_BIAS_M,
) -> np.ndarray:
    """The slow twin of the z-buffer test: (N,) bool, no triangle crosses the segment from a point to the eye.

    points: (N, 3), eye: (3,) head space. Moeller & Trumbore's test, every point against every triangle.
    """
    out = np.ones(len(points), bool)
    a, b, c = (vertices[faces[:, k]].astype(np.float64) for k in range(3))
    edge1, edge2 = b - a, c - a
    for index, point in enumerate(points):
        ray = eye - point
        length = np.linalg.norm(ray)
        ray = ray / length
        cross = np.cross(ray, edge2)
        determinant = (edge1 * cross).sum(1)
        safe = np.where(np.abs(determinant) < 1e-15, np.nan, determinant)
        to_point = point - a
        u = (to_point * cross).sum(1) / safe
        other = np.cross(to_point, edge1)
        v = (other @ ray) / safe
        along = (edge2 * other).sum(1) / safe
        hit = (u >= 0) & (v >= 0) & (u + v <= 1) & (along > bias_m) & (along < length)
        out[index] = not hit.any()
    return out


@lru_cache(maxsize=4)
def _register_matrix(uv_bytes: bytes, grid: int) -> np.ndarray:
    """(grid * grid, N) thin-plate weights from landmark residuals to a UV grid over _REGISTER_BOX."""
    uv = np.frombuffer(uv_bytes, np.float64).reshape(-1, 2)
    left, bottom, right, top = _REGISTER_BOX
    u, v = np.meshgrid(np.linspace(left, right, grid), np.linspace(top, bottom, grid))
    where = np.stack([u.ravel(), v.ravel()], 1)
    spline = RBFInterpolator(
        uv * 10, np.eye(len(uv)), kernel="thin_plate_spline", smoothing=0.02, degree=1
    )  # fmt: skip
    weights = spline(where * 10)
    gap = np.sqrt(((where[:, None] - uv[None]) ** 2).sum(-1).min(1))
    edge = np.minimum.reduce(
        [where[:, 0] - left, right - where[:, 0], where[:, 1] - bottom, top - where[:, 1]]
    )
    fade = np.clip(1 - (gap - 0.03) / 0.06, 0, 1) * np.clip(edge / 0.04, 0, 1)
    return (weights * fade[:, None]).astype(np.float32)


def registration_warp(fit: HeadFit, head: HeadModel, size: int) -> np.ndarray:
    """(S, S, 2) pixels to add to each texel's projection so that the landmarks land on their texels."""
    points = head.basis(fit.anchors_uv).points(fit.identity, fit.expression)
    residual = fit.anchors_px - fit.camera.project(points)
    span = np.linalg.norm(np.ptp(fit.anchors_px, axis=0)) * 0.5
    limit = _REGISTER_LIMIT_IOD * span
    length = np.linalg.norm(residual, axis=1)
    keep = np.where(length > limit, (limit / np.maximum(length, 1e-9)) ** 2, 1.0)
    residual = residual * (fit.anchors_weight * keep)[:, None]
    matrix = _register_matrix(
        np.ascontiguousarray(fit.anchors_uv, np.float64).tobytes(), _REGISTER_GRID
    )
    grid = (matrix @ residual.astype(np.float32)).reshape(_REGISTER_GRID, _REGISTER_GRID, 2)
    left, bottom, right, top = _REGISTER_BOX
    centre = (np.arange(size, dtype=np.float32) + 0.5) / size
    x = (centre - left) / (right - left) * (_REGISTER_GRID - 1)
    y = (top - (1 - centre)) / (top - bottom) * (_REGISTER_GRID - 1)
    x, y = np.meshgrid(x, y)
    return cv2.remap(grid, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)


def _pixel_area(pixels: np.ndarray) -> np.ndarray:
    """(S, S) photo pixels that a texel covers, of the map (S, S, 2) from texels to pixels."""
    jx, jy = np.gradient(pixels, axis=1), np.gradient(pixels, axis=0)
    return np.abs(jx[..., 0] * jy[..., 1] - jx[..., 1] * jy[..., 0])


def sample(image: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Photo (H, W, 3) at pixels (S, S, 2) -> (S, S, 3): bicubic, from a pyramid where texels span several pixels."""
    area = _pixel_area(pixels)
    level = np.clip(0.5 * np.log2(np.maximum(area, 1e-6)), 0, 5).astype(np.float32)
    level = cv2.blur(level, (9, 9))
    out, scale, current = None, 1.0, image
    for step in range(int(np.ceil(np.quantile(level, 0.98))) + 1):
        if step:
            height, width = current.shape[:2]
            current = cv2.resize(
                current, ((width + 1) // 2, (height + 1) // 2), interpolation=cv2.INTER_AREA
            )
            scale = current.shape[1] / image.shape[1]
        xy = (pixels * scale - 0.5).astype(np.float32)
        here = cv2.remap(
            current, xy[..., 0], xy[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
        share = np.clip(level - (step - 1), 0, 1)[..., None]
        out = here if out is None else out + share * (here - out)
    return np.clip(out, 0, 1).astype(np.float32)


def _apertures(head: HeadModel, size: int, mouth_open: bool) -> np.ndarray:
    """(S, S) [0, 1]: lid and (where open) lip slits with a margin; what shows there is eye or teeth, not skin."""
    uv = head.landmarks468_uv
    out = np.zeros((size, size), np.float32)
    for ring in EYE_RINGS:
        out = np.maximum(out, fill_uv_polygon(uv[list(ring)], size))
    if mouth_open:
        out = np.maximum(out, fill_uv_polygon(uv[list(LIP_RINGS[-1])], size))
    reach = max(round(0.002 * size), 1)
    return cv2.dilate(out, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1,) * 2))


def unwrap(image: np.ndarray, fit: HeadFit, head: HeadModel, size: int = 1024) -> UVTexture:
    """Unwrap a photo onto the head's UV layout and complete what it does not show.

    image: (H, W, 3) float32, sRGB-encoded [0, 1], the photo the fit was made on; size: texels per side.
    """
    vertices = head.vertices(head.embedded_mesh(), fit.identity, fit.expression)
    geometry, layout = Geometry.of(vertices, fit.camera, head, size), head.skin_mask(size)
    pixels = geometry.pixels + registration_warp(fit, head, size)

    height, width = image.shape[:2]
    inside = (pixels[..., 0] > 1) & (pixels[..., 0] < width - 1)
    inside &= (pixels[..., 1] > 1) & (pixels[..., 1] < height - 1)
    skin = segment_skin(image, fit, head, vertices, pixels, layout)
    mouth_open = bool(fit.expression[head.expression_names.index("jawOpen")] > 0.08)
    seen = geometry.visibility * inside * face_trust(head, size)
    aperture = _apertures(head, size, mouth_open)
    visibility = cv2.GaussianBlur((seen * skin).astype(np.float32), (0, 0), size / 1024 * 1.5)
    visibility = np.minimum(visibility, seen) * layout

    face = face_polygon(head, size)
    texture, confidence = complete(sample(image, pixels), visibility, face, aperture)
    visibility = visibility * (1 - aperture)
    return UVTexture(
        texture,
        visibility,
        confidence * layout,
        geometry.normals,
        geometry.position,
        np.sqrt(_pixel_area(pixels)).astype(np.float32),
    )
