"""The pinhole camera that sees a head, and the same camera in Blender's words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .environment import head_to_blender

BLENDER_SENSOR_MM = 36.0


@dataclass(frozen=True)
class Camera:
    """Pinhole camera, OpenCV axes (x right, y down, z forward): x_cam = R @ x_head + t, metres."""

    focal_px: float
    center_px: np.ndarray
    """(2,) principal point, pixels."""
    width: int
    height: int
    R: np.ndarray
    """(3, 3) head -> camera rotation."""
    t: np.ndarray
    """(3,) metres."""

    def to_camera(self, points: np.ndarray) -> np.ndarray:
        """Head-space points (N, 3) -> camera space (N, 3), metres."""
        return points @ self.R.T + self.t

    def project(self, points: np.ndarray) -> np.ndarray:
        """Head-space points (N, 3) metres -> (N, 2) pixels, origin top-left, centres at +0.5."""
        camera = self.to_camera(points)
        return self.focal_px * camera[:, :2] / camera[:, 2:] + self.center_px

    @property
    def position(self) -> np.ndarray:
        """(3,) camera centre in head space, metres."""
        return -self.R.T @ self.t

    @property
    def yaw_pitch_roll_deg(self) -> tuple[float, float, float]:
        """Head turn seen from the camera: yaw (to image right), pitch (down), roll (clockwise)."""
        forward, up = self.R @ [0.0, 0.0, 1.0], self.R @ [0.0, 1.0, 0.0]
        yaw = np.arctan2(forward[0], -forward[2])
        pitch = np.arctan2(forward[1], np.hypot(forward[0], forward[2]))
        roll = np.arctan2(up[0], -up[1])
        return float(np.rad2deg(yaw)), float(np.rad2deg(pitch)), float(np.rad2deg(roll))


@dataclass(frozen=True)
class BlenderCamera:
    """What a Blender camera is set to, to see the head as a photo did; render at the photo's aspect."""

    sensor_fit: str
    """"HORIZONTAL" or "VERTICAL": the longer side of the photo, on BLENDER_SENSOR_MM."""
    lens_mm: float
    shift_x: float
    shift_y: float
    """Shifts of the principal point, in shares of the longer side."""
    matrix_world: np.ndarray
    """(4, 4) camera -> Blender's world (Z up, metres)."""


def blender_camera(report: Mapping[str, Any]) -> BlenderCamera:
    """The camera of a report's ``camera`` entry (OpenCV: x_cam = R x_head + t) for Blender."""
    width, height = report["width_px"], report["height_px"]
    longer = max(width, height)
    rotation = np.asarray(report["rotation_head_to_camera"], np.float64)
    axes = rotation * np.array([[1.0], [-1.0], [-1.0]])  # rows: right, up, back, in head space
    pose = np.eye(4)
    pose[:3, :3] = head_to_blender(axes).T
    pose[:3, 3] = head_to_blender(-rotation.T @ np.asarray(report["translation_m"], np.float64))
    return BlenderCamera(
        sensor_fit="HORIZONTAL" if width >= height else "VERTICAL",
        lens_mm=BLENDER_SENSOR_MM * report["focal_px"] / longer,
        shift_x=(width / 2 - report["center_px"][0]) / longer,
        shift_y=(report["center_px"][1] - height / 2) / longer,
        matrix_world=pose,
    )
