"""Relief and gloss: wrinkles, pores and furrows in mm -> tangent normals, cavities, specular.

Heights are millimetres above the smooth head; normals are tangent space, +Y up (OpenGL).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .bank import POSITION_SIZE, Bank, Head
from .config import LightStageConfig
from .regions import Regions
from .skin import Skin
from .texture import (
    LAYOUT,
    Dice,
    blur,
    curve,
    fractal,
    noise,
    resize,
    smoothstep,
    splat,
    warp,
)

WIDTHS_PX = (1.5, 3.0, 7.0)
"""Half widths of the three classes of creases, layout pixels (about 0.4 mm each)."""


@dataclass
class Creases:
    """Creases of a face: depth (S, S) mm, >= 0, and cover (S, S) in [0, 1]."""

    depth: Tensor
    cover: Tensor


@dataclass
class Relief:
    """Truth of the fine geometry and gloss; maps (1 or 3, S, S)."""

    normal: Tensor
    """(3, S, S) unit, tangent space."""
    cavity: Tensor
    """(1, S, S) openness of the fine relief alone, [0, 1]."""
    ambient_occlusion: Tensor
    specular: Tensor
    translucency: Tensor


def _both_sides(points: list[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    return [points, [(LAYOUT - x, y) for x, y in points]]


def _crease_list(dice: Dice, age: float):
    """(points, depth mm, width class, broken) of this face's creases."""
    old = max(0.0, min(1.0, (age - 22) / 50))
    mm = dice.uniform(0.3, 1.0)
    out = []

    def add(points, depth, width, broken=0.3, jitter=4.0):
        for side in points:
            moved = [(x + dice.normal(0, jitter), y + dice.normal(0, jitter)) for x, y in side]
            out.append((moved, depth * mm * dice.log_uniform(0.6, 1.5), width, broken))

    for _ in range(round(dice.uniform(0, 2.5) + 5 * old)):
        y, half = dice.uniform(165, 280), dice.uniform(60, 200)
        x = 512 + dice.normal(0, 40)
        dip = dice.normal(8, 8)
        line = [
            (x - half, y + dip),
            (x - half / 2, y),
            (x, y + dip * 0.8),
            (x + half / 2, y),
            (x + half, y + dip),
        ]
        add([line], 0.05 + 0.5 * old * dice.uniform(0.2, 1), dice.integer(0, 2), 0.5)
    if dice.chance(0.25 + 0.6 * old):
        add(_both_sides([(494, 318), (490, 290), (494, 262)]), 0.06 + 0.4 * old, 1, 0.1, 3)
    for _ in range(round(6 * old)):
        y = dice.uniform(350, 415)
        add(_both_sides([(325, y), (295, y + (y - 384) * 0.6), (268, y + (y - 380) * 1.3)]),
            0.05 + 0.25 * old, dice.integer(0, 1), 0.4, 6)  # fmt: skip
    for _ in range(dice.integer(0, 3) + round(4 * old)):
        y = dice.uniform(396, 425)
        add(_both_sides([(345, y - 6), (390, y + 6), (435, y - 2)]), 0.04 + 0.18 * old,
            dice.integer(0, 1), 0.4)  # fmt: skip
    add(_both_sides([(342, 372), (365, 352), (400, 346), (436, 362)]),
        dice.uniform(0.05, 0.5), dice.integer(1, 2), 0.05, 3)  # fmt: skip
    if dice.chance(0.6):
        add(_both_sides([(352, 408), (390, 424), (440, 412), (452, 396)]),
            dice.uniform(0.02, 0.25) + 0.3 * old, 2, 0.1, 4)  # fmt: skip
    add(_both_sides([(432, 478), (412, 510), (395, 548), (385, 590), (388, 625)]),
        dice.uniform(0.0, 0.3) + 0.7 * old * dice.uniform(0.3, 1), dice.integer(1, 2), 0.05, 4)  # fmt: skip
    add(
        _both_sides([(432, 462), (424, 486), (432, 512)]),
        dice.uniform(0.1, 0.6),
        dice.integer(1, 2),
        0,
        2,
    )
    add(_both_sides([(404, 592), (398, 606), (400, 640)]),
        dice.uniform(0.02, 0.15) + 0.4 * old, dice.integer(1, 2), 0.1)  # fmt: skip
    add([[(440, 646), (512, 652), (584, 646)]], dice.uniform(0.0, 0.4), 2, 0.1)
    add(_both_sides([(498, 520), (496, 552)]), dice.uniform(-0.3, 0.0), 2, 0, 2)
    for _ in range(round(14 * old * dice.uniform(0, 1))):
        x = dice.uniform(450, 574)
        add([[(x, 545), (x + (x - 512) * 0.04, 528)]], 0.03 + 0.15 * old, 0, 0.1, 2)
    return out


