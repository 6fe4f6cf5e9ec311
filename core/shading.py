"""MoSAR's shading equation, differentiable, and the skin constants beside it.

Shapes: ``...`` any leading dimensions, C light coefficients (``sh.py``), S side of a map.
Everything is linear light; directions are unit vectors in head space (+Y up, +Z out of the face).
"Array or tensor" functions run on numpy arrays and, differentiably, on torch tensors. Where the
light comes from is ``environment.py``; its two main functions can be had here too.
"""

from __future__ import annotations

import math

import numpy as np

from .environment import environment_from_sh, estimate_light
from .sh import (
    LAMBERT_BANDS,
    Array,
    as_column,
    as_like,
    band_of_coefficient,
    clamp,
    exponential,
    num_coefficients,
    radiance,
    sh_basis,
    sh_degree,
)

__all__ = [
    "environment_from_sh",
    "estimate_light",
    "f0_from_specular",
    "shade_diffuse",
    "shade_mosar",
    "skin_roughness",
]

MAX_DEGREE = 8
"""Highest degree MoSAR's specular term uses."""

SKIN_IOR = 1.4
SKIN_F0 = ((SKIN_IOR - 1.0) / (SKIN_IOR + 1.0)) ** 2
"""Reflectance of skin at normal incidence, 0.0278."""


def shade_diffuse(albedo: Array, normals: Array, ambient_occlusion: Array, light: Array) -> Array:
    """Diffusely reflected radiance, linear: albedo / pi * irradiance * AO. Array or tensor.

    albedo (..., 3) linear [0, 1]; normals (..., 3) unit, head space; ambient_occlusion (...) or
    (..., 1) [0, 1]; light (9+, 3) or (..., 9+, 3) linear radiance coefficients (bands above 2 are
    ignored, a Lambertian surface hardly sees them). Light of constant radiance 1 returns the albedo.
    """
    occlusion = as_column(ambient_occlusion, albedo)
    basis = sh_basis(normals, 2) * as_like(
        [LAMBERT_BANDS[b] / math.pi for b in (0, *[1] * 3, *[2] * 5)], albedo
    )
    return albedo * occlusion * radiance(basis, light[..., :9, :])


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
    occlusion = as_column(ambient_occlusion, albedo)
    f0 = as_column(specular, albedo)
    thin = as_column(translucency, albedo)
    low = sh_basis(normals, 2)
    lambert = [
        LAMBERT_BANDS[b] / (math.pi if radiometric else 1.0) for b in (0, *[1] * 3, *[2] * 5)
    ]
    diffuse = albedo * occlusion * radiance(low * as_like(lambert, albedo), light[..., :9, :])

    fourth = clamp(thin, 1e-2, 1.0) ** 4  # exp(-1e8) is 0: no light at t = 0, no division by it
    bands = as_like([1.0] * 3 + [4.0] * 5, albedo)
    subsurface = albedo * radiance(low[..., 1:] * exponential(-bands / fourth), light[..., 1:9, :])

    facing = (normals * view).sum(-1)[..., None]
    mirrored = 2.0 * facing * normals - view
    fresnel = f0 + (1.0 - f0) * (1.0 - clamp(facing, 0.0, 1.0)) ** 5
    alpha = as_column(roughness, albedo) ** 2
    all_bands = as_like(band_of_coefficient(degree).astype(np.float64), albedo)
    lobe = sh_basis(mirrored, degree) * exponential(-((alpha * all_bands) ** 2))
    gloss = fresnel * radiance(lobe, light[..., : num_coefficients(degree), :])
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
