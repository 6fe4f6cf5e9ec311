"""Real spherical harmonics and the few operations shading needs, on numpy arrays and torch tensors alike.

Shapes: ``...`` any leading dimensions, ``C`` = (degree + 1)^2 coefficients ordered l = 0, 1, ...,
m = -l..l. Directions are unit vectors. "Array or tensor" functions are differentiable on tensors;
torch is imported only where a tensor is already there, so Blender's Python can use this module.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

Array = Any
"""A numpy array or a torch tensor: what comes in decides what goes out."""

LAMBERT_BANDS = (math.pi, 2.0 * math.pi / 3.0, math.pi / 4.0)
"""A_l, the clamped cosine in SH (Ramamoorthi & Hanrahan 2001); A_l / pi turns radiance to exitance."""


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
    return stack_last(columns)


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


# --- numpy or torch ---


def torch_of(value: Array) -> Any | None:
    """The torch module if ``value`` is a tensor (torch is then already imported), else None."""
    if type(value).__module__.split(".")[0] != "torch":
        return None
    import torch

    return torch


def stack_last(values: list[Array]) -> Array:
    """Join (...) parts into (..., C)."""
    torch = torch_of(values[0])
    return torch.stack(values, dim=-1) if torch else np.stack(values, axis=-1)


def exponential(value: Array) -> Array:
    """e to the power of ``value``."""
    torch = torch_of(value)
    return torch.exp(value) if torch else np.exp(value)


def clamp(value: Array, low: float, high: float) -> Array:
    """``value`` kept within [low, high]."""
    torch = torch_of(value)
    return torch.clamp(value, low, high) if torch else np.clip(value, low, high)


def as_like(values: Any, reference: Array) -> Array:
    """Numbers in the kind, dtype and device of ``reference``."""
    torch = torch_of(reference)
    if torch:
        return torch.as_tensor(values, dtype=reference.dtype, device=reference.device)
    return np.asarray(values, dtype=np.asarray(reference).dtype)


def as_column(value: Array, reference: Array) -> Array:
    """(...), (..., 1) or a number -> (..., 1) beside ``reference`` (..., 3)."""
    if isinstance(value, (int, float)):
        return as_like([float(value)], reference)
    return value if len(value.shape) == len(reference.shape) else value[..., None]


def radiance(basis: Array, light: Array) -> Array:
    """Basis values (..., C) times light (C, 3) or (..., C, 3) -> (..., 3)."""
    if len(light.shape) == 2:
        return basis @ light
    return (basis[..., None, :] @ light)[..., 0, :]
