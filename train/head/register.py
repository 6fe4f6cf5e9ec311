"""Non-rigid registration of the layout head to ICT-FaceKit, and transfer of its modes.

V: layout vertices, F: triangles, K: modes. Everything in metres, +Y up, +Z out of the face.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as sla
import trimesh
from scipy.interpolate import RBFInterpolator
from scipy.spatial import KDTree

from .sources import (
    ICT_MOUTH,
    ICT_SKIN_END,
    ICT_SOCKET_LEFT,
    ICT_SOCKET_RIGHT,
    IctFaceKit,
    LayoutHead,
)

NORMAL_WEIGHT_M = 0.006
"""A normal turned by 60 degrees counts like 6 mm of distance when correspondences are searched."""
ACCEPT_M = 0.003
"""Correspondences farther than this are not trusted; their modes are filled in smoothly."""


@dataclass(frozen=True)
class Registration:
    """Registered vertices (V, 3) m; per vertex its source corners (V, 3), barycentric weights (V, 3), whether the
    correspondence is trusted (V,) bool, and its distance (V,) m."""

    vertices: np.ndarray
    corners: np.ndarray
    weights: np.ndarray
    trusted: np.ndarray
    distance_m: np.ndarray


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Area-weighted unit vertex normals (V, 3) of triangles (F, 3)."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    face_normals = np.cross(b - a, c - a)
    normals = np.zeros_like(vertices)
    for k in range(3):
        np.add.at(normals, faces[:, k], face_normals)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-20)


def laplacian(faces: np.ndarray, count: int) -> sp.csr_matrix:
    """Uniform graph Laplacian (V, V), rows summing to zero."""
    pairs = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    pairs = np.unique(np.sort(pairs, axis=1), axis=0)
    ones = np.ones(len(pairs))
    graph = sp.coo_matrix((ones, (pairs[:, 0], pairs[:, 1])), (count, count))
    graph = (graph + graph.T).tocsr()
    degree = np.asarray(graph.sum(1)).ravel()
    return (sp.identity(count) - sp.diags(1.0 / degree) @ graph).tocsr()


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Best similarity (4, 4) taking source (N, 3) to target (N, 3) (Umeyama 1991)."""
    mean_s, mean_t = source.mean(0), target.mean(0)
    cov = (target - mean_t).T @ (source - mean_s) / len(source)
    u, d, vt = np.linalg.svd(cov)
    sign = np.diag([1, 1, np.sign(np.linalg.det(u @ vt))])
    rotation = u @ sign @ vt
    scale = np.trace(np.diag(d) @ sign) / ((source - mean_s) ** 2).sum(1).mean()
    out = np.eye(4)
    out[:3, :3] = scale * rotation
    out[:3, 3] = mean_t - scale * rotation @ mean_s
    return out


class _Surface:
    """Dense oriented samples of a triangle mesh, searched by position and normal together."""

    def __init__(self, vertices: np.ndarray, triangles: np.ndarray, per_triangle: int = 6) -> None:
        rng = np.random.default_rng(0)
        normals = vertex_normals(vertices, triangles)
        raw = rng.random((len(triangles), per_triangle, 2))
        flip = raw.sum(-1, keepdims=True) > 1
        raw = np.where(flip, 1 - raw, raw)
        weights = np.concatenate([1 - raw.sum(-1, keepdims=True), raw], -1).reshape(-1, 3)
        corners = np.repeat(triangles, per_triangle, axis=0)
        used = np.unique(triangles)
        corners = np.concatenate([corners, np.repeat(used[:, None], 3, 1)])
        weights = np.concatenate([weights, np.tile([1.0, 0.0, 0.0], (len(used), 1))])
        self.corners, self.weights = corners, weights
        self.points = np.einsum("nk,nkd->nd", weights, vertices[corners])
        self.normals = np.einsum("nk,nkd->nd", weights, normals[corners])
        self.tree = KDTree(np.concatenate([self.points, NORMAL_WEIGHT_M * self.normals], 1))

    def nearest(self, points: np.ndarray, normals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        oriented = np.concatenate([points, NORMAL_WEIGHT_M * normals], 1)
        index = np.asarray(self.tree.query(oriented)[1])
        return index, (self.normals[index] * normals).sum(1)


def layout_regions(head: LayoutHead) -> dict[str, np.ndarray]:
    """Vertex ids per UV island: skin, left_socket, right_socket, mouth (the rims belong to skin)."""
    mesh = head.mesh
    count = len(mesh.uv)
    pairs = np.concatenate([mesh.uv_faces[:, [0, 1]], mesh.uv_faces[:, [1, 2]]])
    graph = sp.coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), (count, count))
    _, label = sp.csgraph.connected_components(graph, directed=False)
    vertex_of_uv = np.zeros(count, dtype=np.int64)
    vertex_of_uv[mesh.uv_faces.ravel()] = mesh.faces.ravel()
    main = np.bincount(label).argmax()
    skin = np.unique(vertex_of_uv[label == main])
    rest = np.setdiff1d(np.arange(len(head.vertices)), skin)
    x, y = head.vertices[rest, 0], head.vertices[rest, 1]
    eye_level = head.vertices[head.landmarks[36:48], 1].mean() - 0.02
    return {
        "skin": skin,
        "left_socket": rest[(y > eye_level) & (x > 0)],
        "right_socket": rest[(y > eye_level) & (x < 0)],
        "mouth": rest[y <= eye_level],
    }


