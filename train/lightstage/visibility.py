"""Who sees what: normals, openness to the sky, thickness and sharp cast shadows.

Shapes: N texels, D directions. Position maps are (S, S, 3) in metres, head space, top row first.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

TORSO_CENTRE_M = (0.0, -0.34, -0.05)
TORSO_RADII_M = (0.23, 0.15, 0.13)


def fibonacci_directions(count: int) -> np.ndarray:
    """Evenly spread unit vectors (count, 3), float32; each stands for 4 pi / count steradian."""
    i = np.arange(count) + 0.5
    y = 1 - 2 * i / count
    r = np.sqrt(1 - y * y)
    phi = i * math.pi * (3 - math.sqrt(5))
    return np.stack([r * np.sin(phi), y, r * np.cos(phi)], axis=1).astype(np.float32)


def tangent_frame(position: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Tangent along +u, bitangent, normal (3, S, S) unit vectors, and texel steps (2, S, S) in m.

    position: (3, S, S). The bitangent completes a right-handed frame (+v, OpenGL's green), and the
    steps are the lengths of one texel along u and v.
    """
    p = F.pad(position[None], (1, 1, 1, 1), mode="replicate")[0]
    du = (p[:, 1:-1, 2:] - p[:, 1:-1, :-2]) * 0.5
    dv = (p[:, :-2, 1:-1] - p[:, 2:, 1:-1]) * 0.5
    normal = F.normalize(torch.cross(du, dv, dim=0), dim=0)
    tangent = F.normalize(du, dim=0)
    bitangent = torch.cross(normal, tangent, dim=0)
    steps = torch.stack([du.norm(dim=0), (dv * bitangent).sum(0).abs()]).clamp_min(1e-6)
    return tangent, bitangent, normal, steps


