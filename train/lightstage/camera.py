"""The photograph: exposure, white balance, tone curve, sensor, lens, compression.

Scene linear (3, S, S) -> sRGB-like [0, 1]. Torch approximations, one face at a time.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from core.color import linear_to_srgb

from .lights import LUMINANCE
from .texture import LAYOUT, Dice, blur, noise, resize

_LUMA_TABLE = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113,
    92, 49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


def expose(dice: Dice, scene: Tensor, light: Tensor, mask: Tensor, tone: float) -> Tensor:
    """Scale a linear scene as a camera's metering and white balance would.

    light (3, S, S) is the irradiance / pi on the face, mask (1, S, S) where to meter; tone is the
    mean reflectance of the skin, which metering brings part of the way to grey.
    """
    total = mask.sum().clamp_min(1)
    mean = (light * mask).sum((1, 2)) / total
    luminance = (mean * torch.tensor(LUMINANCE, device=scene.device)).sum().clamp_min(1e-6)
    # White balance takes out most of the light's colour, and errs a little.
    balance = (luminance / mean.clamp_min(1e-6)) ** dice.uniform(0.65, 1.05)
    error = torch.tensor([dice.normal(0, 0.05), dice.normal(0, 0.02), dice.normal(0, 0.06)])
    gain = balance * torch.exp(error.to(scene.device))
    meter = (0.32 / max(tone, 0.02)) ** dice.uniform(0.0, 0.35)
    stops = dice.normal(-0.05, 0.35)
    return scene * gain[:, None, None] * (meter * 2**stops / luminance)


def tone_curve(dice: Dice, linear: Tensor) -> Tensor:
    """Linear [0, inf) -> encoded [0, 1]: a shoulder, an encoding, contrast, saturation."""
    if dice.chance(0.6):
        knee = dice.uniform(0.55, 0.9)
        over = (linear - knee).clamp_min(0)
        span = dice.uniform(0.25, 0.6)
        linear = torch.minimum(linear, torch.full_like(linear, knee)) + span * (
            1 - torch.exp(-over / span)
        )
    linear = linear.clamp(0, 1)
    if dice.chance(0.75):
        encoded = linear_to_srgb(linear)
    else:
        encoded = linear.clamp_min(1e-5) ** (1 / dice.uniform(1.9, 2.5))
    contrast = dice.uniform(-0.1, 0.45)
    curved = encoded * encoded * (3 - 2 * encoded)
    encoded = encoded + contrast * (curved - encoded)
    grey = (encoded * torch.tensor(_YCC[0], device=encoded.device)[:, None, None]).sum(0)
    return (grey + (encoded - grey) * dice.uniform(0.85, 1.4)).clamp(0, 1)


def compress(encoded: Tensor, quality: float) -> Tensor:
    """JPEG's 8x8 quantisation at a quality in 1..100, chroma at half resolution."""
    size = encoded.shape[-1]
    device = encoded.device
    scale = 50 / quality if quality < 50 else 2 - quality / 50
    i = torch.arange(8, device=device, dtype=encoded.dtype)
    dct = torch.cos((2 * i[None] + 1) * i[:, None] * math.pi / 16) * 0.5
    dct[0] /= math.sqrt(2)
    table = (torch.tensor(_LUMA_TABLE, device=device).float() * scale).clamp_min(1).view(8, 8)
    ycc = torch.einsum("kc,chw->khw", torch.tensor(_YCC, device=device), encoded * 255)

    def quantise(plane: Tensor, steps: Tensor) -> Tensor:
        side = plane.shape[-1]
        b = (plane - 128 * (steps is table)).view(side // 8, 8, side // 8, 8).permute(0, 2, 1, 3)
        spectrum = dct @ b @ dct.T
        spectrum = (spectrum / steps).round() * steps
        b = (dct.T @ spectrum @ dct).permute(0, 2, 1, 3).reshape(side, side)
        return b + 128 * (steps is table)

    luma = quantise(ycc[0], table)
    chroma = resize(ycc[1:], size // 2)
    coarse = (table * 1.4).clamp(max=110)
    chroma = resize(torch.stack([quantise(c, coarse) for c in chroma]), size)
    r = luma + 1.402 * chroma[1]
    g = luma - 0.344136 * chroma[0] - 0.714136 * chroma[1]
    b = luma + 1.772 * chroma[0]
    return (torch.stack([r, g, b]) / 255).clamp(0, 1)


def photograph(dice: Dice, linear: Tensor) -> Tensor:
    """An exposed linear scene (3, S, S) -> the photo's encoded values, lens and sensor included."""
    size = linear.shape[-1]
    if dice.chance(0.45):
        linear = blur(linear, dice.log_uniform(0.8, 4.0))
    if dice.chance(0.3):
        low = max(96, int(size * dice.uniform(0.35, 0.8)))
        linear = F.interpolate(resize(linear, low)[None], size=(size, size), mode="bicubic")[0]
        linear = linear.clamp_min(0)
    if dice.chance(0.75):
        shot, read = dice.log_uniform(0.002, 0.03), dice.log_uniform(0.0005, 0.006)
        grain = dice.randn(3, size, size)
        if dice.chance(0.5):
            coarse = noise(dice, size, dice.uniform(2.0, 5.0) * LAYOUT / size, 3)
            grain = 0.6 * grain + 0.6 * coarse
        grain = grain * 0.7 + grain.mean(0, keepdim=True) * 0.7
        linear = linear + grain * (shot * linear.clamp_min(0).sqrt() * 0.5 + read)
    encoded = tone_curve(dice, linear.clamp_min(0))
    if dice.chance(0.25):
        sharp = dice.uniform(0.2, 0.9)
        encoded = (encoded + sharp * (encoded - blur(encoded, 3.0))).clamp(0, 1)
    if dice.chance(0.6) and size % 16 == 0:
        encoded = compress(encoded, dice.uniform(40, 95))
    return encoded.clamp(0, 1)
