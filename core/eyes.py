"""Eyeballs for the head: a sphere with a corneal bulge, an iris in the photo's colour, turned where the eyes look.

UV of an eyeball is azimuthal: the front pole at (.5, .5), the distance from it growing with the polar angle.
"""

from __future__ import annotations

import numpy as np

from .color import linear_to_srgb, srgb_to_linear
from .export import Part
from .head_fit import HeadFit
from .head_model import HeadModel
from .landmarks import Landmarks

IRIS_RADIUS_M = 0.0060
"""Half the horizontal visible iris diameter, taken as 12 mm for everyone."""
PUPIL_SHARE = 0.36
_BULGE_M = 0.0006
_SEGMENTS = 48
_TEXTURE_PX = 512
_SCLERA_SRGB = (0.86, 0.82, 0.79)
_BROWN_SRGB = np.array([0.30, 0.19, 0.12], dtype=np.float32)


def build_eyes(
    head: HeadModel, fit: HeadFit | None, iris_srgb: np.ndarray | None, identity: np.ndarray
) -> list[Part]:
    """Two eyeballs (subject's right first), head space, metres; brown irises where no colour is known."""
    centers = head.eyes(identity)
    color = _BROWN_SRGB if iris_srgb is None else iris_srgb
    texture = eye_texture(color, head.eye_radius_m)
    vertices, faces, uv = _eyeball(head.eye_radius_m)
    parts = []
    for index, (side, center) in enumerate(zip(("right", "left"), centers, strict=True)):
        gaze = fit.gaze[index] if fit is not None and fit.gaze is not None else None
        rotation = _turn(gaze) if gaze is not None else np.eye(3)
        placed = vertices @ rotation.T + center
        parts.append(Part(f"eye_{side}", placed.astype(np.float32), faces, uv, base_color=texture))
    return parts


def iris_color(image: np.ndarray, landmarks: Landmarks, gain: np.ndarray) -> np.ndarray | None:
    """The iris' colour (3,) sRGB [0, 1] from the photo (H, W, 3), or None where it cannot be told.

    ``gain`` (3,) is albedo over photo for the skin nearby, linear light: it takes the light off the iris too.
    """
    if landmarks.iris is None:
        return None
    samples = []
    for eye in range(2):
        points = landmarks.iris[5 * eye : 5 * eye + 5]
        radius = np.linalg.norm(points[1:] - points[0], axis=1).mean()
        if radius < 3.0:
            return None
        reach = int(np.ceil(radius))
        column, row = np.floor(points[0]).astype(int)
        rows, cols = np.mgrid[row - reach : row + reach + 1, column - reach : column + reach + 1]
        distance = np.hypot(cols + 0.5 - points[0, 0], rows + 0.5 - points[0, 1]) / radius
        # lids cover the iris above and below; the pupil is dark, the highlight bright
        use = (
            (distance > 0.45)
            & (distance < 0.85)
            & (np.abs(rows + 0.5 - points[0, 1]) < 0.55 * radius)
        )
        use &= (rows >= 0) & (cols >= 0) & (rows < image.shape[0]) & (cols < image.shape[1])
        samples.append(image[rows[use], cols[use]])
    pixels = np.concatenate(samples)
    if len(pixels) < 12:
        return None
    luma = pixels.mean(1)
    low, high = np.percentile(luma, [25, 80])
    middle = pixels[(luma >= low) & (luma <= high)]
    linear = srgb_to_linear(np.median(middle, axis=0)) * np.clip(gain, 0.4, 3.0)
    return linear_to_srgb(np.clip(linear, 0.008, 0.35)).astype(np.float32)


