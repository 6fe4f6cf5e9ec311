"""Building blocks of maps: dice, noise, blur, warps, splats and distances to curves.

Shapes: (C, S, S) maps, top row first; coordinates are in "layout pixels", 1024 to the map,
x right and y down, so that numbers read like positions on a 1024^2 texture at every size.
"""

from __future__ import annotations

import math
import random
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

LAYOUT = 1024.0
"""Layout pixels to the side of a map."""


class Dice:
    """Seeded randomness: scalars from Python, maps from the device's own generator."""

    def __init__(self, seed: int, device: str | torch.device = "cpu") -> None:
        self.device = torch.device(device)
        self._random = random.Random(seed)
        self._maps = torch.Generator(device=self.device)
        self._maps.manual_seed(self._random.getrandbits(62))

    def uniform(self, low: float, high: float) -> float:
        return self._random.uniform(low, high)

    def log_uniform(self, low: float, high: float) -> float:
        return math.exp(self._random.uniform(math.log(low), math.log(high)))

    def normal(self, mean: float = 0.0, std: float = 1.0) -> float:
        return self._random.gauss(mean, std)

    def chance(self, probability: float) -> bool:
        return self._random.random() < probability

    def integer(self, low: int, high: int) -> int:
        """An integer in [low, high]."""
        return self._random.randint(low, high)

    def choice(self, items):
        return self._random.choice(items)

    def fork(self) -> Dice:
        """Independent dice, so that a longer branch does not move what follows it."""
        return Dice(self._random.getrandbits(62), self.device)

    def randn(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self._maps, device=self.device)

    def rand(self, *shape: int) -> Tensor:
        return torch.rand(shape, generator=self._maps, device=self.device)


