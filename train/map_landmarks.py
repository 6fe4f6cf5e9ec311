"""Where the 468 MediaPipe points lie on the head: found by detecting them on renders of the mean head.

No hand labels: the mean head is drawn with lips, brows, lashes and eyeballs, in several views, tones and with
the mouth open (so that the upper and lower lip's inner points fall on their own lip); each detected point is
carried to UV through the z-buffer, views are averaged by how squarely they see it, and the result is made
symmetric. ``train/build_head.py`` stores it as ``landmarks468_uv``; run by itself it prints a summary:

    python -m train.map_landmarks [HEAD.safetensors] [--out FILE.npy] [--pictures DIR]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from core.errors import NoFaceError
from core.facemesh import LIP_RINGS, OVAL
from core.head_model import HeadMesh, HeadModel
from core.landmarks import detect, mediapipe_mirror
from core.raster import Raster, rasterize

SIZE_PX = 900
DISTANCE_M = 0.9
SPAN_M = 0.32
TONES = ((0.86, 0.66, 0.56), (0.58, 0.39, 0.30))
VIEWS_DEG = ((0, 0), (12, 0), (-12, 0), (28, 0), (-28, 0), (42, 0), (-42, 0), (0, 12), (0, -12))
JAW_OPEN = (0.0, 0.3)
BROW_DROP = 0.014
"""The layout's brow landmarks lie on the upper rim; drawn this much lower (UV), FaceMesh finds the brows
of the mean head where, over real portraits, it finds people's."""


@dataclass(frozen=True)
class View:
    """One drawn view: image (H, W, 3) sRGB [0, 1], raster, per-vertex facing (V,), skin pixel mask (H, W)."""

    image: np.ndarray
    raster: Raster
    facing: np.ndarray
    skin: np.ndarray
    mouth_open: bool
    frontal: bool


def cue_texture(head: HeadModel, tone: tuple[float, float, float], size: int = 1024) -> np.ndarray:
    """(S, S, 3) sRGB skin with lips, brows and lash lines drawn at the head's 68 landmarks."""
    marks = head.landmarks68_uv * [size, -size] + [0, size]
    skin = np.asarray(tone, np.float32)
    image = np.broadcast_to(skin, (size, size, 3)).copy()

    def polygon(points: np.ndarray) -> np.ndarray:
        return np.rint(points * 16).astype(np.int32).reshape(-1, 1, 2)

    def paint(mask: np.ndarray, colour: np.ndarray, blur_px: float) -> None:
        soft = cv2.GaussianBlur(mask, (0, 0), blur_px)[..., None]
        image[:] = image * (1 - soft) + colour * soft

    lips = np.zeros((size, size), np.float32)
    cv2.fillPoly(lips, [polygon(marks[48:60])], 1.0, cv2.LINE_AA, 4)
    paint(lips, skin * [0.78, 0.48, 0.50], 2.0)
    brows = np.zeros((size, size), np.float32)
    for first in (17, 22):
        arch = marks[first : first + 5] + [0, BROW_DROP * size]
        thick = np.array([0.004, 0.011, 0.014, 0.015, 0.013]) * size
        if first == 22:
            thick = thick[::-1]
        drop = np.stack([np.zeros(5), thick], 1)
        cv2.fillPoly(
            brows, [polygon(np.concatenate([arch, (arch + drop)[::-1]]))], 1.0, cv2.LINE_AA, 4
        )
    paint(brows, skin * 0.30, 2.0)
    lashes = np.zeros((size, size), np.float32)
    for first in (36, 42):
        cv2.polylines(lashes, [polygon(marks[first : first + 6])], True, 1.0, 5, cv2.LINE_AA, 4)
    paint(lashes, skin * 0.25, 1.5)
    return image


def eyeballs(head: HeadModel, rings: int = 24, around: int = 32) -> tuple[np.ndarray, ...]:
    """Two spheres looking straight ahead: vertices (N, 3), faces (M, 3), colours (N, 3) sRGB."""
    polar, turn = np.meshgrid(
        np.linspace(0, np.pi, rings), np.linspace(0, 2 * np.pi, around), indexing="ij"
    )
    ball = np.stack([np.sin(polar) * np.cos(turn), np.sin(polar) * np.sin(turn), np.cos(polar)], -1)
    grid = np.arange(rings * around).reshape(rings, around)
    a, b, c, d = grid[:-1, :-1], grid[1:, :-1], grid[1:, 1:], grid[:-1, 1:]
    quads = np.stack([np.stack([a, b, c], -1), np.stack([a, c, d], -1)]).reshape(-1, 3)
    sine = np.sin(polar).reshape(-1, 1)
    front = (polar < np.pi / 2).reshape(-1, 1)
    colour = np.where(front & (sine < 0.50), [[0.30, 0.20, 0.14]], [[0.92, 0.90, 0.88]])
    colour = np.where(front & (sine < 0.20), [[0.03, 0.03, 0.03]], colour)
    points = ball.reshape(-1, 3) * head.eye_radius_m
    both = np.concatenate([points + center for center in head.eye_centers])
    return both, np.concatenate([quads, quads + len(points)]), np.tile(colour, (2, 1))


