"""Environments: equirectangular images <-> spherical harmonics, and the light of a photo.

Linear light; directions are unit vectors in head space (+Y up, +Z out of the face, the subject's
right = -x). C = (degree + 1)^2 coefficients as in ``sh.py``. numpy only; scipy where a light is
estimated.

Equirectangular images follow Blender's World, checked by renders in the tests: column u in
[0, 1), row v up in (0, 1) look along azimuth ``2 pi (0.5 - u)`` from Blender's +X towards +Y and
elevation ``pi (v - 0.5)``. After the one Y-up -> Z-up conversion (x, y, z) -> (x, -z, y), the
centre column (u = 0.5) is the head's +X (its left side) and u = 0.75 is in front of the face
(head +Z = Blender -Y). An image made here, loaded as World without any mapping node, lights a head
imported from this project's files as the coefficients say.
"""

from __future__ import annotations

import math

import numpy as np

from .color import srgb_to_linear
from .errors import FitError
from .sh import (
    LAMBERT_BANDS,
    band_of_coefficient,
    num_coefficients,
    sh_basis,
    sh_degree,
    sphere_directions,
)


def head_to_blender(vectors: np.ndarray) -> np.ndarray:
    """(..., 3) Y-up head space -> Blender's Z-up: (x, y, z) -> (x, -z, y)."""
    return np.stack([vectors[..., 0], -vectors[..., 2], vectors[..., 1]], axis=-1)


def blender_to_head(vectors: np.ndarray) -> np.ndarray:
    """(..., 3) Blender's Z-up -> Y-up head space: (x, y, z) -> (x, z, -y)."""
    return np.stack([vectors[..., 0], vectors[..., 2], -vectors[..., 1]], axis=-1)


def equirect_directions(height: int, width: int | None = None) -> np.ndarray:
    """Head-space unit direction of every texel centre, (height, width, 3) float64; width = 2 height.

    Blender's convention, see the module's docstring; row 0 is the top (head +Y).
    """
    width = 2 * height if width is None else width
    azimuth = 2.0 * math.pi * (0.5 - (np.arange(width) + 0.5) / width)
    elevation = math.pi * (0.5 - (np.arange(height) + 0.5) / height)
    flat = np.cos(elevation)[:, None]
    up = np.broadcast_to(np.sin(elevation)[:, None], (height, width))
    return blender_to_head(np.stack([np.cos(azimuth) * flat, np.sin(azimuth) * flat, up], axis=-1))


def equirect_uv(directions: np.ndarray) -> np.ndarray:
    """Head-space unit directions (..., 3) -> (..., 2): u right in [0, 1), v up. Inverse of the above."""
    x, y, z = np.moveaxis(head_to_blender(np.asarray(directions, np.float64)), -1, 0)
    u = (0.5 - np.arctan2(y, x) / (2.0 * math.pi)) % 1.0
    return np.stack([u, 0.5 + np.arctan2(z, np.hypot(x, y)) / math.pi], axis=-1)


def equirect_solid_angles(height: int, width: int | None = None) -> np.ndarray:
    """Exact solid angle of every texel, (height, width), summing to 4 pi."""
    width = 2 * height if width is None else width
    edges = np.sin(math.pi * (0.5 - np.arange(height + 1) / height))
    return np.repeat((edges[:-1] - edges[1:])[:, None] * (2.0 * math.pi / width), width, axis=1)


def sh_from_environment(image: np.ndarray, degree: int = 2) -> np.ndarray:
    """Equirect linear radiance (h, w, 3) -> coefficients (C, 3) float64: g_lm = integral of L Y_lm."""
    height, width = image.shape[:2]
    basis = sh_basis(equirect_directions(height, width), degree)
    weighted = basis * equirect_solid_angles(height, width)[..., None]
    return np.einsum("hwc,hwk->ck", weighted, np.asarray(image, np.float64))