def sample_creases(dice: Dice, config: LightStageConfig, regions: Regions, age: float) -> Creases:
    """Draw the creases of a face of this age (years)."""
    size, device = regions.size, regions.fields.device
    if not dice.chance(config.wrinkles):
        zero = torch.zeros(size, size, device=device)
        return Creases(zero, zero)
    points: list[list[Tensor]] = [[], [], []]
    weights: list[list[Tensor]] = [[], [], []]
    texel = LAYOUT / size
    for line, depth, width, broken in _crease_list(dice, age):
        count = 160
        path = curve(torch.tensor(line, device=device), count)
        t = torch.linspace(0, 1, count, device=device)
        wave = F.interpolate(dice.randn(1, 1, 9), size=count, mode="linear", align_corners=True)[
            0, 0
        ]
        path = path + torch.stack([torch.zeros_like(wave), wave * 1.5], -1)
        profile = (4 * t * (1 - t)).sqrt() * (1 + 0.4 * wave)
        gaps = F.interpolate(dice.randn(1, 1, 7), size=count, mode="linear", align_corners=True)[
            0, 0
        ]
        profile = profile * smoothstep(-2 + 2 * broken, -0.4 + 0.6 * broken, gaps)
        sigma = max(WIDTHS_PX[width] / texel, 0.5)
        lost = min(1.0, WIDTHS_PX[width] / texel / sigma)
        step = (path[1:] - path[:-1]).norm(dim=1).mean() / texel
        mass = depth * profile * math.sqrt(2 * math.pi) * sigma * step * lost
        points[width].append(path)
        weights[width].append(mass)
    total = torch.zeros(size, size, device=device)
    cover = torch.zeros(size, size, device=device)
    for number, width in enumerate(WIDTHS_PX):
        if points[number]:
            hits = splat(torch.cat(points[number]), torch.cat(weights[number]), size)
            sigma = max(width, 0.5 * texel)
            groove = blur(hits[None], sigma)[0]
            total = total + 1.3 * groove - 0.3 * blur(hits[None], sigma * 2.2)[0]
            cover = cover + groove.clamp_min(0) * (1.0, 0.7, 0.2)[number]
    return Creases(total, (cover / 0.5).clamp(0, 1))


