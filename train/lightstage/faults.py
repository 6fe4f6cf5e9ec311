"""What stands before the face, and what unwrapping a photo does wrong.

The first group changes the scene (glasses, hat, strands, hand) and runs before the camera; the
second (eye pixels, misfit, unseen side, fill) after it, as core/unwrap.py would.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from . import hair
from .bank import Head, UnwrapMasks
from .config import LightStageConfig
from .regions import Regions
from .texture import (
    Dice,
    blur,
    fractal,
    layout_grid,
    noise,
    resize,
    smoothstep,
    warp,
)
from .visibility import cast_shadow


class HatBrim:
    """A brim around the head: a disc that takes light from above."""

    def __init__(self, dice: Dice, device: torch.device) -> None:
        self.height = dice.uniform(0.055, 0.085)
        self.centre = torch.tensor([0.0, self.height, -0.02], device=device)
        self.reach_x = dice.uniform(0.09, 0.14)
        self.reach_z = dice.uniform(0.12, 0.19)

    def blocks(self, position: Tensor, direction: Tensor) -> Tensor:
        """1 where the ray from positions (3, ...) along a direction (3,) passes, 0 where it is cut."""
        rise = float(direction[1])
        if rise < 0.02:
            return torch.ones_like(position[:1])
        t = (self.height - position[1]) / rise
        x = (position[0] + t * direction[0] - self.centre[0]) / self.reach_x
        z = (position[2] + t * direction[2] - self.centre[2]) / self.reach_z
        edge = smoothstep(0.92, 1.03, (x * x + z * z).sqrt())
        return torch.where(t > 0, edge, torch.ones_like(edge))[None]

    def visible(self, head: Head, directions: Tensor) -> Tensor:
        """The head's visibility (N, D) under the brim."""
        p = F.interpolate(head.position[None], size=head.normal_light.shape[-2:], mode="area")[0]
        p = p.flatten(1)
        up = directions[:, 1].clamp_min(0.02)
        t = (self.height - p[1])[:, None] / up
        x = (p[0][:, None] + t * directions[:, 0] - self.centre[0]) / self.reach_x
        z = (p[2][:, None] + t * directions[:, 2] - self.centre[2]) / self.reach_z
        cut = (x * x + z * z < 1) & (t > 0) & (directions[:, 1] > 0.02)
        return head.visible * ~cut


def strands(dice: Dice, regions: Regions, scene: Tensor, level: Tensor) -> Tensor:
    """Loose hair over forehead, brows and cheeks, with a soft shadow; level is the light (3, S, S)."""
    cover = hair.fringe(dice, regions, dice.integer(4, 18))
    color = torch.tensor(hair.sample_color(dice, dice.uniform(-60, 60), 30), device=scene.device)
    scene = scene * (1 - 0.35 * blur(cover[None], 6))
    return scene * (1 - cover) + color[:, None, None] * level * cover


