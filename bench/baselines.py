"""The trivial rows that every table carries: what a method must beat to have learnt anything.

Maps are (S, S, C) float, sRGB-encoded [0, 1] where they are colours; masks (S, S) bool.
"""

from __future__ import annotations

import cv2
import numpy as np

from core.color import linear_to_srgb, srgb_to_linear
from core.environment import estimate_light
from core.errors import FitError
from core.shading import shade_diffuse

FLAT_NORMAL = (0.5, 0.5, 1.0)
_FLOOR = 0.02


def log_high_pass(texture: np.ndarray, mask: np.ndarray, share: float = 1 / 20) -> np.ndarray:
    """The input without what is coarser than ``share`` of the map: exp(log x - blur(log x) + mean(log x))."""
    sigma = share * texture.shape[0]
    weight = mask.astype(np.float32)
    log = np.log(texture.astype(np.float32) + _FLOOR)
    low = cv2.GaussianBlur(log * weight[..., None], (0, 0), sigma)
    low /= np.maximum(cv2.GaussianBlur(weight, (0, 0), sigma), 1e-4)[..., None]
    return np.clip(np.exp(log - low + log[mask].mean(0)) - _FLOOR, 0, 1)


def harmonic_delighting(
    texture: np.ndarray, normals: np.ndarray, weight: np.ndarray, skin: np.ndarray
) -> np.ndarray:
    """The input over the shading of nine spherical harmonics, fitted on skin of one colour.

    normals: (S, S, 3) unit, head space, of the fitted head; weight: (S, S), texels to fit on; skin: (3,)
    the colour assumed. The input itself where no light can be fitted (Basri & Jacobs 2003 gives the nine).
    """
    open_sky = np.ones(texture.shape[:2])
    plain = np.broadcast_to(skin, texture.shape)
    try:
        light = estimate_light(texture, plain, normals, open_sky, weight)
    except FitError:
        return texture
    shading = shade_diffuse(np.ones_like(texture), normals, open_sky, light)
    return linear_to_srgb(np.clip(srgb_to_linear(texture) / np.maximum(shading, 0.05), 0, 1))


def albedo_rows(
    texture: np.ndarray,
    normals: np.ndarray,
    weight: np.ndarray,
    mask: np.ndarray,
    mean: np.ndarray,
) -> dict[str, np.ndarray]:
    """Row name -> albedo (S, S, 3). mean: the training set's mean albedo (S, S, 3)."""
    skin = mean[mask].mean(0)
    return {
        "input as albedo": texture,
        "SH de-lighting": harmonic_delighting(texture, normals, weight, skin),
        "log high-pass": log_high_pass(texture, mask),
        "constant": np.broadcast_to(skin, texture.shape),
        "mean map": mean,
    }