def _height(dice: Dice, regions: Regions, creases: Creases, skin: Skin) -> Tensor:
    """Displacement (S, S) in mm of everything that has a height."""
    size = regions.size
    old = max(0.0, min(1.0, (skin.age - 25) / 45))
    height = -creases.depth
    height = height + dice.uniform(0.1, 0.35) * fractal(dice, size, 110, 2)
    height = height + dice.uniform(0.015, 0.06) * fractal(dice, size, 36, 3)
    oily = regions.soft("nose", 40) + 0.6 * regions.soft("cheeks", 60, 10) + 0.3
    texel = LAYOUT / size
    if texel <= 2.01:
        pores = (noise(dice, size, 4.5)[0] - 0.6).clamp_min(0)
        height = height - pores * oily * dice.uniform(0.01, 0.07)
    net = noise(dice, size, 13)[0]
    net = torch.exp(-((net / 0.22) ** 2)) + 0.6 * torch.exp(
        -((noise(dice, size, 30)[0] / 0.1) ** 2)
    )
    height = height - net * dice.uniform(0.008, 0.03) * (1 + 1.5 * old)
    furrow = _lip_furrows(dice, size)
    height = height - skin.lips * furrow * dice.uniform(0.04, 0.2)
    rim = torch.exp(-((regions.distance("lip_edge") / 6) ** 2))
    height = height + rim * dice.uniform(0.0, 0.25) + skin.lips * dice.uniform(0, 0.3)
    lid = torch.exp(-((regions.distance("eye_line") / 7) ** 2))
    height = height - lid * dice.uniform(0.1, 0.7)
    height = height - torch.exp(-((regions.distance("mouth_line") / 6) ** 2)) * dice.uniform(
        0.1, 0.7
    )
    height = height + (skin.brow * 0.25 + skin.beard * 0.18) * dice.uniform(0.4, 1.3)
    height = height + skin.scalp * dice.uniform(0.1, 0.5)
    return height + (skin.marks - 0.8).clamp(0, 1) * dice.uniform(0, 0.3)


def _lip_furrows(dice: Dice, size: int) -> Tensor:
    from .skin import _furrows

    return _furrows(dice, size).clamp_min(0)


def slopes_to_normal(slope_u: Tensor, slope_v: Tensor) -> Tensor:
    """dh/du, dh/dv (dimensionless, (S, S)) -> unit tangent-space normals (3, S, S)."""
    return F.normalize(torch.stack([-slope_u, -slope_v, torch.ones_like(slope_u)]), dim=0)


def height_slopes(height: Tensor, steps_mm: Tensor) -> tuple[Tensor, Tensor]:
    """Slopes along u and v (up) of a height (S, S) in mm; steps_mm (2, S, S) is mm per texel."""
    p = F.pad(height[None, None], (1, 1, 1, 1), mode="replicate")[0, 0]
    du = (p[1:-1, 2:] - p[1:-1, :-2]) * 0.5 / steps_mm[0]
    dv = (p[:-2, 1:-1] - p[2:, 1:-1]) * 0.5 / steps_mm[1]
    return du, dv