def eye_texture(iris_srgb: np.ndarray, radius_m: float, size: int = _TEXTURE_PX) -> np.ndarray:
    """(size, size, 3) sRGB [0, 1]: sclera with a warm rim, limbal ring, fibrous iris, pupil."""
    axis = (np.arange(size) + 0.5) / size - 0.5
    x, y = np.meshgrid(axis, -axis)
    polar = np.hypot(x, y) * 2 * np.pi
    angle = np.arctan2(y, x)
    iris_polar = np.arcsin(IRIS_RADIUS_M / radius_m)
    r = polar / iris_polar
    rng = np.random.default_rng(3)
    fibre = np.zeros_like(r)
    for frequency in (17, 29, 43, 71):
        phase, bend = rng.uniform(0, 2 * np.pi), rng.uniform(-0.6, 0.6)
        fibre += np.sin(frequency * angle + phase + bend * r * 3) / np.sqrt(frequency / 17)
    fibre = fibre / 4
    collarette = np.exp(-(((r - 0.55) / 0.08) ** 2))
    shade = 1.0 + 0.22 * fibre * np.clip((r - PUPIL_SHARE) * 3, 0, 1) + 0.18 * collarette
    shade *= 1.0 - 0.55 * _step(r, 0.82, 1.0)
    iris = np.clip(srgb_to_linear(np.asarray(iris_srgb)) * shade[..., None], 0, 1)
    iris *= 1.0 - 0.96 * (1 - _step(r, PUPIL_SHARE - 0.03, PUPIL_SHARE + 0.03))[..., None]
    warm = _step(polar, iris_polar * 1.2, 1.25)[..., None]
    sclera = srgb_to_linear(np.asarray(_SCLERA_SRGB)) * (1 - warm * np.array([0.05, 0.32, 0.36]))
    edge = _step(r, 0.96, 1.06)[..., None]
    return linear_to_srgb(iris * (1 - edge) + sclera * edge).astype(np.float32)


def _step(x: np.ndarray, low: float, high: float) -> np.ndarray:
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _eyeball(radius_m: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices (V, 3) about the centre looking along +z, faces (F, 3), uv (V, 2)."""
    iris_polar = np.arcsin(IRIS_RADIUS_M / radius_m)
    polar = np.concatenate(
        [np.linspace(0, 1.25 * iris_polar, 13), np.linspace(1.25 * iris_polar, np.pi, 20)[1:]]
    )
    azimuth = np.arange(_SEGMENTS) / _SEGMENTS * 2 * np.pi
    bulge = _BULGE_M * (1 - _step(polar, 0.0, 1.2 * iris_polar))
    vertices, uv = [np.array([[0, 0, radius_m + _BULGE_M]])], [np.array([[0.5, 0.5]])]
    for angle, extra in zip(polar[1:], bulge[1:], strict=True):
        circle = np.stack([np.cos(azimuth), np.sin(azimuth)], 1)
        r = radius_m + extra
        vertices.append(
            np.column_stack([r * np.sin(angle) * circle, np.full(_SEGMENTS, r * np.cos(angle))])
        )
        uv.append(0.5 + circle * angle / (2 * np.pi))
    faces = [[0, 1 + k, 1 + (k + 1) % _SEGMENTS] for k in range(_SEGMENTS)]
    for ring in range(len(polar) - 2):
        first, second = 1 + ring * _SEGMENTS, 1 + (ring + 1) * _SEGMENTS
        for k in range(_SEGMENTS):
            n = (k + 1) % _SEGMENTS
            faces += [[first + k, second + k, second + n], [first + k, second + n, first + n]]
    return (
        np.concatenate(vertices),
        np.asarray(faces, dtype=np.int32),
        np.concatenate(uv).astype(np.float32),
    )


def _turn(direction: np.ndarray) -> np.ndarray:
    """Smallest rotation (3, 3) from +z to a unit direction (3,), at most 35 degrees."""
    z = np.array([0.0, 0.0, 1.0])
    axis = np.cross(z, direction)
    sine = np.linalg.norm(axis)
    if sine < 1e-8:
        return np.eye(3)
    angle = min(float(np.arctan2(sine, direction[2])), np.deg2rad(35.0))
    k = axis / sine
    cross = np.array([[0, -k[2], k[1]], [k[2], 0, -k[0]], [-k[1], k[0], 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