def environment_from_sh(light: np.ndarray, height: int = 64, iterations: int = 60) -> np.ndarray:
    """Non-negative equirect image (height, 2 height, 3) float32 whose SH are ``light`` (C, 3).

    A truncated series of a real environment dips below zero; clipping it alone would add light. Of
    all environments with these coefficients this is the one of greatest entropy, exp of a series of
    the same degree (a smooth lobe where the light comes from), found by Newton's method on the
    convex dual. Diffuse shading from the image equals shading from ``light`` to about a percent.
    Coefficients that no non-negative environment has come out as near as it gets; a channel without
    light is black.
    """
    light = np.asarray(light, np.float64)
    degree = sh_degree(light)
    basis = sh_basis(equirect_directions(height), degree).reshape(-1, num_coefficients(degree))
    weights = equirect_solid_angles(height).reshape(-1)
    channels = [_max_entropy(basis, weights, light[:, c], iterations) for c in range(3)]
    return np.stack(channels, axis=-1).reshape(height, 2 * height, 3).astype(np.float32)


def _max_entropy(
    basis: np.ndarray, weights: np.ndarray, target: np.ndarray, iterations: int, ridge: float = 1e-6
) -> np.ndarray:
    """argmax entropy of L (N,) with basis^T (weights L) = target (C,): L = exp(basis c), by Newton."""
    if target[0] <= 1e-9:
        return np.zeros(len(basis))
    mean = target[0] * basis[0, 0]  # average radiance; solve for radiance of average 1
    goal = target / mean

    def objective(c: np.ndarray) -> tuple[float, np.ndarray]:
        radiance = np.exp(np.minimum(basis @ c, 50.0))
        return float(weights @ radiance - c @ goal + 0.5 * ridge * c @ c), radiance

    series = np.zeros(len(target))
    value, radiance = objective(series)
    for _ in range(iterations):
        weighted = (weights * radiance)[:, None] * basis
        gradient = weighted.sum(0) - goal + ridge * series
        if np.abs(gradient).max() < 1e-5:
            break
        hessian = weighted.T @ basis + ridge * np.eye(len(series))
        step = np.linalg.solve(hessian, gradient)
        size = 1.0
        while size > 1e-6:
            candidate = objective(series - size * step)
            if candidate[0] < value - 1e-4 * size * float(gradient @ step):
                break
            size *= 0.5
        else:
            break
        series = series - size * step
        value, radiance = candidate
    return mean * radiance


# --- the photo's light ---