def sample_relief(
    dice: Dice,
    config: LightStageConfig,
    bank: Bank,
    head: Head,
    regions: Regions,
    creases: Creases,
    skin: Skin,
) -> Relief:
    """Relief and gloss of one face on one head."""
    size = regions.size
    gain = dice.uniform(*config.detail_gain)
    height = _height(dice, regions, creases, skin) * gain
    steps_mm = resize(head.steps, size) * (1000 * POSITION_SIZE / size)
    steps_mm = steps_mm.clamp_min(0.15 * LAYOUT / size)
    slope_u, slope_v = height_slopes(height, steps_mm)
    valley = torch.zeros_like(height)
    if skin.scan_gain:
        scan = warp(resize(bank.scan_slope, size), skin.scan) * (skin.scan_gain * gain * 0.9)
        hide = 1 - torch.stack([regions.soft("lid", 16, 10), skin.scalp]).amax(0)
        slope_u, slope_v = slope_u + scan[0] * hide, slope_v - scan[1] * hide
        p = F.pad(scan[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
        valley = (p[0, 1:-1, 2:] - p[0, 1:-1, :-2] + p[1, 2:, 1:-1] - p[1, :-2, 1:-1]) * hide
    slope_u, slope_v = slope_u.clamp(-1.2, 1.2), slope_v.clamp(-1.2, 1.2)
    normal = slopes_to_normal(slope_u, slope_v)

    h = height[None]
    sunk = (blur(h, 5) - h) * 0.5 + (blur(h, 16) - h) * 0.35
    cavity = torch.exp(-1.0 * sunk.clamp_min(0) - 0.25 * valley[None].clamp_min(0))
    cavity = cavity * (1 - 0.12 * skin.hair[None]) * _contact(dice, regions)
    macro = resize(head.openness, size).clamp(0, 1)
    return Relief(
        normal,
        cavity,
        (macro * cavity).clamp(0, 1),
        _specular(dice, regions, skin, cavity[0])[None],
        _translucency(dice, regions, skin, resize(head.thickness, size)[0])[None],
    )


def _contact(dice: Dice, regions: Regions) -> Tensor:
    """Openness (1, S, S) lost where the layout's texels touch: between lips and lids, in nostrils."""
    seam = torch.exp(-((regions.distance("mouth_line") / dice.uniform(9, 16)) ** 2))
    rim = torch.exp(-((regions.distance("eye_line") / dice.uniform(6, 12)) ** 2))
    hole = regions.soft("nostrils", 8, dice.uniform(-3, 3))
    lost = (
        seam * dice.uniform(0.3, 0.7)
        + rim * dice.uniform(0.1, 0.4)
        + hole * dice.uniform(0.1, 0.45)
    )
    return (1 - lost - 0.18 * regions.soft("lips", 10))[None].clamp(0.1, 1)


def _blend(regions: Regions, base: float, table: list[tuple[Tensor, float]]) -> Tensor:
    out = torch.full((regions.size, regions.size), base, device=regions.fields.device)
    for mask, value in table:
        out = out * (1 - mask) + value * mask
    return out


def _specular(dice: Dice, regions: Regions, skin: Skin, cavity: Tensor) -> Tensor:
    """Specular intensity (S, S): published regional means, this face's marks, hair and relief."""
    size = regions.size
    level = dice.normal(0, 0.05)
    base = _blend(
        regions, 188 / 255,
        [(regions.soft("forehead", 60), 166 / 255), (regions.soft("cheeks", 60, 20), 195 / 255),
         (regions.soft("nose", 20), 194 / 255), (regions.soft("lid", 14, 4), 144 / 255),
         (regions.soft("ears", 10), 181 / 255), (regions.soft("lips", 6), 117 / 255)],
    )  # fmt: skip
    base = base + level + dice.uniform(0.01, 0.05) * fractal(dice, size, 160, 3)
    base = base * (1 - 0.18 * skin.brow) * (1 - 0.38 * skin.beard) * (1 - 0.55 * skin.scalp)
    base = base * torch.exp(-0.22 * skin.marks.clamp(max=2)) * cavity**0.8
    tone = skin.albedo.mean(0, keepdim=True).clamp_min(1e-3).log()
    fine = (tone - blur(tone, 12))[0].clamp(-1, 0.5)
    base = base * torch.exp(0.35 * fine * (1 - skin.lips)) + skin.gloss
    return base.clamp(0.02, 1)


def _translucency(dice: Dice, regions: Regions, skin: Skin, thickness_m: Tensor) -> Tensor:
    """Subsurface weight (S, S): regional means, thin tissue higher, hair and dark skin lower."""
    brow_zone = torch.maximum(skin.brow, blur(skin.brow[None], 10)[0] * 1.2).clamp(0, 1)
    base = _blend(
        regions, 76 / 255,
        [(regions.soft("forehead", 60), 91 / 255), (regions.soft("nose", 40), 130 / 255),
         (regions.soft("nostrils", 16, 4), 100 / 255), (regions.soft("lid", 16, 6), 130 / 255),
         (regions.soft("chin_tuft", 70, 10), 92 / 255), (regions.soft("ears", 12), 64 / 255),
         (regions.soft("lips", 6), 136 / 255)],
    )  # fmt: skip
    thin = torch.exp(-thickness_m / 0.006)
    base = base * (1 + 0.35 * thin) * (1 - 0.5 * brow_zone) * (1 - 0.35 * skin.beard)
    base = base * (1 - 0.45 * skin.scalp) * torch.exp(-0.12 * skin.marks.clamp(max=2))
    level = skin.albedo[0].mean().clamp_min(0.02)
    base = base * (0.9 + 0.1 * (level / 0.35).clamp(0, 1.5)) * (1 + dice.normal(0, 0.06))
    return base.clamp(0.02, 1)