@lru_cache(maxsize=16)
def layout_grid(size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Layout coordinates of the texel centres: x and y, each (S, S)."""
    axis = (torch.arange(size, device=device) + 0.5) * (LAYOUT / size)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return x, y


def smoothstep(low: float, high: float, x: Tensor) -> Tensor:
    t = ((x - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def resize(x: Tensor, size: int, mode: str = "bilinear") -> Tensor:
    """(C, H, W) -> (C, size, size); area average when shrinking."""
    if x.shape[-1] == size and x.shape[-2] == size:
        return x
    if size < x.shape[-1]:
        return F.interpolate(x[None], size=(size, size), mode="area")[0]
    return F.interpolate(x[None], size=(size, size), mode=mode, align_corners=False)[0]


def blur(x: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of (C, S, S) with sigma in layout pixels; wide ones run at lower resolution."""
    size = x.shape[-1]
    sigma_texels = sigma * size / LAYOUT
    if sigma_texels < 0.2:
        return x
    if sigma_texels > 3.5 and size >= 64:
        return resize(blur(resize(x, size // 2), sigma), size)
    radius = max(1, math.ceil(2.6 * sigma_texels))
    taps = torch.arange(-radius, radius + 1, device=x.device, dtype=x.dtype)
    kernel = torch.exp(-0.5 * (taps / sigma_texels) ** 2)
    kernel = kernel / kernel.sum()
    y = F.pad(x[:, None], (radius, radius, radius, radius), mode="replicate")
    y = F.conv2d(y, kernel[None, None, None, :])
    return F.conv2d(y, kernel[None, None, :, None])[:, 0]


def noise(dice: Dice, size: int, period: float, channels: int = 1) -> Tensor:
    """Smooth noise, zero mean, unit deviation (C, S, S); period in layout pixels."""
    cells = max(2, round(LAYOUT / period))
    if cells >= size:
        return dice.randn(channels, size, size)
    coarse = dice.randn(channels, cells + 3, cells + 3)
    side = max(size, round(size * (cells + 3) / cells))
    middle = 6 * (cells + 3)
    if side > 2 * middle:  # bicubic is slow: use it where it shows, then go on bilinearly
        coarse = F.interpolate(coarse[None], size=(middle, middle), mode="bicubic")[0]
        fine = F.interpolate(coarse[None], size=(side, side), mode="bilinear")[0]
    else:
        fine = F.interpolate(coarse[None], size=(side, side), mode="bicubic")[0]
    offset = dice.integer(0, side - size)
    return fine[:, offset : offset + size, offset : offset + size] * 1.25


def fractal(dice: Dice, size: int, period: float, octaves: int = 4, gain: float = 0.6) -> Tensor:
    """Sum of octaves of smooth noise, about unit deviation, (S, S)."""
    total = torch.zeros(size, size, device=dice.device)
    weight, square = 1.0, 0.0
    for _ in range(octaves):
        if period < LAYOUT / size:
            break
        total += weight * noise(dice, size, period)[0]
        square += weight * weight
        period, weight = period / 2, weight * gain
    return total / math.sqrt(max(square, 1e-9))


def sample_at(x: Tensor, px: Tensor, py: Tensor, mode: str = "bilinear") -> Tensor:
    """Map (C, S, S) read at layout coordinates (H, W) -> (C, H, W); edge clamped."""
    grid = torch.stack([px, py], dim=-1) * (2 / LAYOUT) - 1
    return F.grid_sample(
        x[None], grid[None], mode=mode, padding_mode="border", align_corners=False
    )[0]


def warp(x: Tensor, flow: Tensor) -> Tensor:
    """Read (C, S, S) at its own texels moved by flow (2, S, S) in layout pixels."""
    gx, gy = layout_grid(x.shape[-1], x.device)
    return sample_at(x, gx + flow[0], gy + flow[1])


def splat(points: Tensor, weight: Tensor, size: int) -> Tensor:
    """Bilinear scatter-add of points (N, 2) in layout pixels with weight (N,) -> (S, S)."""
    p = points * (size / LAYOUT) - 0.5
    base = p.floor()
    frac = p - base
    out = torch.zeros(size * size, device=points.device)
    for dy in (0, 1):
        for dx in (0, 1):
            cx, cy = base[:, 0] + dx, base[:, 1] + dy
            w = (frac[:, 0] if dx else 1 - frac[:, 0]) * (frac[:, 1] if dy else 1 - frac[:, 1])
            inside = (cx >= 0) & (cx < size) & (cy >= 0) & (cy < size)
            index = (cy.clamp(0, size - 1) * size + cx.clamp(0, size - 1)).long()
            out.index_add_(0, index, weight * w * inside)
    return out.view(size, size)


def strokes(
    root: Tensor, angle: Tensor, length: Tensor, bend: Tensor, width: Tensor, size: int
) -> Tensor:
    """Coverage of thin curved hairs, (S, S), >= 0; opacity is 1 - exp(-coverage).

    root (N, 2), length (N,), width (N,) in layout pixels; angle (N,) in radians, 0 to the right
    and pi/2 down; bend (N,) is the change of angle from root to tip. Hairs taper to the tip.
    """
    if root.shape[0] == 0:
        return torch.zeros(size, size, device=root.device)
    step = 0.6 * LAYOUT / size
    count = int(max(2, math.ceil(float(length.max()) / step)))
    t = (torch.arange(count, device=root.device) + 0.5) / count
    a = angle[:, None] + bend[:, None] * t
    ds = (length / count)[:, None]
    x = root[:, :1] + torch.cumsum(torch.cos(a) * ds, 1)
    y = root[:, 1:] + torch.cumsum(torch.sin(a) * ds, 1)
    texel = LAYOUT / size
    mass = (width[:, None] * (1 - 0.75 * t)) * ds / (texel * texel)
    points = torch.stack([x, y], dim=-1).reshape(-1, 2)
    return splat(points, mass.reshape(-1), size)


def polyline_distance(points: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Distance of texels (S, S) to a polyline (N, 2), layout pixels."""
    best = torch.full_like(x, 1e9)
    for a, b in zip(points[:-1], points[1:], strict=True):
        d = b - a
        t = ((x - a[0]) * d[0] + (y - a[1]) * d[1]) / (d @ d).clamp_min(1e-9)
        t = t.clamp(0, 1)
        best = torch.minimum(best, (x - a[0] - t * d[0]) ** 2 + (y - a[1] - t * d[1]) ** 2)
    return best.sqrt()


def polygon_distance(points: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Signed distance (S, S) to a closed polygon (N, 2): negative inside, layout pixels."""
    closed = torch.cat([points, points[:1]])
    inside = torch.zeros_like(x, dtype=torch.bool)
    for a, b in zip(closed[:-1], closed[1:], strict=True):
        crosses = (a[1] > y) != (b[1] > y)
        edge = a[0] + (y - a[1]) * (b[0] - a[0]) / (b[1] - a[1] + 1e-12)
        inside ^= crosses & (x < edge)
    distance = polyline_distance(closed, x, y)
    return torch.where(inside, -distance, distance)


def curve(points: Tensor, count: int) -> Tensor:
    """Catmull-Rom through (N, 2) -> (count, 2)."""
    padded = torch.cat([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    s = torch.linspace(0, points.shape[0] - 1 - 1e-4, count, device=points.device)
    i = s.floor().long()
    t = (s - i)[:, None]
    p0, p1, p2, p3 = padded[i], padded[i + 1], padded[i + 2], padded[i + 3]
    return 0.5 * (
        2 * p1
        + (p2 - p0) * t
        + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2
        + (3 * p1 - p0 - 3 * p2 + p3) * t**3
    )
