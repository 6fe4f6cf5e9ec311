"""The photo's camera, with the photo behind the head."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
from mathutils import Matrix

from . import images
from .core.camera import BLENDER_SENSOR_MM, blender_camera
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
    seen = blender_camera(found)
    data.sensor_fit = seen.sensor_fit
    data.sensor_width = data.sensor_height = BLENDER_SENSOR_MM
    data.lens = seen.lens_mm
    data.shift_x, data.shift_y = seen.shift_x, seen.shift_y
    data.clip_start = 0.01
    thing.matrix_world = Matrix(seen.matrix_world.tolist())
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


def look_through(context: Any) -> None:
    """Turn the screen's 3D viewports to the scene's camera."""
    if context.screen is not None:
        for area in context.screen.areas:
            if area.type == "VIEW_3D":
                area.spaces.active.region_3d.view_perspective = "CAMERA"