def glasses(dice: Dice, regions: Regions, scene: Tensor, level: Tensor) -> Tensor:
    """Frames around both eyes, a tint and a reflection in the lenses, a shadow under the rim."""
    size, device = regions.size, scene.device
    x, y = layout_grid(size, device)
    rx, ry = dice.uniform(62, 84), dice.uniform(42, 68)
    power = dice.choice([2.0, 2.6, 4.0])
    cy = dice.uniform(372, 396)
    width = dice.log_uniform(3, 12)
    shift = dice.uniform(4, 22)

    def rim(offset: float) -> tuple[Tensor, Tensor]:
        fields = []
        for cx in (398.0, 626.0):
            r = ((x - cx).abs() / rx) ** power + ((y - cy - offset).abs() / ry) ** power
            fields.append((r.clamp_min(1e-6) ** (1 / power) - 1) * min(rx, ry))
        d = torch.minimum(*fields)
        frame = smoothstep(width / 2 + 2, width / 2 - 1, d.abs())
        bridge = smoothstep(width / 2 + 2, width / 2 - 1, (y - cy - offset + 14).abs())
        bridge = bridge * ((x - 512).abs() < 114 - rx + 4)
        arm = smoothstep(width / 2 + 2, width / 2 - 1, (y - cy - offset + 8).abs())
        arm = arm * ((x - 512).abs() > 114 + rx - 2)
        return torch.maximum(torch.maximum(frame, bridge), arm), smoothstep(2, -2, d)

    frame, lens = rim(0.0)
    shadow = blur(rim(shift)[0][None], dice.uniform(2, 7)) * dice.uniform(0.1, 0.6)
    scene = scene * (1 - shadow)
    tint = dice.uniform(0.0, 0.25) if dice.chance(0.75) else dice.uniform(0.4, 0.9)
    glass = torch.tensor([dice.uniform(0.2, 1.0) for _ in range(3)], device=device)[:, None, None]
    scene = scene * (1 - lens * tint * (1 - 0.4 * glass))
    if dice.chance(0.4):
        glare = smoothstep(0.6, 1.6, fractal(dice, size, 120, 2)) * lens * dice.uniform(0.05, 0.6)
        scene = scene + glare * level.mean()
    metal = dice.chance(0.3)
    tone = torch.tensor([dice.uniform(0.01, 0.08) for _ in range(3)], device=device)
    tone = tone * (6 if metal else 1)
    shine = 1 + (noise(dice, size, 50)[0] * 0.6).clamp_min(-0.5)
    return scene * (1 - frame) + tone[:, None, None] * level * shine * frame


