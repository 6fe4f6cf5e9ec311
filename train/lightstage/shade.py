"""Light on a face: diffuse with cast shadows and bounce, subsurface bleeding, gloss.

Shapes: N light texels, D directions, S the map's size. Irradiance is divided by pi, so that a
white surface under a white sky of radiance 1 has value 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .bank import LIGHT_SIZE, POSITION_SIZE, Head
from .lights import Illumination
from .texture import blur, resize
from .visibility import cast_shadow

SPECULAR_F0 = 0.0278
BLEED_PX = (10.0, 3.7, 1.9)
"""Subsurface blur of R, G, B, layout pixels (0.4 mm each): radius (1, .37, .19) x 4 mm."""
BLEED_DETAIL = (0.35, 0.65, 0.8)
"""How much of the finest relief's shading survives in R, G, B."""


@dataclass
class Shading:
    """Light on a face, linear; (3, S, S) each."""

    diffuse: Tensor
    """Irradiance / pi."""
    specular: Tensor
    """Reflected radiance for a specular map of 1."""


def gather_vectors(visible: Tensor, directions: Tensor, radiance: Tensor) -> Tensor:
    """Vector irradiance (N, 3 colours, 3 axes): integral V L w dw / pi.

    Its product with a normal is the irradiance / pi, exact for the geometric normal the
    visibility was cut at, first order around it: one matmul serves every detail normal.
    """
    count = directions.shape[0]
    table = (radiance[:, :, None] * directions[:, None, :]).reshape(count, 9) * (4 / count)
    return (visible @ table).view(-1, 3, 3)


def _irradiance_reference(visible, normal, directions, radiance) -> Tensor:
    """Slow twin of `gather_vectors` at the geometric normal: (N, 3)."""
    out = torch.zeros(len(normal), 3)
    for i in range(len(normal)):
        for j in range(len(directions)):
            cosine = max(0.0, float(normal[i] @ directions[j]))
            out[i] += visible[i, j] * radiance[j] * cosine * 4 / len(directions)
    return out


def _project(vectors: Tensor, axis: Tensor) -> Tensor:
    """(N, 3, 3) onto axis maps (3, s, s) -> (3, s, s)."""
    size = axis.shape[-1]
    out = torch.einsum("nck,kn->cn", vectors, axis.flatten(1))
    return out.view(3, size, size)


def soft_light(
    head: Head, directions: Tensor, radiance: Tensor, normal: Tensor, visible: Tensor | None = None
) -> Tensor:
    """Irradiance / pi (3, S, S) of the radiance (D, 3) at tangent normals (3, S, S)."""
    size = normal.shape[-1]
    vectors = gather_vectors(head.visible if visible is None else visible, directions, radiance)
    base = resize(_project(vectors, head.normal_light), size)
    along = resize(_project(vectors, head.tangent_light), size)
    across = resize(_project(vectors, head.bitangent_light), size)
    return (base * normal[2] + along * normal[0] + across * normal[1]).clamp_min(0)


def _local(head: Head, direction: Tensor, size: int) -> Tensor:
    """A world direction in the tangent frame of every texel (3, S, S)."""
    d = direction[:, None, None]
    frame = [(head.tangent * d).sum(0), (head.bitangent * d).sum(0), (head.normal * d).sum(0)]
    return resize(torch.stack(frame), size)


def _ggx(cosine: Tensor, roughness: float | Tensor) -> Tensor:
    a2 = roughness**4
    return a2 / (math.pi * (cosine * cosine * (a2 - 1) + 1) ** 2)


def _fresnel(cosine: Tensor) -> Tensor:
    return SPECULAR_F0 + (1 - SPECULAR_F0) * (1 - cosine.clamp(0, 1)) ** 5


