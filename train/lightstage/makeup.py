"""Make-up: foundation, blush, shadow, liner, lipstick, painted over linear albedo."""

from __future__ import annotations

import torch
from torch import Tensor

from .config import LightStageConfig
from .regions import Regions
from .texture import Dice, blur, layout_grid, smoothstep


def column(color: tuple[float, float, float], like: Tensor) -> Tensor:
    return torch.tensor(color, device=like.device)[:, None, None]


def paint(base: Tensor, color: tuple[float, float, float], opacity: Tensor) -> Tensor:
    c = torch.tensor(color, device=base.device)[:, None, None]
    return base * (1 - opacity) + c * opacity


def apply_makeup(
    dice: Dice,
    config: LightStageConfig,
    regions: Regions,
    albedo: Tensor,
    lips: Tensor,
    gloss: Tensor,
    darkness: float,
) -> tuple[Tensor, float, Tensor]:
    """Foundation, blush, shadow, liner, lipstick. Returns albedo, strength of lashes, gloss."""
    lash_gain = dice.uniform(0.3, 1.0)
    if dice.chance(config.makeup):
        size = regions.size
        lash_gain = dice.uniform(0.8, 1.7)
        if dice.chance(0.5):
            even = dice.uniform(0.2, 0.7) * regions.soft("face", 40)
            albedo = torch.lerp(albedo, blur(albedo, 30), even * (1 - lips))
        if dice.chance(0.5):
            blush = regions.soft("cheeks", 60, 10) * dice.uniform(0.08, 0.4)
            tint = (1.0, dice.uniform(0.5, 0.75), dice.uniform(0.5, 0.8))
            albedo = albedo * (1 - blush + blush * column(tint, albedo))
        if dice.chance(0.6):
            tint = dice.choice(
                [(0.5, 0.35, 0.3), (0.35, 0.3, 0.33), (0.55, 0.4, 0.5), (0.9, 0.7, 0.6),
                 (0.3, 0.4, 0.5), (0.6, 0.45, 0.25), (0.2, 0.2, 0.2)]
            )  # fmt: skip
            shadow = regions.soft("lid", 14, dice.uniform(-2, 12)) * dice.uniform(0.15, 0.75)
            albedo = albedo * (1 - shadow + shadow * column(tint, albedo))
        if dice.chance(0.6):
            y = layout_grid(size, albedo.device)[1]
            line = torch.exp(-((regions.distance("eye_line") / dice.uniform(3, 8)) ** 2))
            line = line * (1.0 if dice.chance(0.4) else smoothstep(400, 384, y))
            albedo = paint(albedo, (0.015, 0.012, 0.012), line * dice.uniform(0.4, 0.95))
    if dice.chance(config.lipstick):
        color = dice.choice(
            [(0.45, 0.03, 0.05), (0.3, 0.02, 0.05), (0.5, 0.12, 0.14), (0.55, 0.2, 0.2),
             (0.35, 0.12, 0.1), (0.14, 0.02, 0.04), (0.6, 0.1, 0.25), (0.25, 0.08, 0.07)]
        )  # fmt: skip
        gain = dice.uniform(0.7, 1.3) * (1 - 0.4 * darkness)
        grey = albedo.mean(0, keepdim=True)
        detail = grey / blur(grey, 12).clamp_min(1e-3)
        cover = regions.soft("lips", 2.5, dice.uniform(-1.5, 2.0)) * dice.uniform(0.35, 0.95)
        albedo = albedo * (1 - cover) + column(color, albedo) * gain * detail * cover
        gloss = gloss + cover * dice.uniform(0, 0.35)
    return albedo, lash_gain, gloss
