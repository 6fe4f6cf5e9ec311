"""Light: turned and tinted skies, soft boxes, and hard lights with an exact direction.

Directions point to the light, head space (+x subject's left, +y up, +z out of the face).
Radiance is linear RGB over the bank's D directions; a hard light is kept apart as irradiance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from .config import LightStageConfig
from .texture import Dice

LUMINANCE = (0.2126, 0.7152, 0.0722)


@dataclass
class HardLight:
    """A light that casts an edge: direction (3,), irradiance (3,) at normal incidence."""

    direction: Tensor
    irradiance: Tensor
    softness_m: float
    """Radius of the penumbra on the face."""


@dataclass
class Illumination:
    """All light of one photo. radiance (D, 3); `key` is the direction of most light (3,)."""

    radiance: Tensor
    hard: list[HardLight] = field(default_factory=list)
    mild: bool = False


def kelvin_to_rgb(kelvin: float) -> tuple[float, float, float]:
    """Linear sRGB of a black body, luminance 1; Kang et al. (2002) locus, 1667..25000 K."""
    t = kelvin
    if t < 4000:
        x = -0.2661239e9 / t**3 - 0.2343589e6 / t**2 + 0.8776956e3 / t + 0.179910
    else:
        x = -3.0258469e9 / t**3 + 2.1070379e6 / t**2 + 0.2226347e3 / t + 0.240390
    if t < 2222:
        y = -1.1063814 * x**3 - 1.34811020 * x**2 + 2.18555832 * x - 0.20219683
    elif t < 4000:
        y = -0.9549476 * x**3 - 1.37418593 * x**2 + 2.09137015 * x - 0.16748867
    else:
        y = 3.0817580 * x**3 - 5.87338670 * x**2 + 3.75112997 * x - 0.37001483
    big_x, big_z = x / y, (1 - x - y) / y
    r = 3.2404542 * big_x - 1.5371385 - 0.4985314 * big_z
    g = -0.9692660 * big_x + 1.8760108 + 0.0415560 * big_z
    b = 0.0556434 * big_x - 0.2040259 + 1.0572252 * big_z
    r, g, b = max(r, 0.01), max(g, 0.01), max(b, 0.01)
    scale = LUMINANCE[0] * r + LUMINANCE[1] * g + LUMINANCE[2] * b
    return r / scale, g / scale, b / scale


def equirect_directions(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Directions (H*W, 3) and solid angles (H*W,) of an equirect; centre of the image is +z."""
    v = (torch.arange(height, device=device) + 0.5) / height * math.pi
    u = ((torch.arange(width, device=device) + 0.5) / width - 0.5) * 2 * math.pi
    v, u = torch.meshgrid(v, u, indexing="ij")
    d = torch.stack([v.sin() * u.sin(), v.cos(), v.sin() * u.cos()], -1).reshape(-1, 3)
    omega = (v.sin() * (math.pi / height) * (2 * math.pi / width)).reshape(-1)
    return d, omega