def draw_view(
    head: HeadModel,
    mesh: HeadMesh,
    skin_faces: np.ndarray,
    tone: tuple[float, float, float],
    yaw_deg: float,
    pitch_deg: float,
    jaw_open: float,
) -> View:
    """Draw the mean head, Lambert-shaded from the front above; skin_faces: (F,) bool."""
    expression = np.zeros(head.num_expression)
    expression[head.expression_names.index("jawOpen")] = jaw_open
    head_points = head.vertices(mesh, np.zeros(head.num_identity), expression)
    balls, ball_faces, ball_colour = eyeballs(head)
    texture = cue_texture(head, tone)
    points = np.concatenate([head_points, balls])
    faces = np.concatenate([mesh.faces, ball_faces + len(head_points)])
    a, b = np.deg2rad([yaw_deg, pitch_deg])
    turn_y = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    turn_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    rotation = turn_x @ turn_y
    corners = points[faces]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros_like(points)
    for k in range(3):
        np.add.at(normals, faces[:, k], across)
    normals = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-20)
    centre = head_points[mesh.faces[skin_faces]].reshape(-1, 3).mean(0) * [1, 0, 0] + [0, 0, 0.04]
    eye_level = head.eye_centers[:, 1].mean()
    centre[1] = eye_level - 0.02
    camera = (points - centre) @ (np.diag([1, -1, -1]) @ rotation).T + [0, 0, DISTANCE_M]
    focal_px = SIZE_PX * DISTANCE_M / SPAN_M
    pixels = focal_px * camera[:, :2] / camera[:, 2:] + SIZE_PX / 2
    raster = rasterize(pixels, camera[:, 2], faces, SIZE_PX, SIZE_PX)

    turned = normals @ rotation.T
    light = np.array([0.25, 0.45, 0.85]) / np.linalg.norm([0.25, 0.45, 0.85])
    shade = 0.45 + 0.6 * np.clip(turned @ light, 0, 1)
    shade_px = raster.interpolate(shade[:, None], faces)
    triangle = np.maximum(raster.triangle, 0)
    is_head = raster.mask & (triangle < len(mesh.faces))
    uv = np.zeros((SIZE_PX, SIZE_PX, 2), np.float32)
    head_tri = raster.triangle[is_head]
    uv[is_head] = np.einsum("nk,nkd->nd", raster.weights[is_head], mesh.uv[mesh.uv_faces[head_tri]])
    skin = is_head.copy()
    skin[is_head] = skin_faces[head_tri]
    base = cv2.remap(
        texture, uv[..., 0] * 1024 - 0.5, (1 - uv[..., 1]) * 1024 - 0.5, cv2.INTER_LINEAR,
    )  # fmt: skip
    base[is_head & ~skin] = np.asarray(tone) * [0.30, 0.16, 0.15]
    whole = np.concatenate([np.zeros((len(head_points), 3)), ball_colour])
    base = np.where((raster.mask & ~is_head)[..., None], raster.interpolate(whole, faces), base)
    image = np.where(raster.mask[..., None], base * shade_px, 0.55).astype(np.float32)
    image = cv2.GaussianBlur(np.clip(image, 0, 1), (0, 0), 0.8)
    return View(image, raster, turned[: len(head_points), 2], skin, jaw_open > 0, yaw_deg == 0)


def draw_views(head: HeadModel) -> Iterator[View]:
    """Every combination of tone, view and jaw."""
    mesh = head.embedded_mesh()
    coverage = head.raster(1024)
    skin_faces = np.zeros(len(mesh.faces), bool)
    skin_faces[np.unique(coverage.triangle[head.skin_mask(1024)])] = True
    for tone in TONES:
        for yaw_deg, pitch_deg in VIEWS_DEG:
            for jaw_open in JAW_OPEN:
                yield draw_view(head, mesh, skin_faces, tone, yaw_deg, pitch_deg, jaw_open)


