"""The pinhole camera that sees a head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


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