def grid_mesh(position: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Triangles between neighbouring texels of a position map: vertices (V, 3), faces (F, 3)."""
    size = position.shape[0]
    index = np.arange(size * size).reshape(size, size)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    whole = mask[:-1, :-1] & mask[:-1, 1:] & mask[1:, 1:] & mask[1:, :-1]
    faces = np.concatenate([np.stack([a, d, c], -1)[whole], np.stack([a, c, b], -1)[whole]], axis=0)
    return position.reshape(-1, 3).astype(np.float64), faces


def _torso() -> tuple[np.ndarray, np.ndarray]:
    import trimesh

    ball = trimesh.creation.icosphere(subdivisions=3)
    return ball.vertices * TORSO_RADII_M + TORSO_CENTRE_M, ball.faces


def _scene(position: np.ndarray, mask: np.ndarray, torso: bool):
    import trimesh
    from trimesh.ray.ray_pyembree import RayMeshIntersector

    vertices, faces = grid_mesh(position, mask)
    if torso:
        more, extra = _torso()
        faces = np.concatenate([faces, extra + len(vertices)])
        vertices = np.concatenate([vertices, more])
    return RayMeshIntersector(trimesh.Trimesh(vertices, faces, process=False))


def raycast_visibility(
    position: np.ndarray, normal: np.ndarray, mask: np.ndarray, directions: np.ndarray
) -> np.ndarray:
    """Exact visibility by ray casting, (S*S, D) bool; False below the horizon and off the mask."""
    scene = _scene(position, mask, torso=True)
    points, normals = position.reshape(-1, 3), normal.reshape(-1, 3)
    above = (normals @ directions.T > 0) & mask.reshape(-1, 1)
    visible = np.zeros(above.shape, bool)
    for j, direction in enumerate(directions):
        ids = np.flatnonzero(above[:, j])
        origins = points[ids] + normals[ids] * 8e-4
        hit = scene.intersects_any(origins, np.broadcast_to(direction, origins.shape))
        visible[ids, j] = ~hit
    return visible


def raycast_thickness(position: np.ndarray, normal: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Metres of tissue under each texel (S, S): mean over a cone of inward rays, at most 30 mm."""
    scene = _scene(position, mask, torso=False)
    points, normals = position.reshape(-1, 3), normal.reshape(-1, 3)
    ids = np.flatnonzero(mask.reshape(-1))
    total = np.zeros(len(ids))
    cone = fibonacci_directions(64)
    cone = cone[cone @ np.array([0.0, 0.0, 1.0]) > 0.7]
    for ray in cone:
        inward = _around(-normals[ids], ray)
        origins = points[ids] + inward * 5e-4
        hits, rays, _ = scene.intersects_location(origins, inward, multiple_hits=False)
        depth = np.full(len(ids), 0.03)
        depth[rays] = np.minimum(np.linalg.norm(hits - origins[rays], axis=1), 0.03)
        total += depth
    out = np.full(len(points), 0.03, np.float32)
    out[ids] = total / len(cone)
    return out.reshape(mask.shape)


def _around(axis: np.ndarray, ray: np.ndarray) -> np.ndarray:
    """ray, given around +z, turned around each axis (N, 3)."""
    helper = np.where(np.abs(axis[:, :1]) < 0.9, [[1.0, 0, 0]], [[0, 1.0, 0]])
    x = np.cross(helper, axis)
    x /= np.linalg.norm(x, axis=1, keepdims=True) + 1e-12
    return x * ray[0] + np.cross(axis, x) * ray[1] + axis * ray[2]


def pack_bits(visible: np.ndarray) -> np.ndarray:
    """(N, D) bool -> (N, D/8) uint8, D a multiple of 8."""
    return np.packbits(visible, axis=1)


def unpack_bits(packed: Tensor) -> Tensor:
    """(N, D/8) uint8 -> (N, D) float 0 or 1."""
    shifts = torch.arange(7, -1, -1, device=packed.device, dtype=torch.uint8)
    return ((packed[:, :, None] >> shifts) & 1).flatten(1).float()


def ambient_occlusion(visible: Tensor, normal: Tensor, directions: Tensor) -> Tensor:
    """Cosine-weighted openness (N,) in [0, 1]: (1/pi) integral V (n.w) dw.

    visible (N, D), normal (N, 3), directions (D, 3).
    """
    cosine = (normal @ directions.T).clamp_min(0)
    return (visible * cosine).sum(1) / cosine.sum(1).clamp_min(1e-6)


def _ambient_occlusion_reference(visible, normal, directions) -> Tensor:
    """Slow twin of `ambient_occlusion`."""
    out = torch.zeros(len(normal))
    for i in range(len(normal)):
        open_, all_ = 0.0, 1e-6
        for j in range(len(directions)):
            cosine = max(0.0, float(normal[i] @ directions[j]))
            open_ += float(visible[i, j]) * cosine
            all_ += cosine
        out[i] = open_ / all_
    return out


_TAPS = [
    (math.sqrt((i + 0.5) / 9) * math.cos(2.4 * i), math.sqrt((i + 0.5) / 9) * math.sin(2.4 * i))
    for i in range(9)
]


def cast_shadow(
    position: Tensor,
    normal: Tensor,
    mask: Tensor,
    direction: Tensor,
    softness_m: float = 0.0015,
    cell_m: float = 0.0013,
) -> Tensor:
    """Visibility of a distant light (S, S) in [0, 1], by a shadow map of the texels themselves.

    position, normal (3, S, S) in metres; mask (S, S) bool; direction (3,) unit, to the light.
    softness_m is the radius of the penumbra, cell_m the shadow map's resolution.
    """
    size = position.shape[-1]
    helper = torch.tensor([0.0, 1.0, 0.0], device=direction.device)
    if abs(float(direction[1])) > 0.9:
        helper = torch.tensor([0.0, 0.0, 1.0], device=direction.device)
    a = F.normalize(torch.linalg.cross(helper, direction), dim=0)
    basis = torch.stack([a, torch.linalg.cross(direction, a), direction])
    dense = position
    if size < 384:
        dense = F.interpolate(position[None], size=(384, 384), mode="bilinear")[0]
        fill = F.interpolate(mask[None, None].float(), size=(384, 384), mode="bilinear")[0, 0]
    else:
        fill = mask.float()
    caster = (basis @ dense.flatten(1))[:, (fill > 0.99).flatten()]
    half = 0.17
    cells = int(2 * half / cell_m)
    middle = torch.tensor([[0.0], [0.0], [0.0]], device=position.device)
    uv = ((caster[:2] - middle[:2]) / (2 * half) + 0.5) * cells
    ij = uv.long().clamp(0, cells - 1)
    height = torch.full((cells * cells,), -1.0, device=position.device)
    height.scatter_reduce_(0, ij[1] * cells + ij[0], caster[2], reduce="amax")
    height = height.view(1, 1, cells, cells)
    height = F.max_pool2d(height, 3, 1, 1)
    height = -F.max_pool2d(-height, 3, 1, 1)
    receiver = basis @ (position + normal * 0.0025).flatten(1)
    lit = torch.zeros(size * size, device=position.device)
    depth = receiver[2]
    for x, y in _TAPS:
        gx = (receiver[0] + x * softness_m) / half
        gy = (receiver[1] + y * softness_m) / half
        grid = torch.stack([gx, gy], -1)[None, None]
        top = F.grid_sample(height, grid, align_corners=False, padding_mode="border")[0, 0, 0]
        lit += ((depth + 0.0035 - top) / 0.0015).clamp(0, 1)
    return (lit / len(_TAPS)).view(size, size)
