"""The level of the albedo follows the lit skin of the photo."""

from __future__ import annotations

import numpy as np

from core.color import (
    ita_deg,
    lab_to_linear_srgb,
    linear_srgb_to_lab,
    linear_to_srgb,
    srgb_to_linear,
)
from core.skin_tone import anchor_tone

LIGHT, DARK = np.array([0.80, 0.63, 0.55]), np.array([0.42, 0.30, 0.25])


def face(color: np.ndarray, shade: float = 1.0) -> np.ndarray:
    """(64, 64, 3): one skin, its left half in shadow by ``shade`` (linear)."""
    image = np.tile(srgb_to_linear(color), (64, 64, 1))
    image[:, :32] *= shade
    return linear_to_srgb(image).astype(np.float32)


def test_lab_there_and_back() -> None:
    colors = np.random.default_rng(0).uniform(0, 1, (50, 3))
    np.testing.assert_allclose(lab_to_linear_srgb(linear_srgb_to_lab(colors)), colors, atol=1e-6)


def test_level_moves_to_the_photo_and_relief_stays() -> None:
    skin = np.ones((64, 64), bool)
    network = face(np.array([0.60, 0.46, 0.40]))
    network[10:20, 40:50] *= 0.7  # a mole keeps its contrast
    for tone in (LIGHT, DARK):
        out = anchor_tone(network, face(tone, shade=0.3), skin, share=1.0)
        assert abs(float(ita_deg(out[40, 40])) - float(ita_deg(tone))) < 3
        ratio = srgb_to_linear(out[15, 45]) / srgb_to_linear(out[40, 40])
        given = srgb_to_linear(network[15, 45]) / srgb_to_linear(network[40, 40])
        np.testing.assert_allclose(ratio, given, rtol=1e-3)


def test_coloured_light_is_not_taken_for_skin() -> None:
    orange = face(np.array([0.95, 0.55, 0.15]))
    out = anchor_tone(face(np.array([0.6, 0.46, 0.4])), orange, np.ones((64, 64), bool), share=1.0)
    assert linear_srgb_to_lab(srgb_to_linear(out[32, 32]))[2] < 25


def test_mauve_cast_is_taken_back() -> None:
    mauve = face(np.array([0.62, 0.47, 0.50]))
    out = anchor_tone(mauve, mauve, np.ones((64, 64), bool), share=1.0)
    _, a, b = linear_srgb_to_lab(srgb_to_linear(out[32, 32]))
    assert b > 0.85 * a > 0


def test_too_little_skin_leaves_the_albedo() -> None:
    network = face(LIGHT)
    assert anchor_tone(network, face(DARK), np.zeros((64, 64), bool)) is network