def turn(dice: Dice, tilt_deg: float, device: torch.device) -> Tensor:
    """A random rotation (3, 3) about the vertical, then a small tilt."""
    yaw = dice.uniform(0, 2 * math.pi)
    pitch, roll = (math.radians(dice.normal(0, tilt_deg)) for _ in range(2))
    cy, sy, cp, sp, cr, sr = (f(a) for a in (yaw, pitch, roll) for f in (math.cos, math.sin))
    ry = torch.tensor([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    rx = torch.tensor([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    rz = torch.tensor([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1.0]])
    return (rz @ rx @ ry.float()).to(device)


def gather_sky(environment: Tensor, rotation: Tensor, directions: Tensor) -> tuple[Tensor, list]:
    """An equirect (3, H, W) turned and averaged into directions (D, 3): radiance (D, 3), peaks.

    A sun, a small spot with a large part of the light, is taken out and returned as
    [(direction, irradiance (3,))], since D wide cells would make it a wide lamp.
    """
    where, omega = equirect_directions(*environment.shape[1:], environment.device)
    where = where @ rotation.T
    energy = environment.flatten(1).T * omega[:, None]
    weight = torch.tensor(LUMINANCE, device=environment.device)
    peaks = []
    light = energy @ weight
    peak = int((light / omega).argmax())
    near = where @ where[peak] > math.cos(math.radians(11))
    share = float(light[near].sum() / light.sum())
    if share > 0.12:
        around = (where @ where[peak] > math.cos(math.radians(25))) & ~near
        level = energy[around].sum(0) / omega[around].sum().clamp_min(1e-6)
        sun = (energy[near] - level * omega[near, None]).clamp_min(0)
        total = sun.sum(0)
        centre = F.normalize((where[near] * (sun @ weight)[:, None]).sum(0), dim=0)
        energy = energy.clone()
        energy[near] -= sun
        peaks.append((centre, total))
    nearest = (where @ directions.T).argmax(1)
    radiance = torch.zeros(directions.shape[0], 3, device=environment.device)
    radiance.index_add_(0, nearest, energy)
    return radiance / (4 * math.pi / directions.shape[0]), peaks


def soft_box(
    direction: Tensor, radius_deg: float, irradiance: Tensor, directions: Tensor
) -> Tensor:
    """A round lamp with a soft rim: radiance (D, 3) that gives `irradiance` at normal incidence."""
    cosine = directions @ direction
    edge = math.cos(math.radians(radius_deg))
    lamp = torch.sigmoid((cosine - edge) / max(1e-3, (1 - edge) * 0.25))
    power = (lamp * cosine.clamp_min(0)).sum() * (4 * math.pi / directions.shape[0])
    return lamp[:, None] * irradiance / power.clamp_min(1e-6)


def _direction(dice: Dice, azimuth_deg: float, elevation_deg: float, device) -> Tensor:
    a, e = math.radians(azimuth_deg), math.radians(elevation_deg)
    return torch.tensor(
        [math.cos(e) * math.sin(a), math.sin(e), math.cos(e) * math.cos(a)], device=device
    )


def _color(dice: Dice, config: LightStageConfig, device) -> Tensor:
    color = torch.tensor(kelvin_to_rgb(dice.uniform(2500, 9000)), device=device)
    color = color ** dice.uniform(0.3, 0.85)
    if dice.chance(config.coloured_light * 0.6):
        gel = torch.tensor([dice.uniform(0.25, 1) for _ in range(3)], device=device)
        color = color * gel / gel.mean()
    return color


def sample_illumination(
    dice: Dice, config: LightStageConfig, environments: Tensor, skies: list[int], directions: Tensor
) -> Illumination:
    """Light for one photo from the skies allowed (indices into environments (E, 3, H, W))."""
    device = directions.device
    weight = torch.tensor(LUMINANCE, device=device)
    sky = environments[dice.choice(skies)]
    radiance, peaks = gather_sky(sky, turn(dice, 8, device), directions)
    if not dice.chance(config.coloured_light):
        mean = radiance.mean(0)
        radiance = radiance * (mean.mean() / mean.clamp_min(1e-6)) ** dice.uniform(0.6, 1.0)
    tint = torch.tensor(kelvin_to_rgb(dice.uniform(3500, 8500)), device=device) ** 0.6
    radiance = radiance * tint
    grey = (radiance @ weight)[:, None]
    radiance = grey + (radiance - grey) * dice.uniform(0.4, 1.0)
    even = dice.uniform(0.0, 0.55)  # walls, clothes and reflectors fill every real scene
    radiance = radiance * (1 - even) + radiance.mean(0) * even
    mild = dice.chance(config.mild_light)
    light = Illumination(radiance, mild=mild)
    sky_irradiance = math.pi * float((radiance @ weight).mean())
    for direction, irradiance in peaks:
        scale = dice.uniform(0.02, 0.12) if mild else dice.log_uniform(0.15, 1.0)
        light.hard.append(
            HardLight(direction, irradiance * tint * scale, dice.uniform(0.001, 0.004))
        )
    if mild:
        front = _direction(dice, dice.normal(0, 25), dice.uniform(0, 40), device)
        power = _color(dice, config, device) * sky_irradiance * dice.uniform(0.2, 1.2)
        radiance = radiance + soft_box(front, dice.uniform(35, 75), power, directions)
        light.radiance = 0.5 * radiance + 0.5 * (radiance @ weight).mean() * tint
        return light
    if dice.chance(config.hard_light):
        azimuth = dice.choice([-1, 1]) * dice.uniform(20, 110)
        key = _direction(dice, azimuth, dice.uniform(-10, 65), device)
        power = _color(dice, config, device) * sky_irradiance * dice.log_uniform(0.5, 3.0)
        light.hard.append(HardLight(key, power, dice.log_uniform(0.0006, 0.009)))
    count = dice.integer(1, 3) if dice.chance(config.extra_lights) else 0
    for _ in range(count):
        where = _direction(dice, dice.uniform(-150, 150), dice.normal(20, 25), device)
        power = _color(dice, config, device) * sky_irradiance * dice.log_uniform(0.2, 2.0)
        lamp = soft_box(where, dice.log_uniform(14, 50), power, directions)
        light.radiance = light.radiance + lamp
    return light


def residual_light(directions: Tensor) -> Tensor:
    """The soft frontal light left in `raw_diffuse`: radiance (D, 3), the same for every face.

    Its tint and level make a light cheek of (222, 155, 123) the light-normalised (185, 139, 121).
    """
    front = torch.tensor([0.0, 0.25, 1.0], device=directions.device)
    front = front / front.norm()
    lamp = ((directions @ front) * 0.5 + 0.5).clamp_min(0) ** 2 + 0.08
    e = lamp[:, None] * (directions @ front).clamp_min(0)[:, None]
    scale = math.pi / (e.sum() * (4 * math.pi / directions.shape[0]))
    tint = torch.tensor([0.72, 0.83, 0.98], device=directions.device)
    return lamp[:, None] * scale * tint
