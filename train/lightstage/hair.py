"""Hair drawn strand by strand: brows, lashes, stubble, beard, and the scalp's cover.

Every function returns an opacity map (S, S) in [0, 1]; the caller lays a hair colour under it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .regions import Regions
from .texture import (
    LAYOUT,
    Dice,
    blur,
    curve,
    fractal,
    layout_grid,
    noise,
    sample_at,
    smoothstep,
    strokes,
)

HAIR_COLORS = {
    "black": (0.012, 0.010, 0.009),
    "dark": (0.028, 0.020, 0.015),
    "brown": (0.065, 0.040, 0.024),
    "light brown": (0.13, 0.085, 0.05),
    "blond": (0.28, 0.20, 0.11),
    "red": (0.16, 0.065, 0.028),
    "grey": (0.22, 0.195, 0.165),
    "white": (0.46, 0.43, 0.38),
}
"""Linear sRGB reflectance of hair seen as a mass."""


def sample_color(dice: Dice, ita_deg: float, age: float) -> tuple[float, float, float]:
    """A hair colour that goes with the skin and the age in years; linear sRGB."""
    if ita_deg < 20:
        names, weights = ["black", "dark", "brown"], [0.65, 0.3, 0.05]
    elif ita_deg < 41:
        names, weights = ["black", "dark", "brown", "light brown"], [0.3, 0.35, 0.25, 0.1]
    else:
        names = ["black", "dark", "brown", "light brown", "blond", "red"]
        weights = [0.12, 0.22, 0.26, 0.16, 0.16, 0.08]
    pick, name = dice.uniform(0, sum(weights)), names[-1]
    for name, weight in zip(names, weights, strict=True):  # noqa: B007
        pick -= weight
        if pick <= 0:
            break
    base = HAIR_COLORS[name]
    grey = max(0.0, min(1.0, (age - dice.uniform(40, 85)) / 20))
    target = HAIR_COLORS["grey" if dice.chance(0.6) else "white"]
    gain = dice.log_uniform(0.75, 1.35)
    r, g, b = ((b_ * (1 - grey) + t * grey) * gain for b_, t in zip(base, target, strict=True))
    return r, g, b


def brows(dice: Dice, regions: Regions) -> Tensor:
    """Both eyebrows: strands over a soft root shade."""
    size, device = regions.size, regions.fields.device
    density = dice.log_uniform(0.35, 1.6)
    thickness = dice.log_uniform(13, 38)
    arch, lift = dice.normal(0, 6), dice.normal(-2, 7)
    tail = dice.uniform(-0.12, 0.18)
    inner = dice.normal(0, 6)
    unruly = dice.uniform(0.08, 0.4)
    length = dice.uniform(15, 30)
    width = dice.uniform(0.8, 1.5)
    powder = dice.uniform(0.05, 0.5) if dice.chance(0.4) else dice.uniform(0, 0.12)
    cover = torch.zeros(size, size, device=device)
    shade = torch.zeros(size, size, device=device)
    for side in (0, 1):
        marks = regions.marks[17:22] if side == 0 else regions.marks[22:27].flip(0)
        path = curve(marks, 64).clone()
        t = torch.linspace(0, 1, 64, device=device)
        path[:, 1] += lift + dice.normal(0, 2.5) + 4 - arch * (4 * t * (1 - t))
        out = 1.0 if side else -1.0
        path[:, 0] += out * (1 - t) * tail * 60 - out * t * inner
        profile = (smoothstep(0.0, 0.35, t) * 0.75 + 0.25) * (1 - 0.25 * smoothstep(0.85, 1.0, t))
        count = int(420 * density)
        s = dice.rand(count) ** 0.85
        across = (dice.rand(count) + dice.rand(count) - 1) * 0.62
        index = (s * 63).long().clamp(0, 62)
        tangent = path[index + 1] - path[index]
        tangent = tangent / tangent.norm(dim=1, keepdim=True)
        normal = torch.stack([-tangent[:, 1], tangent[:, 0]], -1)
        normal = normal * torch.where(normal[:, 1:] < 0, -1.0, 1.0)
        span = thickness * profile[index]
        root = path[index] + normal * (across * span)[:, None]
        # t runs from the tail (0) to the inner end (1); strands point to the tail.
        along = torch.atan2(-tangent[:, 1], -tangent[:, 0])
        upright = (s - 0.62).clamp_min(0) / 0.38
        up = torch.full_like(along, -math.pi / 2)
        turn = torch.remainder(up - along + math.pi, 2 * math.pi) - math.pi
        lean = turn * (upright * 0.85 + (across > 0.1) * 0.25 - (across < -0.2) * 0.15)
        angle = along + lean + dice.randn(count) * unruly
        bend = -lean * 0.5 + dice.randn(count) * 0.2
        lengths = length * (0.55 + 0.6 * dice.rand(count)) * (0.65 + 0.35 * profile[index])
        widths = width * (0.6 + 0.8 * dice.rand(count))
        cover += strokes(root, angle, lengths, bend, widths, size)
        roots = torch.full((count,), 1.0, device=device)
        shade += strokes(root, angle, lengths * 0.5, bend, widths * roots, size)
    soft = blur(torch.stack([cover + 0.5 * shade]), 7)[0]
    return 1 - torch.exp(-(cover * 1.15 + soft * (0.2 + 1.2 * powder)))


def lashes(dice: Dice, regions: Regions, amount: float) -> Tensor:
    """Upper lashes and the dark line between the lids."""
    size, device = regions.size, regions.fields.device
    lift = dice.uniform(0, 32)
    cover = torch.zeros(size, size, device=device)
    for side in (0, 1):
        marks = regions.marks[36:40] if side == 0 else regions.marks[42:46].flip(0)
        path = curve(marks, 48).clone()
        t = torch.linspace(0, 1, 48, device=device)
        path[:, 1] -= lift * (4 * t * (1 - t)) ** 0.6
        count = dice.integer(60, 140)
        index = (dice.rand(count) * 47).long()
        out = -1.0 if side == 0 else 1.0
        spread = (0.45 - t[index]) * 1.5
        angle = -math.pi / 2 + out * spread + dice.randn(count) * 0.15
        lengths = (10 + 12 * dice.rand(count)) * amount
        cover += strokes(path[index], angle, lengths, -out * spread * 0.6,
                         0.9 + 0.5 * dice.rand(count), size) * 0.55  # fmt: skip
    line = torch.exp(-((regions.distance("eye_line") / dice.uniform(2.0, 4.5)) ** 2))
    return (1 - torch.exp(-cover)) * min(1.0, amount) + (1 - (1 - torch.exp(-cover))) * line * 0.85


def _scatter(dice: Dice, zone: Tensor, count: int, top: float = 420.0) -> Tensor:
    """About `count` random points (N, 2), denser where zone (S, S) is higher."""
    tries = count * 3
    p = torch.stack([200 + dice.rand(tries) * 624, top + dice.rand(tries) * (820 - top)], -1)
    chance = sample_at(zone[None], p[None, :, 0], p[None, :, 1])[0, 0]
    return p[dice.rand(tries) < chance]


def beard(dice: Dice, regions: Regions) -> tuple[Tensor, Tensor]:
    """Opacity of the strands, and the shade (S, S) of roots under the skin (grey-blue)."""
    size, device = regions.size, regions.fields.device
    wobble = fractal(dice, size, 60, 3) * 9
    full = regions.soft("beard", 22, -dice.uniform(0, 25), wobble)
    parts = torch.stack(
        [full, regions.soft("moustache", 8, dice.uniform(-2, 6), wobble * 0.5),
         regions.soft("chin_tuft", 16, dice.uniform(-10, 15), wobble)]
    )  # fmt: skip
    style = dice.uniform(0, 1)
    if style < 0.5:
        gains = (dice.uniform(0.5, 1), dice.uniform(0.6, 1), dice.uniform(0.6, 1))
    elif style < 0.65:
        gains = (dice.uniform(0, 0.25), 1.0, dice.uniform(0, 0.2))
    elif style < 0.85:
        gains = (dice.uniform(0, 0.3), dice.uniform(0.6, 1), 1.0)
    else:
        gains = (dice.uniform(0.3, 0.8), dice.uniform(0.3, 1), dice.uniform(0.3, 1))
    zone = (parts * torch.tensor(gains, device=device)[:, None, None]).amax(0)
    patchy = torch.sigmoid(fractal(dice, size, 45, 3) * 1.2 + dice.uniform(0, 2.5))
    keep = 1 - regions.soft("lips", 3, 2)
    zone = zone * patchy * keep * (1 - regions.soft("nose", 5))
    stage = dice.uniform(0, 1)
    x, _ = layout_grid(size, device)
    if stage < 0.5:
        length, count, width = dice.uniform(2, 5), dice.integer(6000, 15000), dice.uniform(0.7, 1.2)
    else:
        length, count, width = (
            dice.uniform(8, 38),
            dice.integer(4000, 11000),
            dice.uniform(0.8, 1.4),
        )
    root = _scatter(dice, zone, count)
    n = root.shape[0]
    side = ((root[:, 0] - 512) / 300).clamp(-1, 1)
    lip = ((585 - root[:, 1]) / 60).clamp(0, 1)
    angle = math.pi / 2 - side * (0.5 + 0.7 * lip) + dice.randn(n) * dice.uniform(0.15, 0.5)
    lengths = length * (0.5 + dice.rand(n)) * (0.6 + 0.4 * (root[:, 1] > 560))
    cover = strokes(
        root, angle, lengths, dice.randn(n) * 0.4, width * (0.6 + 0.8 * dice.rand(n)), size
    )
    roots = blur(zone[None], 10)[0] * dice.uniform(0.08, 0.28)
    thick = blur(cover[None], 5)[0] * (0.5 if stage >= 0.5 else 0.1)
    return (1 - torch.exp(-(cover + thick))) * keep, roots


def scalp(dice: Dice, regions: Regions) -> tuple[Tensor, Tensor]:
    """Opacity of the hair on the head and its streaks (S, S), mean about 1."""
    size, device = regions.size, regions.fields.device
    x, y = layout_grid(size, device)
    recede = dice.normal(0, 14) - (dice.uniform(20, 70) if dice.chance(0.15) else 0)
    wobble = fractal(dice, size, 90, 3) * 10
    d = regions.distance("hair") + wobble - recede
    edge = dice.uniform(8, 26)
    base = smoothstep(edge * 0.4, -edge * 1.4, d)
    angle = torch.atan2(x - 512, 470 - y + 1e-3)
    radius = ((x - 512) ** 2 + (y - 470) ** 2).sqrt()
    tile = noise(dice, 256, 8, 2)
    wave = fractal(dice, size, 160, 3) * dice.uniform(4, 22)
    u = torch.remainder(angle * dice.uniform(450, 800) + wave, LAYOUT)
    v = torch.remainder(radius * dice.uniform(0.08, 0.3), LAYOUT)
    streak = sample_at(tile, u, v)
    streaks = torch.exp(0.45 * streak[0] + 0.25 * wave / 30)
    count = dice.integer(500, 1400)
    a = (dice.rand(count) - 0.5) * 2.6
    rough = dice.rand(count) * 30 - 8
    path_r = 340.0
    px, py = 512 + torch.sin(a) * path_r * 0.82, 470 - torch.cos(a) * path_r
    for _ in range(3):  # walk to the hairline along the ray
        here = sample_at(regions.distance("hair")[None], px[None], py[None])[0, 0] - recede
        px, py = px + torch.sin(a) * here, py - torch.cos(a) * here
    root = torch.stack([px + torch.sin(a) * rough, py - torch.cos(a) * rough], -1)
    direction = torch.atan2(-torch.cos(a), torch.sin(a)) + dice.randn(count) * 0.5
    cover = strokes(root, direction, 15 + 45 * dice.rand(count), dice.randn(count) * 0.6,
                    0.7 + 0.7 * dice.rand(count), size)  # fmt: skip
    edge_hair = (1 - torch.exp(-cover)) * smoothstep(45, 0, d)
    opacity = 1 - (1 - base * (0.86 + 0.14 * torch.tanh(streak[1]))) * (1 - edge_hair)
    return opacity.clamp(0, 1), streaks


def fringe(dice: Dice, regions: Regions, count: int | None = None) -> Tensor:
    """Hair falling on the forehead, in locks."""
    locks = dice.integer(1, 9)
    size, device = regions.size, regions.fields.device
    cover = torch.zeros(size, size, device=device)
    sweep = dice.normal(0, 0.5)
    for _ in range(locks):
        n = count or dice.integer(25, 110)
        start = 512 + dice.normal(0, 130)
        root = torch.stack([start + dice.randn(n) * 16, 130 + dice.rand(n) * 22], -1)
        angle = math.pi / 2 + sweep + dice.normal(0, 0.3) + dice.randn(n) * 0.06
        length = dice.uniform(40, 190) * (0.7 + 0.5 * dice.rand(n))
        bend = dice.normal(0, 0.6) + dice.randn(n) * 0.08
        cover += strokes(root, angle, length, bend, 0.9 + 0.7 * dice.rand(n), size)
    return 1 - torch.exp(-cover * 1.1)
