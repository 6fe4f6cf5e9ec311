"""The fit drawn over the photo: the head's UV grid on its visible surface, and the landmarks."""

from __future__ import annotations

import cv2
import numpy as np

from .head_fit import HeadFit
from .head_model import HeadModel
from .landmarks import Landmarks
from .raster import rasterize

_MAX_BUFFER_PX = 720
_GRID_STEP = 0.04
_GRID_COLOUR = (0.25, 0.95, 1.0)
_POINT_COLOUR = (1.0, 0.85, 0.1)
_GRID_OPACITY = 0.55
_SHADE_OPACITY = 0.18


def draw_overlay(
    image: np.ndarray, fit: HeadFit, landmarks: Landmarks, head: HeadModel
) -> np.ndarray:
    """Photo (H, W, 3) sRGB [0, 1] -> the same with the fitted head's UV grid and the 68 landmarks drawn in."""
    height, width = image.shape[:2]
    mesh = head.embedded_mesh()
    vertices = head.vertices(mesh, fit.identity, fit.expression)
    pixels, depth = fit.camera.project(vertices), fit.camera.to_camera(vertices)[:, 2]
    low = np.floor(np.clip(pixels.min(0), 0, [width - 1, height - 1]))
    high = np.ceil(np.clip(pixels.max(0), 1, [width, height]))
    out = np.array(image, np.float32, copy=True)
    if (high - low).min() >= 2:
        window = (slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0])))
        alpha = _grid(pixels - low, depth, head, high - low)
        patch = out[window] * (1 - _SHADE_OPACITY * alpha[1][..., None])
        out[window] = patch + alpha[0][..., None] * (_GRID_COLOUR - patch)
    radius = max(landmarks.interocular_px / 70.0, 1.0)
    edge = np.ceil(radius) + 2
    low = np.floor(np.clip(landmarks.points.min(0) - edge, 0, [width - 1, height - 1])).astype(int)
    high = np.ceil(np.clip(landmarks.points.max(0) + edge, low + 1, [width, height])).astype(int)
    dots = np.zeros(high[::-1] - low[::-1], np.uint8)
    for x, y in landmarks.points - low - 0.5:
        cv2.circle(
            dots, (round(x * 16), round(y * 16)), round(radius * 16), 255, -1, cv2.LINE_AA, 4
        )
    patch = out[low[1] : high[1], low[0] : high[0]]
    patch += (dots[..., None] / np.float32(255)) * (np.float32(_POINT_COLOUR) - patch)
    return out


def _grid(
    pixels: np.ndarray, depth: np.ndarray, head: HeadModel, extent: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Opacity of the grid lines and cover of the head, both (h, w) float32 over the window (w, h) = extent."""
    mesh = head.embedded_mesh()
    scale = min(1.0, _MAX_BUFFER_PX / float(extent.max()))
    width, height = np.ceil(extent * scale).astype(int)
    raster = rasterize(pixels * scale, depth, mesh.faces, height, width)
    seen = raster.mask
    uv = np.zeros((height, width, 2), np.float32)
    corners = mesh.uv[mesh.uv_faces[raster.triangle[seen]]]
    uv[seen] = np.einsum("nk,nkd->nd", raster.weights[seen], corners) / _GRID_STEP
    line = np.zeros((height, width), np.float32)
    for k in range(2):
        slope = np.hypot(*np.gradient(uv[..., k]))
        gap_px = np.abs(uv[..., k] - np.round(uv[..., k])) / np.maximum(slope, 1e-6)
        # where a step is finer than a few pixels (edges, seams) lines would merge into a blot
        line = np.maximum(line, np.clip(1.3 - gap_px, 0, 1) * (slope < 0.25))
    target = (int(extent[0]), int(extent[1]))
    cover = seen.astype(np.float32)
    lines = cv2.resize(line * cover * _GRID_OPACITY, target, interpolation=cv2.INTER_LINEAR)
    return lines, cv2.resize(cover, target, interpolation=cv2.INTER_LINEAR)