def lift(view: View, points: np.ndarray, mesh: HeadMesh) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (N, 2) -> UV (N, 2) of the nearest skin pixel and weight (N,); weight 0 beyond 8 px."""
    skin_y, skin_x = np.nonzero(view.skin)
    label_map = np.where(view.skin, 0, 1).astype(np.uint8)
    gap, label = cv2.distanceTransformWithLabels(
        label_map, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    order = np.zeros(label.max() + 1, np.int64)
    order[label[skin_y, skin_x]] = np.arange(len(skin_y))
    cell = np.clip(np.floor(points).astype(int), 0, SIZE_PX - 1)
    nearest = order[label[cell[:, 1], cell[:, 0]]]
    y, x = skin_y[nearest], skin_x[nearest]
    triangle, bary = view.raster.triangle[y, x], view.raster.weights[y, x]
    uv = np.einsum("nk,nkd->nd", bary, mesh.uv[mesh.uv_faces[triangle]])
    facing = np.einsum("nk,nk->n", bary, view.facing[mesh.faces[triangle]])
    near = np.exp(-((gap[cell[:, 1], cell[:, 0]] / 3.0) ** 2))
    outline = np.isin(np.arange(len(points)), OVAL)
    square = np.where(outline, 0.1 * view.frontal, np.clip(facing - 0.15, 0, None) ** 2)
    return uv, square * np.where(outline | (near > 1e-3), near + 1e-2, 0.0)


def dense_landmark_uv(head: HeadModel, pictures: Path | None = None) -> np.ndarray:
    """(468, 2) float32 UV of each MediaPipe point on the head; NaN rows where no view shows a point.

    pictures: where given, the views with the detected points are written there.
    Raises NoFaceError when fewer than half the views are detected as a face.
    """
    mesh = head.embedded_mesh()
    found, weight = [], []
    views = list(draw_views(head))
    is_lip = np.isin(np.arange(468), LIP_RINGS)
    mirror = mediapipe_mirror()[:468]
    for index, view in enumerate(views):
        try:
            points = detect(view.image, "mediapipe").dense
        except NoFaceError:
            continue
        assert points is not None, "MediaPipe always gives dense points"
        uv, trust = lift(view, points, mesh)
        trust = np.where(is_lip & (not view.mouth_open), 0.0, trust)
        trust = np.where(~is_lip & view.mouth_open, 0.25 * trust, trust)
        found += [uv, (uv * [-1, 1] + [1, 0])[mirror]]
        weight += [trust, trust[mirror]]
        if pictures is not None:
            drawn = np.rint(view.image * 255).astype(np.uint8)[..., ::-1].copy()
            for x, y in points:
                cv2.circle(drawn, (round(x * 4), round(y * 4)), 6, (0, 255, 0), -1, cv2.LINE_AA, 2)
            cv2.imwrite(str(pictures / f"view_{index:02d}.png"), drawn)
    if len(found) < len(views):
        raise NoFaceError(
            f"expected a face in {len(views)} renders of the mean head; got {len(found) // 2}; "
            "look at the renders with --pictures"
        )
    uv, trust = np.stack(found), np.stack(weight)
    out = np.full((468, 2), np.nan, np.float32)
    for point in range(468):
        ok = trust[:, point] > 1e-4
        if ok.sum() < 4:
            continue
        here, w = uv[ok, point], trust[ok, point]
        centre = np.median(np.repeat(here, np.ceil(8 * w / w.max()).astype(int), 0), 0)
        w = w / (1 + (np.linalg.norm(here - centre, axis=1) / 0.01) ** 2)
        out[point] = (here * w[:, None]).sum(0) / w.sum()
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description="Place the 468 MediaPipe points on the head")
    parser.add_argument(
        "head", nargs="?", type=Path, help="head.safetensors; default: the embedded"
    )
    parser.add_argument("--out", type=Path, help="write the (468, 2) array here as .npy")
    parser.add_argument("--pictures", type=Path, help="write the views with their points here")
    args = parser.parse_args()
    if args.pictures:
        args.pictures.mkdir(parents=True, exist_ok=True)
    uv = dense_landmark_uv(HeadModel.load(args.head), args.pictures)
    if args.out:
        np.save(args.out, uv)
    print(f"{np.isfinite(uv).all(1).sum()} of 468 points placed; nose tip {uv[4]}, chin {uv[152]}")


if __name__ == "__main__":
    main()
