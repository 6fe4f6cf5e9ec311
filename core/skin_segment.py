"""Photo + fit -> which texels show skin: hair, hats, clothes and background are told apart by colour.

A first version without a network: GrabCut (Rother et al., SIGGRAPH 2004) on a small crop, seeded from the fitted
head. The inner face is always kept, so brows, lips and beard are never eaten. S: map size.
"""

from __future__ import annotations

import cv2
import numpy as np

from .facemesh import OVAL
from .head_fit import HeadFit
from .head_model import HeadModel
from .raster import rasterize

_CROP_PX = 240
_INNER_SHRINK = (0.84, 0.90)
_BROW_TOP_V = 0.69
_TRUST_RANGE = (0.015, 0.055)
_EAR_RANGE = (0.295, 0.325)
_CHROMA_LIMIT = 2.8
_CHROMA_SURE = 1.5
_CHROMA_SPREAD = 0.02


def fill_uv_polygon(uv: np.ndarray, size: int) -> np.ndarray:
    """Polygon (N, 2) in UV -> (S, S) float32 mask, 1 inside."""
    mask = np.zeros((size, size), np.float32)
    points = np.rint((uv * [size, -size] + [0, size] - 0.5) * 16).astype(np.int32)
    cv2.fillPoly(mask, [points.reshape(-1, 1, 2)], 1.0, cv2.LINE_8, 4)
    return mask


def face_polygon(head: HeadModel, size: int) -> np.ndarray:
    """(S, S) float32 mask of the face oval."""
    return fill_uv_polygon(head.landmarks468_uv[list(OVAL)], size)


def inner_face(head: HeadModel, size: int) -> np.ndarray:
    """(S, S) float32 mask of eyes, nose, mouth, chin and inner cheeks: always kept."""
    oval = head.landmarks468_uv[list(OVAL)].astype(np.float64)
    centre = 0.5 * (oval.min(0) + oval.max(0))
    shrunk = centre + (oval - centre) * _INNER_SHRINK
    shrunk[:, 1] = np.minimum(shrunk[:, 1], _BROW_TOP_V)
    # long hair falls over the temples and upper cheeks, a beard reaches the jaw's sides
    low, high = head.landmarks68_uv[[57, 30], 1]
    upper = np.clip((shrunk[:, 1] - low) / (high - low), 0, 1)
    shrunk[:, 0] = centre[0] + (shrunk[:, 0] - centre[0]) * (1 - 0.26 * upper)
    return fill_uv_polygon(shrunk, size)


def face_trust(head: HeadModel, size: int) -> np.ndarray:
    """(S, S) float32 [0, 1]: 1 on the face, falling to 0 over neck, ears and scalp, which get an invented tone."""
    small = size // 4
    outside = (face_polygon(head, small) < 0.5).astype(np.uint8)
    gap = cv2.distanceTransform(outside, cv2.DIST_L2, 5) / small
    aside = np.abs((np.arange(small) + 0.5) / small - 0.5)[None]
    ramp = np.ones((small, small))
    for away, (low, high) in ((gap, _TRUST_RANGE), (aside, _EAR_RANGE)):
        ramp = ramp * np.clip((high - away) / (high - low), 0, 1)
    return cv2.resize(ramp.astype(np.float32), (size, size), interpolation=cv2.INTER_LINEAR)


def feature_mask(head: HeadModel, size: int) -> np.ndarray:
    """(S, S) float32 mask of brows, eyes, nostrils and lips: not skin-coloured, yet kept."""
    marks = head.landmarks68_uv
    mask = np.zeros((size, size), np.float32)
    for ids in (
        range(17, 22),
        range(22, 27),
        range(36, 42),
        range(42, 48),
        range(48, 60),
        (31, 32, 33, 34, 35, 30),
    ):
        mask = np.maximum(
            mask, fill_uv_polygon(cv2.convexHull(marks[list(ids)].astype(np.float32))[:, 0], size)
        )
    reach = round(0.02 * size)
    return cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1,) * 2))


def _chroma(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) sRGB -> (H, W, 3): log luma, log R/G, log B/G; shading moves the first only."""
    log = np.log(np.maximum(image, 0.0) + 0.03)
    return np.stack([log.mean(-1), log[..., 0] - log[..., 1], log[..., 2] - log[..., 1]], -1)


def _skin_like(features: np.ndarray, trusted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(H, W) bool twice: pixels that may be skin by chroma and luma of the trusted ones; surely skin."""
    known = features[trusted]
    centre = np.median(known, axis=0)
    spread = 1.48 * np.median(np.abs(known - centre), axis=0) + _CHROMA_SPREAD
    away = np.hypot(*np.moveaxis((features[..., 1:] - centre[1:]) / spread[1:], -1, 0))
    luma = features[..., 0]
    shadow, dark, bright = np.quantile(known[:, 0], [0.08, 0.25, 0.95])
    like = (away < _CHROMA_LIMIT) & (luma > shadow - 0.8) & (luma < bright + 0.35)
    sure = (away < _CHROMA_SURE) & (luma > dark - 0.1) & (luma < bright + 0.1)
    return like, cv2.morphologyEx(
        sure.astype(np.uint8), cv2.MORPH_OPEN, np.ones((5, 5), np.uint8)
    ) > 0


