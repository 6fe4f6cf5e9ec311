"""The colour of one face: melanin and blood maps, marks, hair and make-up -> linear albedo."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from core.color import linear_srgb_to_lab

from . import hair
from .bank import Bank
from .config import LightStageConfig
from .makeup import apply_makeup, column, paint
from .regions import Regions
from .texture import (
    LAYOUT,
    Dice,
    blur,
    fractal,
    layout_grid,
    noise,
    resize,
    sample_at,
    smoothstep,
    splat,
    warp,
)


@dataclass
class Skin:
    """One face's colour and the layers the relief and the gloss follow; all maps at size S."""

    albedo: Tensor
    """(3, S, S) linear sRGB reflectance."""
    scene_albedo: Tensor
    """The albedo the camera sees: with the scalp hair that unwrapping will cut off."""
    cut: Tensor
    """(S, S) opacity of scalp hair that unwrapping cuts off."""
    whole: bool
    """The input covers the whole layout, not the face alone."""
    hair: Tensor
    """(S, S) opacity of brows, beard, lashes and scalp hair."""
    brow: Tensor
    beard: Tensor
    marks: Tensor
    """(S, S) >= 0, strength of freckles, moles and spots."""
    lips: Tensor
    scalp: Tensor
    """(S, S) opacity of the scalp's hair alone."""
    scan: Tensor
    """(2, S, S) flow at which the scan's bands are read, layout pixels."""
    scan_gain: float
    age: float
    ita_deg: float
    gloss: Tensor
    """(S, S) extra specular of lipstick and other make-up."""


def _spots(dice: Dice, zone: Tensor, count: int, sigma: float, size: int) -> Tensor:
    """Bumps of unit peak and random strength, (S, S)."""
    if count < 1:
        return torch.zeros(size, size, device=zone.device)
    tries = count * 3
    p = torch.stack([190 + dice.rand(tries) * 644, 120 + dice.rand(tries) * 660], -1)
    keep = dice.rand(tries) < sample_at(zone[None], p[None, :, 0], p[None, :, 1])[0, 0]
    p = p[keep][:count]
    sigma_texels = max(sigma * size / LAYOUT, 0.45)
    peak = 2 * math.pi * sigma_texels**2 * min(1.0, (sigma * size / LAYOUT / sigma_texels) ** 2)
    weight = (0.3 + 0.9 * dice.rand(p.shape[0])) * peak
    return blur(splat(p, weight, size)[None], sigma_texels * LAYOUT / size)[0]


def scan_flow(dice: Dice, size: int) -> Tensor:
    """A smooth warp of the scan's layout, mirrored half of the time; (2, S, S)."""
    flow = noise(dice, 64, 260, 2) * dice.uniform(4, 16)
    if dice.chance(0.5):
        x, _ = layout_grid(64, dice.device)
        flow = flow + torch.stack([LAYOUT - 2 * x, torch.zeros_like(x)])
    return resize(flow, size)


def _mottle(dice: Dice, bank: Bank, size: int) -> Tensor:
    """A band of real skin, tiled, turned and warped: (3, S, S), about unit deviation."""
    tile = bank.mottle[dice.choice(bank.mottles)]
    if dice.chance(0.5):
        tile = tile.flip(-1)
    if dice.chance(0.5):
        tile = tile.transpose(-1, -2)
    x, y = layout_grid(size, dice.device)
    zoom = dice.uniform(1.3, 2.6)
    flow = resize(noise(dice, 64, 200, 2) * 12, size)
    u = torch.remainder(x * zoom + flow[0] + dice.uniform(0, LAYOUT), LAYOUT)
    v = torch.remainder(y * zoom + flow[1] + dice.uniform(0, LAYOUT), LAYOUT)
    return sample_at(tile, u, v)