def estimate_light(
    texture_srgb: np.ndarray,
    albedo_srgb: np.ndarray,
    normals: np.ndarray,
    ambient_occlusion: np.ndarray,
    weight: np.ndarray,
    *,
    max_samples: int = 20_000,
    smoothness: float = 1e-2,
    color_smoothness: float = 0.2,
) -> np.ndarray:
    """Light of the photo as SH radiance coefficients (9, 3) float32, linear, head space. Numpy only.

    texture_srgb, albedo_srgb (H, W, 3) sRGB-encoded [0, 1]; normals (H, W, 3) unit, head space;
    ambient_occlusion (H, W[, 1]) [0, 1]; weight (H, W) >= 0, for instance visibility times the face
    mask (0 = not used). Solves texture_lin / albedo_lin = AO / pi * irradiance(n) by iteratively
    reweighted least squares (Huber, then Tukey: highlights and cast shadows fall out), with the
    environment written as non-negative radiance in 162 directions, so that the coefficients always
    belong to a light that can exist and :func:`environment_from_sh` can show it. ``smoothness``
    pulls the directions no texel faces towards the mean; ``color_smoothness``, far stronger, pulls
    each direction's colour towards the light's overall colour: lips and cheeks must not become
    coloured lamps. FitError when fewer than 64 texels can be used.
    """
    chosen = _light_samples(texture_srgb, albedo_srgb, weight, max_samples)
    if chosen.size < 64:
        raise FitError(
            f"expected at least 64 lit, visible texels; got {chosen.size}; use a clearer photo"
        )

    def pick(values: np.ndarray, channels: int) -> np.ndarray:
        return np.asarray(values).reshape(-1, channels)[chosen].astype(np.float64)

    ratio = srgb_to_linear(pick(texture_srgb, 3)) / np.maximum(
        srgb_to_linear(pick(albedo_srgb, 3)), 0.02
    )
    lambert = np.asarray(LAMBERT_BANDS)[band_of_coefficient(2)] / math.pi
    matrix = sh_basis(pick(normals, 3), 2) * lambert * pick(ambient_occlusion, 1)
    base_weight = pick(weight, 1)[:, 0]
    base_weight = base_weight / base_weight.mean()

    lobes = sphere_directions(162)
    lobe_sh = sh_basis(lobes, 2) * (4.0 * math.pi / len(lobes))  # radiance per direction -> g
    grey = ratio @ np.array([0.2126, 0.7152, 0.0722])
    robust = base_weight
    radiance = np.zeros(len(lobes))
    for step in range(8):
        radiance = _solve_lobes(matrix, grey, robust, lobe_sh, smoothness, None)
        residual = grey - matrix @ (lobe_sh.T @ radiance)
        scale = max(1.4826 * float(np.median(np.abs(residual))), 1e-3 * float(grey.mean()), 1e-9)
        robust = base_weight * _robust_weight(residual / scale, huber=step < 4)
    channels = []
    for channel in range(3):
        tint = np.average(ratio[:, channel] / np.maximum(grey, 1e-6), weights=robust + 1e-12)
        prior = tint * radiance
        values = _solve_lobes(matrix, ratio[:, channel], robust, lobe_sh, color_smoothness, prior)
        channels.append(lobe_sh.T @ values)
    return np.stack(channels, axis=-1).astype(np.float32)


def _light_samples(
    texture: np.ndarray, albedo: np.ndarray, weight: np.ndarray, limit: int
) -> np.ndarray:
    """Flat indices of usable texels: weighted, not clipped, not black; evenly thinned to ``limit``."""
    usable = (np.asarray(weight) > 1e-3) & (texture.max(-1) < 0.985) & (texture.min(-1) > 0.01)
    usable &= albedo.max(-1) > 0.05
    index = np.flatnonzero(usable)
    return index[:: max(1, math.ceil(index.size / limit))]


def _robust_weight(residual: np.ndarray, huber: bool) -> np.ndarray:
    if huber:
        return 1.345 / np.maximum(np.abs(residual), 1.345)
    return np.maximum(1.0 - (residual / 4.685) ** 2, 0.0) ** 2


def _solve_lobes(
    matrix: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray,
    lobe_sh: np.ndarray,
    smoothness: float,
    prior: np.ndarray | None,
) -> np.ndarray:
    """Non-negative radiance x (K,) minimising |matrix lobe_sh^T x - target|_w^2 + smoothness |x - p|^2.

    p is ``prior``, or the mean of x where None. The N rows are first reduced to 9 (Cholesky).
    """
    from scipy.optimize import nnls

    weight = weight / max(float(weight.sum()), 1e-12)
    gram = matrix.T @ (weight[:, None] * matrix) + 1e-9 * np.eye(matrix.shape[1])
    factor = np.linalg.cholesky(gram)
    rows = factor.T @ lobe_sh.T
    values = np.linalg.solve(factor, matrix.T @ (weight * target))
    count = lobe_sh.shape[0]
    strength = math.sqrt(smoothness / count)
    if prior is None:
        extra, extra_values = strength * (np.eye(count) - 1.0 / count), np.zeros(count)
    else:
        extra, extra_values = strength * np.eye(count), strength * prior
    return nnls(
        np.vstack([rows, extra]), np.concatenate([values, extra_values]), maxiter=50 * count
    )[0]