def sky_gloss(
    head: Head,
    directions: Tensor,
    radiance: Tensor,
    view: Tensor,
    roughness: float,
    visible: Tensor,
) -> Tensor:
    """Reflected radiance of the sky (3, LIGHT_SIZE, LIGHT_SIZE); GGX, Kelemen's visibility term."""
    half = torch.nn.functional.normalize(directions + view, dim=1)
    n = head.normal_light.flatten(1).T
    d_term = _ggx((n @ half.T).clamp_min(0), max(roughness, 0.3))
    cos_lh = (directions * half).sum(1).clamp_min(0.4)
    factor = _fresnel(cos_lh) / (4 * cos_lh**2) * (4 * math.pi / directions.shape[0])
    lobe = d_term * visible * (n @ directions.T).clamp_min(0)
    out = lobe @ (radiance * factor[:, None])
    return out.T.reshape(3, LIGHT_SIZE, LIGHT_SIZE)


def shade(
    head: Head,
    directions: Tensor,
    light: Illumination,
    normal: Tensor,
    cavity: Tensor,
    view: Tensor,
    roughness: float,
    *,
    bleed: bool,
    bounce: Tensor,
    gloss: bool = True,
    shadows: bool = True,
    visible: Tensor | None = None,
    shadow_of=None,
) -> Shading:
    """Shade tangent normals (3, S, S) on a head.

    cavity (1, S, S) fine openness; view (3,) unit, to the camera; bounce (3,) mean albedo, for the
    light that neighbouring skin throws back into hollows; visible (N, D) replaces the head's own
    (a hat); shadow_of(direction) -> (1, POSITION_SIZE, POSITION_SIZE) more occlusion.
    """
    size = normal.shape[-1]
    visible = head.visible if visible is None else visible
    diffuse = soft_light(head, directions, light.radiance, normal, visible)
    openness = resize(head.openness, size)
    mean = diffuse[:, size // 8 : -size // 4, size // 4 : -size // 4].mean((1, 2))
    fill = (bounce * mean)[:, None, None] * (1 - openness) * 0.9
    diffuse = diffuse * cavity + fill
    specular = torch.zeros_like(diffuse)
    if gloss:
        sky = sky_gloss(head, directions, light.radiance, view, roughness, visible)
        specular = resize(sky, size) * cavity
    for lamp in light.hard:
        local = _local(head, lamp.direction, size)
        lit = (local * normal).sum(0).clamp_min(0) * (local[2:] > 0.0)[0]
        if shadows:
            shadow = cast_shadow(
                head.position, head.normal, head.inside, lamp.direction, lamp.softness_m
            )[None]
            if shadow_of is not None:
                shadow = shadow * shadow_of(lamp.direction)
            lit = lit * resize(shadow, size)[0]
        power = lamp.irradiance[:, None, None]
        diffuse = diffuse + power / math.pi * lit
        if gloss:
            half = torch.nn.functional.normalize(lamp.direction + view, dim=0)
            cosine = (_local(head, half, size) * normal).sum(0).clamp(0, 1)
            cos_lh = (lamp.direction @ half).clamp_min(0.4)
            d_term = 0.85 * _ggx(cosine, roughness) + 0.15 * _ggx(cosine, 0.22)
            specular = specular + power * lit * d_term * _fresnel(cos_lh) / (4 * cos_lh**2)
    if bleed:
        diffuse = _bleed(diffuse)
    return Shading(diffuse, specular)


def _bleed(diffuse: Tensor) -> Tensor:
    """Blur R, G, B of the irradiance as light spreads under skin, keeping part of the relief."""
    size = diffuse.shape[-1]
    low_size = min(size, POSITION_SIZE)
    low = resize(diffuse, low_size)
    fine = diffuse - resize(low, size) if size > low_size else torch.zeros_like(diffuse)
    out = []
    for c in range(3):
        wide = 0.6 * blur(low[c : c + 1], BLEED_PX[c]) + 0.4 * low[c : c + 1]
        out.append(resize(wide, size) + fine[c : c + 1] * BLEED_DETAIL[c])
    return torch.cat(out).clamp_min(0)


def view_direction(yaw_deg: float, pitch_deg: float, device: torch.device) -> Tensor:
    """Unit vector (3,) from the head to a camera that sees it turned by yaw and pitch."""
    a, e = math.radians(yaw_deg), math.radians(pitch_deg)
    return torch.tensor(
        [math.sin(a) * math.cos(e), math.sin(e), math.cos(a) * math.cos(e)], device=device
    )