def hand(dice: Dice, regions: Regions, scene: Tensor, albedo: Tensor, level: Tensor) -> Tensor:
    """Fingers laid on cheek or chin, the colour of the face, with a contact shadow."""
    size = regions.size
    x, y = layout_grid(size, scene.device)
    side = dice.choice([-1, 1])
    cover = torch.zeros_like(x)
    ox, oy = 512 + side * dice.uniform(120, 260), dice.uniform(480, 720)
    angle = -math.pi / 2 - side * dice.uniform(0.0, 0.9)
    height = torch.zeros_like(x)
    for finger in range(dice.integer(1, 4)):
        a = angle + (finger - 1.5) * 0.1
        dx, dy = math.cos(a), math.sin(a)
        px, py = x - ox - side * finger * 34, y - oy - finger * 8
        along = (px * dx + py * dy).clamp(-260, dice.uniform(60, 130))
        d = ((px - along * dx) ** 2 + (py - along * dy) ** 2).sqrt()
        radius = dice.uniform(15, 20)
        part = smoothstep(radius + 1.5, radius - 1.5, d)
        cover = torch.maximum(cover, part)
        height = torch.maximum(height, (1 - (d / radius) ** 2).clamp_min(0).sqrt() * part)
    tone = albedo[:, size // 2, size // 3 : size // 3 + 8].mean(-1)[:, None, None]
    skin = tone * (0.45 + 0.6 * height) * level * (1 + 0.06 * fractal(dice, size, 20, 2))
    scene = scene * (1 - 0.5 * blur(cover[None], 9))
    return scene * (1 - cover) + skin * cover


def occlude(
    dice: Dice,
    config: LightStageConfig,
    regions: Regions,
    scene: Tensor,
    albedo: Tensor,
    level: Tensor,
) -> Tensor:
    """Put things before a linear scene (3, S, S). level (3, S, S) is the light there."""
    if dice.chance(config.strands):
        scene = strands(dice, regions, scene, level)
    if dice.chance(config.glasses):
        scene = glasses(dice, regions, scene, level)
    if dice.chance(config.hand):
        scene = hand(dice, regions, scene, albedo, level)
    return scene.clamp_min(0)


def eye_pixels(dice: Dice, regions: Regions, scene: Tensor, level: Tensor) -> Tensor:
    """Sclera and iris where the photo's open eyes fall on the texels of the lids."""
    size, device = regions.size, scene.device
    x, y = layout_grid(size, device)
    upper, lower = dice.log_uniform(3, 34), dice.uniform(1.0, 7)
    gaze = dice.normal(0, 9)
    iris_radius = dice.uniform(17, 23)
    iris = torch.tensor(
        dice.choice([(0.02, 0.012, 0.008), (0.06, 0.035, 0.02), (0.09, 0.12, 0.16), (0.08, 0.09, 0.05)]),
        device=device,
    )  # fmt: skip
    white = torch.tensor([0.55, 0.47, 0.44], device=device) * dice.uniform(0.6, 1.15)
    wet = dice.chance(0.7)
    for side in (0, 1):
        outer, inner = (36, 39) if side == 0 else (45, 42)
        a, b = regions.marks[outer], regions.marks[inner]
        centre, half = (a + b) / 2, (a - b).norm() / 2
        s = ((x - centre[0]) / half).clamp(-1, 1)
        bow = (1 - s * s).clamp_min(0)
        d = torch.maximum((centre[1] - upper * bow) - y, y - (centre[1] + lower * bow))
        open_ = smoothstep(1.5, -1.5, d) * ((x - centre[0]).abs() < half)
        middle = centre[1] - (upper - lower) * 0.5
        r = ((x - centre[0] - gaze) ** 2 + (y - middle) ** 2).sqrt()
        ball = torch.lerp(
            white[:, None, None],
            iris[:, None, None],
            smoothstep(iris_radius + 2, iris_radius - 2, r),
        )
        ball = ball * (1 - 0.96 * smoothstep(iris_radius * 0.42, iris_radius * 0.36, r))
        ball = ball * (0.45 + 0.55 * smoothstep(-upper * 1.1, 0, y - centre[1]))
        eye = ball * level
        if wet:
            spot = torch.exp(-((x - centre[0] - gaze - 5) ** 2 + (y - middle + 5) ** 2) / 8)
            eye = eye + spot * level.mean() * 2
        scene = scene * (1 - open_) + eye * open_
    return scene


def teeth(dice: Dice, regions: Regions, scene: Tensor, level: Tensor) -> Tensor:
    """Teeth or the dark of an open mouth on the texels between the lips."""
    size, device = regions.size, scene.device
    x, y = layout_grid(size, device)
    left, right = regions.marks[60], regions.marks[64]
    centre, half = (left + right) / 2, (right - left).norm() / 2 * dice.uniform(0.6, 1.0)
    s = ((x - centre[0]) / half).clamp(-1, 1)
    bow = (1 - s * s).clamp_min(0).sqrt()
    upper, lower = dice.uniform(1, 12), dice.uniform(1, 14)
    d = torch.maximum((centre[1] - upper * bow) - y, y - (centre[1] + lower * bow))
    gap = smoothstep(2, -2, d) * ((x - centre[0]).abs() < half)
    if dice.chance(0.6):
        tooth = 1 - 0.35 * torch.exp(
            -(((torch.remainder(x - 512, 21) - 10.5).abs() - 10.5) ** 2) / 3
        )
        color = torch.tensor([0.55, 0.5, 0.42], device=device)[:, None, None] * tooth * bow
    else:
        color = torch.tensor([0.05, 0.015, 0.012], device=device)[:, None, None]
    return scene * (1 - gap) + color * level * gap


def push_pull(x: Tensor, weight: Tensor, smallest: int = 4) -> Tensor:
    """Fill (C, S, S) where weight (1, S, S) is 0 from ever wider neighbourhoods."""
    values, weights = [x * weight], [weight]
    while values[-1].shape[-1] > smallest:
        values.append(F.avg_pool2d(values[-1][None], 2)[0])
        weights.append(F.avg_pool2d(weights[-1][None], 2)[0])
    out = values[-1] / weights[-1].clamp_min(1e-6)
    for v, w in zip(values[-2::-1], weights[-2::-1], strict=True):
        out = resize(out, v.shape[-1])
        trust = (w * 4).clamp(0, 1)
        out = out * (1 - trust) + v / w.clamp_min(1e-6) * trust
    return out


def _like_skin(photo: Tensor, tone: Tensor) -> Tensor:
    """(1, S, S) in [0.05, 1]: low for hair, brows, lips and highlights, which must not spread."""
    away = torch.log(photo + 0.05) - torch.log(tone + 0.05)
    shade = away.mean(0)
    colour = (away - shade).abs().amax(0)
    return torch.exp(-((shade / 0.45) ** 2) - (colour / 0.12) ** 2).clamp_min(0.05)[None]


def _mirror_gain(photo: Tensor, mirrored: Tensor, both: Tensor) -> Tensor:
    """Per-channel gain (3, S, S) that brings the mirrored half to this side's light."""
    size = photo.shape[-1]
    sums = resize(torch.cat([photo * both, mirrored * both, both]), 64)
    sums = blur(sums, 70)
    ratio = torch.log((sums[:3] + 1e-3) / (sums[3:6] + 1e-3)).clamp(-1.1, 1.1)
    filled = push_pull(ratio, (sums[6:] * 3).clamp(1e-4, 1))
    return resize(torch.exp(filled), size)


def unwrap(
    dice: Dice,
    photo: Tensor,
    head: Head,
    view: Tensor,
    layout: UnwrapMasks,
    cut: Tensor,
    whole: bool,
) -> tuple[Tensor, Tensor]:
    """What an unwrapped photo (3, S, S) looks like from this view: (texture, visibility (1, S, S)).

    As core/unwrap.py: texels that face away, are hidden, lie past the face or under hair (cut,
    (S, S)) take the mirrored half with its gain matched, then a smooth fill that fades to the tone.
    """
    size = photo.shape[-1]
    facing = (head.normal * view[:, None, None]).sum(0)
    seen = cast_shadow(head.position, head.normal, head.inside, view, 0.002)
    low, high = dice.uniform(0.05, 0.2), dice.uniform(0.3, 0.5)
    weight = (smoothstep(low, high, facing) * seen * head.inside)[None]
    # Grazing texels come from few pixels.
    grazing = resize(smoothstep(0.62, 0.25, facing)[None], size)
    if not whole:
        photo = torch.lerp(photo, blur(photo, dice.uniform(3, 7)), grazing)
    misfit = resize(noise(dice, 64, 300, 2) * 0.6 + noise(dice, 64, 120, 2) * 0.5, size)
    photo = warp(photo, misfit * dice.uniform(1.0, 5.0))
    if dice.chance(0.15) and not whole:  # past the silhouette a misfit brings background in
        wall = torch.tensor([dice.uniform(0, 1) for _ in range(3)], device=photo.device)
        rim = smoothstep(0.22, 0.02, blur(facing[None], 26)) * dice.uniform(0, 1)
        rim = resize(rim, size)
        photo = photo * (1 - rim) + wall[:, None, None] * rim

    if whole:
        return photo, resize(head.inside[None].float(), size)
    reach = smoothstep(
        0.0, 0.6, resize(layout.reach, 64) + dice.normal(0, 0.15) + 0.2 * noise(dice, 64, 120)
    )
    weight = resize(weight * resize(reach, weight.shape[-1]), size)
    weight = weight * (1 - smoothstep(0.1, 0.6, blur(cut[None], 8)))
    shut = 1 - resize(layout.eye_slit, size)
    if dice.chance(0.4):
        ring = warp(resize(layout.mouth_ring, size), misfit * 2)
        shut = shut * (1 - smoothstep(0.2, 0.8, blur(ring, 4)))
    weight = smoothstep(0.4, 0.95, blur(weight, 6)) * shut

    tone = (photo * weight).sum((1, 2), keepdim=True) / weight.sum().clamp_min(1)
    mirrored, mirror_weight = photo.flip(-1), weight.flip(-1)
    mirrored = mirrored * _mirror_gain(photo, mirrored, weight * mirror_weight)
    over = mirror_weight * (1 - weight)
    known = weight + over
    base = (photo * weight + mirrored.clamp(0, 1) * over) / known.clamp_min(1e-4)
    spread = (known * _like_skin(base, tone)).clamp_min(0)
    pull = spread + 0.004
    fill = push_pull((base * spread + tone * 0.004) / pull, pull)
    fill = blur(fill, 8)
    near = push_pull(base, smoothstep(0.5, 0.9, known) + 1e-5)
    texture = torch.lerp(fill, torch.lerp(near, base, known), smoothstep(0.02, 0.6, known))
    return texture.clamp(0, 1), weight
