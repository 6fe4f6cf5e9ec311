"""Colour: sRGB encoding, CIE Lab, individual typology angle, normal encoding; for numpy arrays and torch tensors.

Every function takes and returns one kind: a numpy array (channels on the last axis) or a torch tensor (channels on
`dim`, -1 unless told; the networks use -3). Values are float; integer images are scaled to [0, 1] by `images` first.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

if TYPE_CHECKING:
    import torch

Array = TypeVar("Array", np.ndarray, "torch.Tensor")

# IEC 61966-2-1, linear sRGB to CIE XYZ under D65, rows X, Y, Z.
SRGB_TO_XYZ = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)
WHITE_D65 = (0.95047, 1.0, 1.08883)

ITA_GROUPS: tuple[tuple[str, float, float], ...] = (
    ("very light", 55.0, 90.0),
    ("light", 41.0, 55.0),
    ("intermediate", 28.0, 41.0),
    ("tan", 10.0, 28.0),
    ("brown", -30.0, 10.0),
    ("dark", -90.0, -30.0),
)
"""Skin-tone groups by individual typology angle: (name, above, up to), degrees (Chardon 1991, Del Bino 2006)."""


def _is_tensor(x: Any) -> bool:
    return not isinstance(x, np.ndarray | float | int | list | tuple | np.generic)


def _lib(x: Any) -> Any:
    """numpy or torch, whichever `x` belongs to; torch is only imported when a tensor is already here."""
    if _is_tensor(x):
        import torch

        return torch
    return np


def _split(x: Any, dim: int) -> tuple[Any, Any, Any]:
    if x.shape[dim] != 3:
        raise ValueError(f"expected 3 channels on axis {dim}; got shape {tuple(x.shape)}")
    if _is_tensor(x):
        return cast(Any, x.unbind(dim))
    return tuple(np.moveaxis(x, dim, 0))  # type: ignore[return-value]


def _stack(parts: tuple[Any, Any, Any], dim: int) -> Any:
    lib = _lib(parts[0])
    return lib.stack(parts, dim) if lib is not np else np.stack(parts, axis=dim)


def srgb_to_linear(x: Array) -> Array:
    """sRGB-encoded [0, 1] -> linear light [0, 1]. Values outside keep their sign and go on (odd extension)."""
    lib, mag = _lib(x), abs(x)
    linear = lib.where(mag <= 0.04045, mag / 12.92, ((mag + 0.055) / 1.055) ** 2.4)
    return cast(Array, lib.sign(x) * linear)


def linear_to_srgb(x: Array) -> Array:
    """Linear light [0, 1] -> sRGB-encoded [0, 1]. Values outside keep their sign and go on (odd extension).

    The gradient is finite at 0: the power branch is never evaluated there.
    """
    lib, mag = _lib(x), abs(x)
    safe = lib.where(mag <= 0.0031308, lib.ones_like(mag), mag)
    encoded = lib.where(mag <= 0.0031308, mag * 12.92, 1.055 * safe ** (1 / 2.4) - 0.055)
    return cast(Array, lib.sign(x) * encoded)


def linear_srgb_to_lab(x: Array, dim: int = -1) -> Array:
    """Linear sRGB [0, 1] -> CIE L*a*b* (D65, 2 degrees): L* in [0, 100], a* and b* about [-110, 110]."""
    lib = _lib(x)
    rgb = _split(x, dim)
    delta = 6 / 29
    f = []
    for row, white in zip(SRGB_TO_XYZ, WHITE_D65, strict=True):
        t = sum(weight * channel for weight, channel in zip(row, rgb, strict=True)) / white
        safe = lib.where(t > delta**3, t, lib.ones_like(t))
        f.append(lib.where(t > delta**3, safe ** (1 / 3), t / (3 * delta**2) + 4 / 29))
    return _stack((116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])), dim)


def lab_to_linear_srgb(lab: np.ndarray) -> np.ndarray:
    """CIELAB D65 (..., 3) -> linear sRGB (..., 3), not clipped; the inverse of ``linear_srgb_to_lab``. Numpy only."""
    fy = (lab[..., 0] + 16.0) / 116.0
    f = np.stack([fy + lab[..., 1] / 500.0, fy, fy - lab[..., 2] / 200.0], axis=-1)
    delta = 6.0 / 29.0
    relative = np.where(f > delta, f**3, 3.0 * delta**2 * (f - 4.0 / 29.0))
    xyz = relative * np.asarray(WHITE_D65)
    return xyz @ np.linalg.inv(np.asarray(SRGB_TO_XYZ)).T


def ita_deg(srgb: Array, dim: int = -1) -> Array:
    """Individual typology angle of sRGB-encoded colours, degrees in (-90, 90]; the channel axis is removed.

    ITA = atan((L* - 50) / b*) (Chardon 1991). Meaningful for skin only, where b* > 0; b* is kept above 1e-3.
    """
    lib = _lib(srgb)
    lightness, _, b = _split(linear_srgb_to_lab(srgb_to_linear(srgb), dim), dim)
    positive_b = lib.where(b < 1e-3, lib.full_like(b, 1e-3), b)
    if lib is np:
        return np.degrees(np.arctan2(lightness - 50.0, positive_b))
    return cast(Array, lib.atan2(lightness - 50.0, positive_b) * (180.0 / math.pi))


def ita_group(ita: float) -> str:
    """Name of the skin-tone group that an angle in degrees falls into."""
    for name, low, _ in ITA_GROUPS:
        if ita > low:
            return name
    return ITA_GROUPS[-1][0]


def encode_normal(n: Array, dim: int = -1) -> Array:
    """Vectors -> stored [0, 1]: made unit length, then n * 0.5 + 0.5."""
    return cast(Array, _normalize(n, dim) * 0.5 + 0.5)


def decode_normal(x: Array, dim: int = -1) -> Array:
    """Stored [0, 1] -> unit vectors in [-1, 1]."""
    return _normalize(cast(Array, x * 2.0 - 1.0), dim)


def _normalize(n: Any, dim: int) -> Any:
    squared = n * n
    total = squared.sum(dim, keepdim=True) if _is_tensor(n) else squared.sum(dim, keepdims=True)
    return n / (total + 1e-12) ** 0.5