def openness(vertices: np.ndarray, faces: np.ndarray, rays: int = 64) -> np.ndarray:
    """Cosine-weighted share of the sky each vertex sees (V,), [0, 1], by embree ray casts."""
    normals = vertex_normals(vertices, faces)
    rng = np.random.default_rng(0)
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    seen = np.zeros(len(vertices))
    for _ in range(rays):
        direction = normals + _unit(rng.normal(size=normals.shape)) * 0.999
        seen += ~mesh.ray.intersects_any(vertices + normals * 2e-5, _unit(direction))
    return seen / rays


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _cavities(head: LayoutHead) -> np.ndarray:
    """(V,) bool: nostril and inner eye-corner vertices, whose depth differs so much that closest points tangle."""
    closed = openness(head.vertices, head.mesh.faces) < 0.72
    marks = head.vertices[head.landmarks]
    nostril_y = marks[[31, 35], 1].mean()
    x, y, z = head.vertices.T
    width = np.abs(marks[[31, 35], 0]).mean()
    nose = (np.abs(np.abs(x) - 0.75 * width) < 0.75 * width) & (
        np.abs(y - nostril_y - 0.004) < 0.010
    )
    nose &= z > marks[[31, 35], 2].mean() - 0.012
    corner = np.zeros(len(x), dtype=bool)
    for mark in marks[[39, 42]]:
        corner |= np.linalg.norm(head.vertices - mark, axis=1) < 0.004
    return (closed & nose) | corner


