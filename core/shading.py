"""Spherical-harmonic lighting, MoSAR's shading equation (differentiable), and the photo's light.

Shapes: ``...`` any leading dimensions, ``C`` = (degree + 1)^2 coefficients ordered l = 0, 1, ...,
m = -l..l. Everything here is linear light; directions are unit vectors in head space
(+Y up, +Z out of the face, subject's right = -x). Functions that say "array or tensor" run on
numpy arrays and on torch tensors (and are differentiable there); the rest are numpy only.
torch and scipy are imported only where needed, so Blender's Python can use this module.

Equirectangular images follow Blender's World, checked by a render in the tests: column u in
[0, 1), row v up in (0, 1) look along azimuth ``2 pi (0.5 - u)`` from Blender's +X towards +Y and
elevation ``pi (v - 0.5)``. After the one Y-up -> Z-up conversion (x, y, z) -> (x, -z, y), the
centre column (u = 0.5) is the head's +X (its left side) and u = 0.75 is in front of the face
(head +Z = Blender -Y). An image made here, loaded as World without any mapping node, lights a head
imported from this project's files as the coefficients say.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

from .errors import FitError

Array = Any
"""A numpy array or a torch tensor: what comes in decides what goes out."""

MAX_DEGREE = 8
"""Highest degree MoSAR's specular term uses."""

LAMBERT_BANDS = (math.pi, 2.0 * math.pi / 3.0, math.pi / 4.0)
"""A_l, the clamped cosine in SH (Ramamoorthi & Hanrahan 2001); A_l / pi turns radiance to exitance."""

SKIN_IOR = 1.4
SKIN_F0 = ((SKIN_IOR - 1.0) / (SKIN_IOR + 1.0)) ** 2
"""Reflectance of skin at normal incidence, 0.0278."""


# --- real spherical harmonics ---------------------------------------------------------------------


def num_coefficients(degree: int) -> int:
    """Coefficients of all bands up to ``degree``: (degree + 1)^2."""
    return (degree + 1) ** 2


def band_of_coefficient(degree: int) -> np.ndarray:
    """(C,) int: the band l of each coefficient."""
    return np.repeat(np.arange(degree + 1), 2 * np.arange(degree + 1) + 1)


def sh_degree(coefficients: Array) -> int:
    """Degree of a (..., C, 3) coefficient array; ValueError where C is not a square."""
    count = coefficients.shape[-2]
    degree = math.isqrt(count) - 1
    if num_coefficients(degree) != count:
        raise ValueError(f"expected (degree+1)^2 SH coefficients in axis -2; got {count}")
    return degree


@cache
def _norm(band: int, order: int) -> float:
    value = (2 * band + 1) / (4.0 * math.pi)
    value *= math.factorial(band - order) / math.factorial(band + order)
    return math.sqrt(value) * (math.sqrt(2.0) if order else 1.0)


def sh_basis(directions: Array, degree: int = 2) -> Array:
    """Real SH of unit ``directions`` (..., 3) -> (..., C). Array or tensor.

    Orthonormal, no Condon-Shortley sign, polar axis z: band 1 is 0.488603 (y, z, x), band 2 is
    (1.092548 xy, 1.092548 yz, 0.315392 (3z^2 - 1), 1.092548 xz, 0.546274 (x^2 - y^2)).
    Polynomials in x, y, z, so gradients exist at the poles too.
    """
    x, y, z = directions[..., 0], directions[..., 1], directions[..., 2]
    one = x * 0 + 1
    cosine, sine = [one], [x * 0]  # Re and Im of (x + iy)^m
    for _ in range(degree):
        cosine, sine = (
            [*cosine, x * cosine[-1] - y * sine[-1]],
            [*sine, x * sine[-1] + y * cosine[-1]],
        )
    legendre: dict[tuple[int, int], Array] = {}  # P_l^m / sin^m, a polynomial in z
    for m in range(degree + 1):
        legendre[m, m] = one * float(math.prod(range(1, 2 * m, 2)))
        for band in range(m + 1, degree + 1):
            value = (2 * band - 1) * z * legendre[band - 1, m]
            if band - 2 >= m:
                value = value - (band + m - 1) * legendre[band - 2, m]
            legendre[band, m] = value / (band - m)
    columns = []
    for band in range(degree + 1):
        for m in range(-band, band + 1):
            turn = sine[-m] if m < 0 else cosine[m]
            columns.append(_norm(band, abs(m)) * legendre[band, abs(m)] * turn)
    return _stack(columns)