def _borrowed_band(dice: Dice, bank: Bank, regions: Regions) -> Tensor:
    """Fine bands of two photos mixed by a smooth mask, warped and mirrored: (3, S, S)."""
    size, parts = regions.size, []
    for _ in range(2):
        band = bank.portrait_band(dice.choice(bank.portraits))
        flow = resize(noise(dice, 64, 300, 2), size) * dice.uniform(2, 7)
        if dice.chance(0.5):
            band = band.flip(-1)
        parts.append(warp(resize(band, size), flow) * dice.uniform(0.6, 1.25))
    mask = torch.sigmoid(6 * noise(dice, size, dice.uniform(250, 600))[0] + dice.normal(0, 3))
    mixed = torch.lerp(parts[0], parts[1], mask)
    # Highlights are the brightest of a band, marks and hair the darkest; away from brows, lids,
    # lips and beard what is left of shading counts less.
    features = torch.stack(
        [
            _brow_zone(regions),
            regions.soft("lid", 14, 8),
            regions.soft("lips", 10, 6),
            0.8 * regions.soft("beard", 40),
        ]
    )
    gain = 0.6 + 0.6 * features.amax(0)
    return torch.where(mixed > 0, 0.5 * mixed, mixed.clamp_min(-1.2)) * gain


def sample_skin(
    dice: Dice,
    config: LightStageConfig,
    bank: Bank,
    regions: Regions,
    wrinkles: Tensor,
    age: float,
) -> Skin:
    """Colour one face. wrinkles (S, S) in [0, 1] darken and redden slightly."""
    size, device = regions.size, regions.fields.device
    x, y = layout_grid(size, device)
    contrast = dice.uniform(*config.contrast_range)
    ita = dice.uniform(*config.ita_range_deg)
    fb0 = math.log(dice.log_uniform(0.005, 0.022))
    # Carotene and the warm scatter of real faces, which the two-layer model leaves out.
    yellow, ruddy = dice.uniform(0.0, 1.4), dice.uniform(0.0, 1.0)
    tint = (1 + 0.06 * ruddy, math.exp(-0.05 * ruddy), math.exp(-0.17 * yellow - 0.03 * ruddy))
    fm0 = bank.skin_table.log_fm_for_ita(ita, fb0, tint)
    darkness = min(1.0, max(0.0, (45 - ita) / 90))

    # Melanin and blood vary in log space, from wide patches to the texel.
    fm = fm0 + contrast * (
        0.045 * fractal(dice, size, 320, 2)
        + dice.uniform(0.015, 0.06) * fractal(dice, size, 70, 3)
        + dice.uniform(0.015, 0.045) * fractal(dice, size, 14, 3)
    )
    fb = fb0 + contrast * (
        0.13 * fractal(dice, size, 260, 2)
        + dice.uniform(0.03, 0.16) * fractal(dice, size, 70, 3)
        + dice.uniform(0.03, 0.16) * fractal(dice, size, 16, 3)
    )
    venous = torch.zeros(size, size, device=device)
    lips = torch.zeros(size, size, device=device)
    if config.regional_maps:
        fm, fb, venous, lips = _regional(dice, regions, fm, fb, contrast, darkness, age)
    marks = torch.zeros(size, size, device=device)
    face = regions.soft("face", 20)
    bare = 1 - lips
    if dice.chance(config.freckles):
        zone = smoothstep(560, 470, y) * smoothstep(250, 400, y) * 0.8 + 0.12
        strength = dice.uniform(0.25, 1.0) * (1.0 if ita > 10 else 0.6)
        count = int(dice.log_uniform(60, 900))
        for sigma, share in ((1.5, 0.6), (2.6, 0.35), (4.0, 0.05)):
            marks = marks + strength * _spots(dice, zone * face, int(count * share), sigma, size)
    if age > 42 and dice.chance(0.6):
        for sigma in (3.0, 6.0):
            marks = marks + 0.5 * _spots(dice, face * 0.6, dice.integer(2, 22), sigma, size)
    if dice.chance(config.moles):
        for sigma in (1.8, 2.8, 4.2):
            count = dice.integer(0, 6) if sigma < 3 else int(dice.chance(0.3))
            moles = _spots(dice, face * 0.6, count, sigma, size)
            marks = marks + dice.uniform(0.6, 1.8) * (moles * 1.5).clamp(max=1.2)
    fm = fm + marks * 0.75 * bare
    if dice.chance(config.blotches):
        zone = face * (1 - 0.5 * regions.soft("forehead", 40))
        for sigma in (2.5, 4.5):
            fb = fb + dice.uniform(0.4, 1.2) * _spots(dice, zone, dice.integer(0, 22), sigma, size)
        patch = smoothstep(0.3, 2.0, fractal(dice, size, dice.uniform(60, 200), 4))
        fb = fb + dice.uniform(0.2, 1.0) * patch * regions.soft("cheeks", 60, 40)
    if dice.chance(config.uneven_pigment):
        patch = smoothstep(0.0, 1.3, fractal(dice, size, dice.uniform(90, 320), 4, 0.65))
        fm = fm + dice.normal(0, 0.14) * patch * contrast * 0.7
    if dice.chance(0.25):
        fm = fm + dice.normal(0, 0.12) * (x - 512) / 300 + dice.normal(0, 0.15) * (y - 450) / 300
    if dice.chance(config.vitiligo):
        patch = smoothstep(0.55, 0.75, fractal(dice, size, 240, 5, 0.6))
        fm = fm * (1 - patch) + math.log(0.012) * patch
    fm = fm + wrinkles * 0.1 * contrast
    fb = fb + wrinkles * 0.3

    albedo = bank.skin_table.color(fm, fb, venous.clamp(0, 1)) * column(tint, fm)
    # Flushed skin: redder than the model's mauve, as blood near the surface is.
    flush = dice.uniform(0, 1) * regions.soft("cheeks", 70, 30) + dice.uniform(0, 1) * regions.soft(
        "nose", 60
    )
    flush = flush + dice.uniform(0, 0.8) * regions.soft("lid", 18, 6)
    flush = flush + dice.uniform(0.1, 0.5) * fractal(dice, size, dice.uniform(40, 140), 3)
    flush = flush[None] * column((0.03, -0.11, -0.09), fm) * contrast * 0.7 * (1 - 0.5 * darkness)
    albedo = albedo * torch.exp(flush)
    # Lips: blood right under a thin epithelium, redder than any dermis of the model.
    redness = dice.uniform(0.2, 1.0) * (1 - 0.75 * darkness)
    lip_tint = column((0.80, 0.46, 0.56), fm) * (1 + 0.12 * _furrows(dice, size))
    albedo = albedo * (1 + lips * redness * (lip_tint - 1))
    band = torch.zeros_like(albedo)
    flow, scan_gain = scan_flow(dice, size), 0.0
    if dice.chance(config.real_bands):
        band = band + _mottle(dice, bank, size) * dice.log_uniform(0.015, 0.07)
        scan_gain = dice.uniform(0.15, 0.8) if dice.chance(0.6) else 0.0
        if scan_gain:
            scan = warp(resize(bank.scan_color, size), flow)
            # The scan's own brows, mouth and socket would double this face's.
            hide = torch.stack(
                [regions.soft("lips", 18, 14), regions.soft("lid", 16, 12), _brow_zone(regions)]
            ).amax(0)
            if not dice.chance(config.beard):
                hide = torch.maximum(hide, regions.soft("beard", 40, 20) * 0.75)
            band = band + scan * (1 - hide) * scan_gain
    borrowed = config.portrait_bands > 0 and dice.chance(config.portrait_bands)
    if borrowed:
        band = band * 0.6 + _borrowed_band(dice, bank, regions)
    albedo = albedo * torch.exp(band)

    # The dark of nostrils and the shade of wings and lids that no de-lighting takes out.
    hole = regions.soft("nostrils", dice.uniform(5, 12), dice.uniform(-6, 2))
    albedo = albedo * (1 - hole * dice.uniform(0.1, 0.75))

    # Tissue that is neither skin nor hair: the rim of the lids.
    rim = torch.exp(-((regions.distance("eye_line") / 6.0) ** 2)) * dice.uniform(0.1, 0.5)
    albedo = albedo * (1 - rim * torch.tensor([0.25, 0.5, 0.45], device=device)[:, None, None])

    gloss = torch.zeros(size, size, device=device)
    albedo, lash_gain, gloss = apply_makeup(dice, config, regions, albedo, lips, gloss, darkness)
    color = hair.sample_color(dice, ita, age)
    whole = dice.chance(config.whole_layout)
    seen = smoothstep(0.0, 0.5, blur(resize(bank.unwrap_masks.reach, size), 10))[0]
    cut = torch.zeros(size, size, device=device)
    brow = torch.zeros(size, size, device=device)
    beard = torch.zeros(size, size, device=device)
    scalp = torch.zeros(size, size, device=device)
    if dice.chance(config.beard):
        beard, roots = hair.beard(dice, regions)
        shade = torch.tensor([0.85, 0.75, 0.68], device=device)[:, None, None] * roots
        albedo = albedo * (1 - shade * (1.0 if sum(color) < 0.4 else 0.3))
        tint = dice.uniform(0.9, 1.6)
        albedo = paint(albedo, tuple(min(0.7, c * tint) for c in color), beard * 0.92)
    if dice.chance(config.brows * (0.25 if borrowed else 1.0)):
        brow = hair.brows(dice, regions)
        tint = dice.log_uniform(0.7, 1.5)
        darker = tuple(min(0.5, c * tint * (0.75 if sum(color) > 0.2 else 1.0)) for c in color)
        albedo = paint(albedo, darker, brow * dice.uniform(0.75, 0.97))
    lash = hair.lashes(dice, regions, lash_gain)
    dark = tuple(min(0.1, c * 0.6) for c in color)
    albedo = paint(albedo, dark, lash * dice.uniform(0.5, 0.9))
    if dice.chance(config.scalp_hair):
        scalp, streaks = hair.scalp(dice, regions)
        tone = torch.tensor(color, device=device)[:, None, None] * streaks
        if not whole:
            scalp = scalp * seen
        scalp = scalp * (1.0 if dice.chance(0.85) else dice.uniform(0.3, 0.7))
        if dice.chance(config.fringe):
            scalp = torch.maximum(scalp, hair.fringe(dice, regions))
        scene = albedo * (1 - scalp) + tone.clamp(0, 0.8) * scalp
        if dice.chance(config.hide_hair) and not whole:
            scalp, cut = torch.zeros_like(scalp), scalp
        else:
            albedo = scene
    else:
        stubble = regions.soft("hair", 60) * dice.uniform(0, 0.4) * (1.0 if whole else seen)
        grain = torch.sigmoid(noise(dice, size, 4)[0] * 2)
        scene = albedo = paint(albedo, color, stubble * grain)
        scalp = stubble * grain
    every = 1 - (1 - brow) * (1 - beard) * (1 - lash) * (1 - scalp)
    if not whole:
        weight = face * bare * (1 - every)
        mean = (albedo * weight).sum((1, 2), keepdim=True) / weight.sum().clamp_min(1)
        albedo = torch.lerp(torch.lerp(mean, blur(albedo, 60), 0.4), albedo, seen)
        scene = torch.lerp(mean, scene, seen)
    albedo, scene = albedo.clamp(0.004, 0.95), scene.clamp(0.004, 0.95)
    ita = _measured_ita(albedo, face * bare * (1 - every))
    return Skin(
        albedo,
        scene,
        cut,
        whole,
        every,
        brow,
        beard,
        marks,
        lips,
        scalp,
        flow,
        scan_gain,
        age,
        ita,
        gloss,
    )


