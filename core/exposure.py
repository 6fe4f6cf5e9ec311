"""The exposure at which a face is photographed under an environment, and Blender's own environments by name."""

from __future__ import annotations

import math

import numpy as np

from .environment import sh_from_environment
from .sh import rotate_light
from .shading import shade_diffuse

BLENDER_HDRIS = ("city", "courtyard", "forest", "interior", "night", "studio", "sunrise", "sunset")
"""The eight environments (CC0) that every Blender and the bpy wheel bring."""
_FACE = np.array([[0, 0, 1], [0.7, 0, 0.7], [-0.7, 0, 0.7], [0, 0.7, 0.7], [0, -0.7, 0.7]])
_TARGET = 0.7
_LUMINANCE = (0.2126, 0.7152, 0.0722)


def face_exposure(environment: np.ndarray, *rotations_deg: float) -> float:
    """Strength at which a white matt face reflects 0.7 on average, as a photographer exposes.

    ``environment`` (h, w, 3) linear equirect. The mean over five directions around the face's front and over the
    environment turned by each of ``rotations_deg`` about the vertical, counter-clockwise seen from above; none: 0.
    """
    normals = _FACE / np.linalg.norm(_FACE, axis=1, keepdims=True)
    light = sh_from_environment(environment)
    reflected = []
    for yaw in np.radians(rotations_deg or (0.0,)):
        turn = np.array(
            [[math.cos(yaw), 0, math.sin(yaw)], [0, 1, 0], [-math.sin(yaw), 0, math.cos(yaw)]]
        )
        white = shade_diffuse(np.ones((5, 3)), normals, np.ones(5), rotate_light(light, turn))
        reflected.append(np.maximum(white @ _LUMINANCE, 0.0).mean())
    return _TARGET / max(float(np.mean(reflected)), 1e-6)