def rotate_light(coefficients: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Light ``coefficients`` (C, 3) turned by ``rotation`` (3, 3): L'(R d) = L(d). Numpy only."""
    degree = sh_degree(coefficients)
    directions = sphere_directions(8 * num_coefficients(degree))
    before = sh_basis(directions, degree) @ coefficients
    basis = sh_basis(directions @ np.asarray(rotation).T, degree)
    return np.linalg.lstsq(basis, before, rcond=None)[0].astype(coefficients.dtype)


def sphere_directions(count: int) -> np.ndarray:
    """(count, 3) float64 evenly spread unit vectors (Fibonacci lattice)."""
    index = np.arange(count) + 0.5
    z = 1.0 - 2.0 * index / count
    azimuth = math.pi * (1.0 + math.sqrt(5.0)) * index
    radius = np.sqrt(1.0 - z * z)
    return np.stack([radius * np.cos(azimuth), radius * np.sin(azimuth), z], axis=-1)


# --- shading --------------------------------------------------------------------------------------


def shade_diffuse(albedo: Array, normals: Array, ambient_occlusion: Array, light: Array) -> Array:
    """Diffusely reflected radiance, linear: albedo / pi * irradiance * AO. Array or tensor.

    albedo (..., 3) linear [0, 1]; normals (..., 3) unit, head space; ambient_occlusion (...) or
    (..., 1) [0, 1]; light (9+, 3) or (..., 9+, 3) linear radiance coefficients (bands above 2 are
    ignored, a Lambertian surface hardly sees them). Light of constant radiance 1 returns the albedo.
    """
    occlusion = _as_column(ambient_occlusion, albedo)
    basis = sh_basis(normals, 2) * _like(
        [LAMBERT_BANDS[b] / math.pi for b in (0, *[1] * 3, *[2] * 5)], albedo
    )
    return albedo * occlusion * _contract(basis, light[..., :9, :])


def shade_mosar(
    albedo: Array,
    normals: Array,
    view: Array,
    light: Array,
    *,
    ambient_occlusion: Array,
    specular: Array,
    translucency: Array,
    roughness: float | Array = 0.4,
    radiometric: bool = True,
) -> Array:
    """MoSAR's shading, linear radiance (..., 3) (Dib et al., CVPR 2024, Eq. 5-8). Array or tensor.

    m = B_d + B_ss + B_s with, for light coefficients g and bands l:
    B_d  = d a sum_{l<=2} A_l g_lm Y_lm(n)            diffuse, A = (pi, 2 pi / 3, pi / 4)
    B_ss = d sum_{l=1..2} exp(-l^2 / t^4) g_lm Y_lm(n) subsurface, only where tissue is thin
    B_s  = f sum_{l<=8} R_l g_lm Y_lm(r)              specular, f = s + (1 - s)(1 - cos)^5

    albedo d (..., 3) linear; normals n and view v (surface to camera) (..., 3) unit; light
    (C, 3) or (..., C, 3) with C = 9..81; ambient_occlusion a, specular s (reflectance at normal
    incidence: skin 0.028, see :func:`f0_from_specular`), translucency t: (...) or (..., 1) in
    [0, 1]. R_l = exp(-(alpha l)^2), alpha = roughness^2: the lobe of a Beckmann microfacet surface
    in SH (Ramamoorthi & Hanrahan 2002); r is v mirrored at n.

    As printed, the paper's A_l leave the 1/pi of Lambert's law to the light's scale.
    ``radiometric`` (default) divides A_l by pi, so constant light of radiance 1 on a matt surface
    (s = t = 0, seen head-on) returns exactly the albedo; False is the equation as printed.
    """
    degree = min(sh_degree(light), MAX_DEGREE)
    if degree < 2:
        raise ValueError(f"expected at least 9 light coefficients; got {light.shape[-2]}")
    occlusion = _as_column(ambient_occlusion, albedo)
    f0 = _as_column(specular, albedo)
    thin = _as_column(translucency, albedo)
    low = sh_basis(normals, 2)
    lambert = [
        LAMBERT_BANDS[b] / (math.pi if radiometric else 1.0) for b in (0, *[1] * 3, *[2] * 5)
    ]
    diffuse = albedo * occlusion * _contract(low * _like(lambert, albedo), light[..., :9, :])

    fourth = _clip(thin, 1e-2, 1.0) ** 4  # exp(-1/1e-8) is 0: no light at t = 0, no division by it
    bands = _like([1.0] * 3 + [4.0] * 5, albedo)
    subsurface = albedo * _contract(low[..., 1:] * _exp(-bands / fourth), light[..., 1:9, :])

    facing = (normals * view).sum(-1)[..., None]
    mirrored = 2.0 * facing * normals - view
    fresnel = f0 + (1.0 - f0) * (1.0 - _clip(facing, 0.0, 1.0)) ** 5
    alpha = _as_column(roughness, albedo) ** 2
    all_bands = _like(band_of_coefficient(degree).astype(np.float64), albedo)
    lobe = sh_basis(mirrored, degree) * _exp(-((alpha * all_bands) ** 2))
    gloss = fresnel * _contract(lobe, light[..., : num_coefficients(degree), :])
    return diffuse + subsurface + gloss


def f0_from_specular(specular: Array) -> Array:
    """Specular pass [0, 1] -> reflectance at normal incidence: s = 0.5 is skin (IOR 1.4, 0.0278).

    The same line Blender draws: Specular IOR Level 0.5 leaves the F0 of the IOR, 1.0 doubles it.
    """
    return specular * (2.0 * SKIN_F0)


_ROUGHNESS_ANCHORS = (  # (u, v, radius in u, roughness); u, v up; mirrored left to right
    ((0.500, 0.760), 0.110, 0.38),  # forehead
    ((0.500, 0.560), 0.045, 0.30),  # nose
    ((0.500, 0.670), 0.035, 0.33),  # bridge of the nose, between the brows
    ((0.395, 0.632), 0.035, 0.35),  # eyelids
    ((0.330, 0.500), 0.080, 0.42),  # cheeks
    ((0.450, 0.418), 0.030, 0.27),  # lips
    ((0.500, 0.330), 0.050, 0.40),  # chin
    ((0.130, 0.560), 0.070, 0.45),  # ears
)
_ROUGHNESS_ELSEWHERE = 0.48  # neck and scalp
_UNRESOLVED_SLOPE = 0.1
"""RMS slope per axis of pores and fine lines below the texel (0.4 mm): they widen the highlight."""


def skin_roughness(size: int = 1024, specular: np.ndarray | None = None) -> np.ndarray:
    """Roughness map (size, size) float32 of the HiFi3D layout, 0.25..0.6. Numpy only.

    The networks predict no roughness: this is the usual regional one (T-zone and lips smoother,
    cheeks, ears and neck rougher; Weyrich et al. 2006), blended between anchor points in UV. Pores
    are finer than a texel, so their slopes are added to the microfacets' as alpha^2 + 2 slope^2
    (Olano & Baker, LEAN mapping, 2010): without that the skin looks oiled. Where a specular map
    (size, size[, 1]) in [0, 1] is given, its fine detail is followed: a pore or crease that
    reflects less than its surroundings is also rougher, by a quarter of the contrast.
    """
    v, u = np.meshgrid(
        1.0 - (np.arange(size) + 0.5) / size, (np.arange(size) + 0.5) / size, indexing="ij"
    )
    total = np.full((size, size), 0.05)
    value = total * _ROUGHNESS_ELSEWHERE
    for (cu, cv), radius, roughness in _ROUGHNESS_ANCHORS:
        for side in {cu, 1.0 - cu}:
            weight = np.exp(-((u - side) ** 2 + (v - cv) ** 2) / (2.0 * radius**2))
            total += weight
            value += weight * roughness
    result = ((value / total) ** 4 + 2.0 * _UNRESOLVED_SLOPE**2) ** 0.25
    if specular is not None:
        detail = np.asarray(specular, np.float64).reshape(size, size)
        result = result - 0.25 * (detail - _gaussian_blur(detail, size / 64.0))
    return np.clip(result, 0.25, 0.6).astype(np.float32)


def _gaussian_blur(image: np.ndarray, sigma_px: float) -> np.ndarray:
    """(S, S) blurred with a Gaussian, mirrored at the borders; by FFT, so numpy is enough."""
    pad = int(3 * sigma_px)
    padded = np.pad(image, pad, mode="reflect")
    frequency_y = np.fft.fftfreq(padded.shape[0])[:, None]
    frequency_x = np.fft.rfftfreq(padded.shape[1])[None]
    response = np.exp(-2.0 * (math.pi * sigma_px) ** 2 * (frequency_y**2 + frequency_x**2))
    blurred = np.fft.irfft2(np.fft.rfft2(padded) * response, s=padded.shape)
    return blurred[pad:-pad, pad:-pad] if pad else blurred


# --- environments ---------------------------------------------------------------------------------


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


# --- the photo's light ----------------------------------------------------------------------------


def estimate_light(
    texture_srgb: np.ndarray,
    albedo_srgb: np.ndarray,
    normals: np.ndarray,
    ambient_occlusion: np.ndarray,
    weight: np.ndarray,
    *,
    max_samples: int = 20_000,
    smoothness: float = 2e-3,
) -> np.ndarray:
    """Light of the photo as SH radiance coefficients (9, 3) float32, linear, head space. Numpy only.

    texture_srgb, albedo_srgb (H, W, 3) sRGB-encoded [0, 1]; normals (H, W, 3) unit, head space;
    ambient_occlusion (H, W[, 1]) [0, 1]; weight (H, W) >= 0, for instance visibility times the face
    mask (0 = not used). Solves texture_lin / albedo_lin = AO / pi * irradiance(n) by iteratively
    reweighted least squares (Huber, then Tukey: highlights and cast shadows fall out), with the
    environment written as non-negative radiance in 162 directions, so that the coefficients always
    belong to a light that can exist and :func:`environment_from_sh` can show it. ``smoothness``
    pulls the directions no texel faces towards the mean, and the colour of each direction towards
    the light's overall colour. FitError when fewer than 64 texels can be used.
    """
    from .color import srgb_to_linear

    chosen = _light_samples(texture_srgb, albedo_srgb, weight, max_samples)
    if chosen.size < 64:
        raise FitError(
            f"expected at least 64 lit, visible texels; got {chosen.size}; use a clearer photo"
        )

    def pick(values: np.ndarray, channels: int) -> np.ndarray:
        return np.asarray(values, np.float64).reshape(-1, channels)[chosen]

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
        values = _solve_lobes(matrix, ratio[:, channel], robust, lobe_sh, smoothness, prior)
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


# --- numpy or torch -------------------------------------------------------------------------------


def _torch(value: Array) -> Any | None:
    """The torch module if ``value`` is a tensor (torch is then already imported), else None."""
    if type(value).__module__.split(".")[0] != "torch":
        return None
    import torch

    return torch


def _stack(values: list[Array]) -> Array:
    torch = _torch(values[0])
    return torch.stack(values, dim=-1) if torch else np.stack(values, axis=-1)


def _exp(value: Array) -> Array:
    torch = _torch(value)
    return torch.exp(value) if torch else np.exp(value)


def _clip(value: Array, low: float, high: float) -> Array:
    torch = _torch(value)
    return torch.clamp(value, low, high) if torch else np.clip(value, low, high)


def _like(values: Any, reference: Array) -> Array:
    torch = _torch(reference)
    if torch:
        return torch.as_tensor(values, dtype=reference.dtype, device=reference.device)
    return np.asarray(values, dtype=np.asarray(reference).dtype)


def _as_column(value: Array, reference: Array) -> Array:
    """(...), (..., 1) or a number -> (..., 1) beside ``reference`` (..., 3)."""
    if isinstance(value, (int, float)):
        return _like([float(value)], reference)
    return value if len(value.shape) == len(reference.shape) else value[..., None]


def _contract(basis: Array, light: Array) -> Array:
    """(..., C) and (C, 3) or (..., C, 3) -> (..., 3)."""
    if len(light.shape) == 2:
        return basis @ light
    return (basis[..., None, :] @ light)[..., 0, :]