def _measured_ita(albedo: Tensor, weight: Tensor) -> float:
    """ITA in degrees of the mean of linear albedo (3, S, S) under weight (S, S)."""
    mean = (albedo * weight).sum((1, 2)) / weight.sum().clamp_min(1e-3)
    lab = linear_srgb_to_lab(mean)
    return math.degrees(math.atan2(float(lab[0]) - 50, max(float(lab[2]), 1e-3)))


def _brow_zone(regions: Regions) -> Tensor:
    """Soft area around both brows (S, S)."""
    x, y = layout_grid(regions.size, regions.fields.device)
    ends = regions.marks[[17, 19, 21, 22, 24, 26]]
    d = torch.full_like(x, 1e9)
    for a, b in ((0, 1), (1, 2), (3, 4), (4, 5)):
        p, q = ends[a], ends[b]
        v = q - p
        t = (((x - p[0]) * v[0] + (y - p[1]) * v[1]) / (v @ v)).clamp(0, 1)
        d = torch.minimum(d, ((x - p[0] - t * v[0]) ** 2 + (y - p[1] - t * v[1]) ** 2).sqrt())
    return smoothstep(42, 20, d)


def _regional(dice, regions, fm, fb, contrast, darkness, age):
    """Chromophores by region: lips, cheeks, nose, ears, lids, under the eyes, mouth, hair zone."""
    size = regions.size
    wobble = fractal(dice, size, 40, 3) * 3
    edge = dice.uniform(2.5, 7)
    lips = regions.soft("lips", edge, dice.normal(0, 2.5), wobble * 0.5)
    red = dice.uniform(0.05, 0.7)
    fb = fb + dice.uniform(0.2, 1.0) * regions.soft("cheeks", 70, 30, wobble * 5)
    fb = fb + red * regions.soft("nose", 75, -5, wobble * 2)
    fb = fb + dice.uniform(0.3, 0.8) * regions.soft("ears", 14)
    fb = fb + dice.uniform(0.2, 1.2) * regions.soft("lid", 16, 4)
    fb = fb + dice.uniform(0.3, 1.4) * torch.exp(-((regions.distance("nostrils") / 16) ** 2))
    eye = regions.soft("under_eye", dice.uniform(12, 26), 6, wobble)
    fm = fm + eye * dice.uniform(-0.05, 0.2) * contrast * (0.6 + 0.6 * darkness)
    fb = fb + eye * dice.uniform(0.0, 0.9)
    venous = eye * dice.uniform(0.2, 1.0)
    lid = regions.soft("lid", dice.uniform(10, 24), 2)
    fm = fm + lid * dice.uniform(-0.1, 0.5) * (0.6 + darkness)
    fm = fm + regions.soft("forehead", 80) * dice.normal(0.05, 0.1) * contrast
    around = torch.exp(-(((regions.distance("lips") - 10) / 30) ** 2))
    fm = fm + around * dice.uniform(-0.12, 0.22) * (0.35 + darkness)
    fm = fm + regions.soft("nose", 40) * dice.normal(0.0, 0.08)
    fm = fm + regions.soft("neck", 120, 30) * dice.normal(0.0, 0.15)
    # Lips: little melanin on light skin, often a dark, uneven upper lip on dark skin.
    furrow = _furrows(dice, size)
    upper = smoothstep(592, 575, regions.marks.new_tensor(0) + layout_grid(size, fm.device)[1])
    melanin = math.log(dice.uniform(0.45, 1.0)) * (1 - 0.9 * darkness)
    melanin = melanin + darkness * dice.uniform(-0.25, 0.45)
    lip_fm = melanin + upper * darkness * dice.uniform(0.0, 0.6) + 0.07 * contrast * furrow
    rim = torch.exp(-((regions.distance("lip_edge") / 5) ** 2))
    lip_fm = lip_fm + rim * dice.uniform(-0.15, 0.4) * darkness
    lip_fb = math.log(dice.log_uniform(2.0, 6.0)) + 0.15 * furrow + upper * dice.uniform(0, 0.3)
    fm, fb = fm + lips * lip_fm, fb + lips * lip_fb
    dark_line = torch.exp(-((regions.distance("mouth_line") / dice.uniform(4, 11)) ** 2))
    fb = fb + dark_line * dice.uniform(0.2, 0.9) * lips
    fm = fm + dark_line * dice.uniform(0.0, 0.6) * lips
    return fm, fb, venous, lips


def _furrows(dice: Dice, size: int) -> Tensor:
    """Vertical fine stripes of about unit deviation (S, S), as on lips."""
    x, y = layout_grid(size, dice.device)
    fan = 512 + (x - 512) * (1 - 0.0016 * (y - 590).abs()) + 2.5 * noise(dice, size, 40)[0]
    lines = torch.nn.functional.interpolate(
        dice.randn(2, 1, 257), size=1024, mode="linear", align_corners=True
    ).view(2, 1, 1024)
    out = torch.zeros_like(x)
    for number in (0, 1):
        pattern = lines[number].expand(1, 8, 1024).contiguous()
        strength = torch.sigmoid(1.5 * noise(dice, size, 26)[0])
        out = out + sample_at(pattern[..., :1024], fan * 1.0, y)[0] * strength
    return out * 1.3
