"""Skin tone held to the photo: a face crop alone does not tell a dark skin from a dim light.

A network that has to guess the absolute level guesses the mean of its training set: light skin comes out brown. The
photographer set exposure and white balance for the whole frame, so the lit skin of the photo is the better witness of
the level; the network is trusted with the departures from it.
"""

from __future__ import annotations

import numpy as np

from .color import lab_to_linear_srgb, linear_srgb_to_lab, linear_to_srgb, srgb_to_linear

LIT_PERCENTILES = (55.0, 85.0)
"""Skin between these luminance percentiles counts as lit: above shadows, below highlights."""
PHOTO_SHARE = 0.25
"""How far the level follows the photo; the rest is the network's."""
L_RANGE = (20.0, 82.0)
A_RANGE = (5.0, 17.0)
B_RANGE = (7.0, 24.0)
"""CIELAB D65 of skin under neutral light, very dark to very light; what lies beyond is the light's colour."""
MIN_B_PER_A = 1.05
"""Skin under neutral light is yellower than it is red; mauve is the camera's or the sky's."""
_MIN_TEXELS = 500


def anchor_tone(
    albedo: np.ndarray, texture: np.ndarray, skin: np.ndarray, share: float = PHOTO_SHARE
) -> np.ndarray:
    """Albedo (S, S, 3) with its skin level moved towards the photo's, one gain per channel in linear light.

    albedo, texture: (S, S, 3) sRGB-encoded [0, 1]; skin: (S, S) bool, texels of skin that were seen. Returned unchanged
    where fewer than 500 such texels are there. share: 0 keeps the network's level, 1 takes the photo's.
    """
    if skin.sum() < _MIN_TEXELS:
        return albedo
    photo, made = srgb_to_linear(texture[skin]), srgb_to_linear(albedo[skin])
    luminance = photo @ np.array([0.2126, 0.7152, 0.0722])
    low, high = np.percentile(luminance, LIT_PERCENTILES)
    lit = (luminance >= low) & (luminance <= high)
    seen, own = photo[lit].mean(0), made[lit].mean(0)
    lab = share * linear_srgb_to_lab(seen) + (1 - share) * linear_srgb_to_lab(own)
    lab = np.clip(lab, [L_RANGE[0], A_RANGE[0], B_RANGE[0]], [L_RANGE[1], A_RANGE[1], B_RANGE[1]])
    lab[2] = max(lab[2], MIN_B_PER_A * lab[1])
    gain = np.clip(lab_to_linear_srgb(lab), 1e-3, 1.0) / np.maximum(own, 1e-3)
    return linear_to_srgb(np.clip(srgb_to_linear(albedo) * gain, 0, 1)).astype(np.float32)