def segment_skin(
    image: np.ndarray,
    fit: HeadFit,
    head: HeadModel,
    vertices: np.ndarray,
    pixels: np.ndarray,
    layout: np.ndarray,
) -> np.ndarray:
    """(S, S) float32 [0, 1]: 1 where a texel's pixel shows skin of the face, its brows, lips or beard.

    image: (H, W, 3) sRGB [0, 1]; vertices: (V, 3) posed head; pixels: (S, S, 2) of each texel; layout: (S, S) bool.
    """
    size, mesh = len(pixels), head.embedded_mesh()
    projected = fit.camera.project(vertices)
    depth = fit.camera.to_camera(vertices)[:, 2]
    face_px = fit.anchors_px
    centre, extent = (
        0.5 * (face_px.min(0) + face_px.max(0)),
        1.75 * float(np.ptp(face_px, axis=0).max()),
    )
    scale, origin = _CROP_PX / extent, centre - extent / 2
    matrix = np.array([[scale, 0, -origin[0] * scale], [0, scale, -origin[1] * scale]])
    matrix[:, 2] += 0.5 * scale - 0.5
    source = image
    if scale < 0.7:  # an area-true reduction first
        matrix_scale = scale * 1.4
        small = (
            max(round(image.shape[1] * matrix_scale), 1),
            max(round(image.shape[0] * matrix_scale), 1),
        )
        source = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
        ratio = np.array([image.shape[1] / small[0], image.shape[0] / small[1]])
        matrix = np.array([[scale * ratio[0], 0, 0], [0, scale * ratio[1], 0]])
        matrix[:, 2] = -origin * scale + 0.5 * scale * ratio - 0.5
    crop = cv2.warpAffine(
        source, matrix, (_CROP_PX, _CROP_PX), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )  # fmt: skip

    raster = rasterize((projected - origin) * scale, depth, mesh.faces, _CROP_PX, _CROP_PX)
    regions = np.stack([f(head, 256) for f in (face_polygon, inner_face, feature_mask)], -1)
    uv = np.zeros((_CROP_PX, _CROP_PX, 2), np.float32)
    on_head = raster.mask
    corners = mesh.uv_faces[raster.triangle[on_head]]
    uv[on_head] = np.einsum("nk,nkd->nd", raster.weights[on_head], mesh.uv[corners])
    labels = cv2.remap(
        regions, uv[..., 0] * 256 - 0.5, (1 - uv[..., 1]) * 256 - 0.5, cv2.INTER_LINEAR
    )
    labels = labels * on_head[..., None]
    face, inner, feature = (labels[..., k] > 0.5 for k in range(3))
    trusted = inner & ~feature
    if trusted.sum() < 50:
        return layout.astype(np.float32)
    features = _chroma(crop)
    like, sure = _skin_like(features, trusted)
    # brows, eyes and lips take the skin around them, so that their colours do not enter the skin's model
    plain = crop.copy()
    plain[inner & ~like] = np.median(crop[trusted], axis=0)
    scalp = on_head & ~face & (uv[..., 1] > 0.72)
    mask = np.full((_CROP_PX, _CROP_PX), cv2.GC_BGD, np.uint8)
    mask[on_head] = np.where(like & ~scalp, cv2.GC_PR_FGD, cv2.GC_PR_BGD)[on_head]
    mask[scalp & ~like] = cv2.GC_BGD
    mask[inner | (face & sure)] = cv2.GC_FGD
    lab = cv2.cvtColor(np.rint(plain * 255).astype(np.uint8), cv2.COLOR_RGB2LAB)
    if (mask == cv2.GC_BGD).sum() + (mask == cv2.GC_PR_BGD).sum() > 100:
        cv2.setRNGSeed(0)
        cv2.grabCut(lab, mask, None, np.zeros((1, 65)), np.zeros((1, 65)), 3, cv2.GC_INIT_WITH_MASK)
    kept = ((mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD)).astype(np.uint8)
    kept = cv2.morphologyEx(kept, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    count, parts = cv2.connectedComponents(kept)
    held = np.bincount(parts[inner & (kept > 0)], minlength=count) > 0
    held[0] = False
    kept = cv2.erode((held[parts]).astype(np.float32), np.ones((3, 3), np.uint8))
    kept = cv2.GaussianBlur(kept, (0, 0), 1.2)
    xy = ((pixels - origin) * scale - 0.5).astype(np.float32)
    skin = cv2.remap(
        kept,
        xy[..., 0],
        xy[..., 1],
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=0,
    )
    return np.maximum(skin, cv2.GaussianBlur(inner_face(head, size), (0, 0), size / 250)) * layout