def register(head: LayoutHead, ict: IctFaceKit) -> Registration:
    """Fit the layout head to the ICT neutral and find, per vertex, the ICT surface point it lies on."""
    inner = np.arange(17, 68)
    source, target = head.vertices[head.landmarks], ict.neutral[ict.landmarks]
    matrix = similarity(source[inner], target[inner])
    x = head.vertices @ matrix[:3, :3].T + matrix[:3, 3]
    warp = RBFInterpolator(
        x[head.landmarks[inner]], target[inner] - x[head.landmarks[inner]],
        kernel="linear", degree=1, smoothing=1e-4,
    )  # fmt: skip
    # the warp is trusted near the face and fades towards scalp, ears and neck
    centre = target[inner].mean(0)
    fade = np.clip(1.6 - np.linalg.norm(x - centre, axis=1) / 0.07, 0, 1)[:, None]
    x = x + fade * warp(x)

    faces, count = head.mesh.faces.astype(np.int64), len(x)
    regions = layout_regions(head)
    parts = {
        "skin": ict.triangles[(ict.triangles < ICT_SKIN_END).all(1)],
        "left_socket": ict.part(*ICT_SOCKET_LEFT),
        "right_socket": ict.part(*ICT_SOCKET_RIGHT),
        "mouth": ict.part(*ICT_MOUTH),
    }
    surfaces = {name: _Surface(ict.neutral, triangles) for name, triangles in parts.items()}
    lap = laplacian(faces, count)
    smooth = (lap.T @ lap).tocsc()
    corners = np.zeros((count, 3), dtype=np.int64)
    weights = np.zeros((count, 3))
    agree = np.zeros(count)
    free = _cavities(head)
    marks, mark_target = head.landmarks[inner], target[inner]
    schedule = [(300.0, 4), (60.0, 4), (12.0, 5), (4.0, 8)]
    for stiffness, rounds in schedule:
        for _ in range(rounds):
            normals = vertex_normals(x, faces)
            goal = x.copy()
            for name, ids in regions.items():
                index, cosine = surfaces[name].nearest(x[ids], normals[ids])
                goal[ids] = surfaces[name].points[index]
                corners[ids], weights[ids] = (
                    surfaces[name].corners[index],
                    surfaces[name].weights[index],
                )
                agree[ids] = cosine
            gap = np.linalg.norm(goal - x, axis=1)
            trust = (agree > 0.5) / (1 + (gap / 0.004) ** 2)
            trust[free] = 0.0
            trust[np.setdiff1d(np.arange(count), regions["skin"])] *= 0.2
            system = stiffness * smooth + sp.diags(trust + 1e-6)
            right = trust[:, None] * (goal - x)
            pull = np.zeros(count)
            pull[marks] = min(stiffness, 30.0) * 0.3
            system = system + sp.diags(pull)
            full = np.zeros_like(x)
            full[marks] = mark_target - x[marks]
            right = right + pull[:, None] * full
            step = sla.splu(system.tocsc()).solve(right)
            x = x + step
    x = 0.5 * (x + x[head.mirror] * np.array([-1.0, 1.0, 1.0]))
    normals = vertex_normals(x, faces)
    distance = np.zeros(count)
    for name, ids in regions.items():
        index, cosine = surfaces[name].nearest(x[ids], normals[ids])
        corners[ids], weights[ids] = surfaces[name].corners[index], surfaces[name].weights[index]
        agree[ids] = cosine
        distance[ids] = np.linalg.norm(surfaces[name].points[index] - x[ids], axis=1)
    trusted = (agree > 0.5) & (distance < ACCEPT_M) & ~free
    return Registration(x, corners, weights, trusted, distance)


def registration_error(
    registration: Registration, head: LayoutHead, ict: IctFaceKit
) -> dict[str, np.ndarray]:
    """Distance (m) of the registered vertices of ``face`` and ``ears`` to the ICT skin, nothing left out."""
    triangles = ict.neutral[ict.triangles[(ict.triangles < ICT_SKIN_END).all(1)]]
    tree = KDTree(triangles.mean(1))
    skin = layout_regions(head)["skin"]
    u, v = head.mesh.position_uv[skin].T
    ears = np.hypot((np.abs(u - 0.5) - 0.34) / 0.055, (v - 0.545) / 0.115) < 1
    face = (np.abs(u - 0.5) < 0.28) & (v > 0.25) & (v < 0.82)
    out = {}
    for name, part in (("face", face), ("ears", ears)):
        points = registration.vertices[skin[part]]
        near = np.asarray(tree.query(points, k=16)[1])
        gaps = [
            np.linalg.norm(trimesh.triangles.closest_point(triangles[near[:, k]], points) - points, axis=1)
            for k in range(near.shape[1])
        ]  # fmt: skip
        out[name] = np.min(gaps, axis=0)
    return out


def transfer(registration: Registration, faces: np.ndarray, deltas: np.ndarray) -> np.ndarray:
    """Carry ICT deltas (K, N, 3) to the layout vertices: (K, V, 3); untrusted vertices are filled bi-harmonically."""
    moved = np.einsum("vk,mvkd->mvd", registration.weights, deltas[:, registration.corners])
    count = moved.shape[1]
    lap = laplacian(faces, count)
    # a light smoothing everywhere hides the sampling noise of the correspondences
    pull = np.where(registration.trusted, 1.0, 0.0)
    system = (sp.diags(pull + 1e-7) + 0.3 * lap.T @ lap).tocsc()
    flat = (pull[None, :, None] * moved).transpose(1, 0, 2).reshape(count, -1)
    solved = sla.splu(system).solve(flat)
    return solved.reshape(count, -1, 3).transpose(1, 0, 2).astype(np.float32)
