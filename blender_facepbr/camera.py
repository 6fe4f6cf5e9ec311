"""The photo's camera, with the photo behind the head."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix

from . import images
from .core.environment import head_to_blender
from .exif import orientation, upright

_MAX_TURNED_PX = 2048


def add(report: dict[str, Any], name: str, collection: Any) -> Any | None:
    """A camera that sees the head as the photo did; None where the result has none (a texture)."""
    found = report.get("camera")
    if not found:
        return None
    data = bpy.data.cameras.new(f"{name} camera")
    thing = bpy.data.objects.new(f"{name} camera", data)
    collection.objects.link(thing)
    width, height = found["width_px"], found["height_px"]
    longer = max(width, height)
    data.sensor_fit = "HORIZONTAL" if width >= height else "VERTICAL"
    data.sensor_width = data.sensor_height = 36.0
    data.lens = 36.0 * found["focal_px"] / longer
    data.shift_x = (width / 2 - found["center_px"][0]) / longer
    data.shift_y = (found["center_px"][1] - height / 2) / longer
    data.clip_start = 0.01
    rotation = np.asarray(found["rotation_head_to_camera"], np.float64)
    pose = np.eye(4)
    axes = rotation * np.array([[1.0], [-1.0], [-1.0]])  # camera right, up, back, in head space
    pose[:3, :3] = head_to_blender(axes).T
    pose[:3, 3] = head_to_blender(-rotation.T @ np.asarray(found["translation_m"], np.float64))
    thing.matrix_world = Matrix(pose.tolist())
    return thing


def add_photo(thing: Any, report: dict[str, Any], photo: Path, pack: bool) -> str:
    """Show the photo behind the head in camera view; returns why not, or an empty text."""
    if not photo.is_file():
        return f"{photo} is no longer there: no photo behind the camera"
    try:
        image = images.load(photo, photo.name, False, pack)
    except RuntimeError:
        return f"{photo.name}: Blender cannot read this kind of image: no photo behind the camera"
    found = report["camera"]
    stored = orientation(photo)
    if stored != 1:
        image = _turned(image, stored, found)
    width, height = image.size
    if not width or abs(width / height - found["width_px"] / found["height_px"]) > 0.01:
        bpy.data.images.remove(image)
        return f"{photo.name} has not the shape of the photo that was fitted: not shown behind the camera"
    thing.data.show_background_images = True
    background = thing.data.background_images.new()
    background.image = image
    background.alpha = 1.0
    background.display_depth = "BACK"
    background.frame_method = "FIT"
    return ""


def _turned(image: Any, stored: int, found: dict[str, Any]) -> Any:
    """A packed upright copy of a photo stored turned, at most 2048 px; the image itself is removed."""
    share = min(1.0, _MAX_TURNED_PX / max(found["width_px"], found["height_px"]))
    size = [round(found["width_px"] * share), round(found["height_px"] * share)]
    image.scale(*(size if stored < 5 else size[::-1]))
    name = image.name
    upright_pixels = upright(images.pixels(image), stored)
    bpy.data.images.remove(image)
    return images.from_array(upright_pixels, name, False)


def use(scene: Any, thing: Any, report: dict[str, Any]) -> None:
    """Make it the scene's camera, at the photo's size."""
    scene.camera = thing
    scene.render.resolution_x = report["camera"]["width_px"]
    scene.render.resolution_y = report["camera"]["height_px"]
    scene.render.resolution_percentage = 100
    scene.render.pixel_aspect_x = scene.render.pixel_aspect_y = 1.0
