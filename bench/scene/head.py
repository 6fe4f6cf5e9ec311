"""Heads in the scene, and the cameras that see them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix, Vector

from core.camera import BLENDER_SENSOR_MM, blender_camera
from core.environment import blender_to_head, head_to_blender
from core.passes import PASS_BY_KEY

from .images import MapSource, quiet
from .skin import SkinOptions, skin_material


@dataclass(frozen=True)
class Head:
    """A head in the scene."""

    object: Any
    eyes: tuple[Any, ...]
    """Eyeballs and teeth."""


def add_mesh(
    name: str,
    vertices: np.ndarray,
    faces: np.ndarray,
    uv: np.ndarray,
    uv_faces: np.ndarray | None = None,
) -> Any:
    """A smooth-shaded object from head-space vertices (V, 3), faces (F, 3) and UVs (T, 2), v up."""
    data = bpy.data.meshes.new(name)
    data.from_pydata(head_to_blender(np.asarray(vertices, np.float64)).tolist(), [], faces.tolist())
    layer = data.uv_layers.new(name="UVMap")
    corners = np.asarray(uv, np.float32)[faces if uv_faces is None else uv_faces]
    layer.data.foreach_set("uv", corners.reshape(-1))
    data.polygons.foreach_set("use_smooth", np.ones(len(data.polygons), bool))
    data.update()
    thing = bpy.data.objects.new(name, data)
    bpy.context.scene.collection.objects.link(thing)
    return thing


def load_head(path: Path) -> Head:
    """The head of a .glb of ours (with eyes, head space), or of an .obj of any unit, its size kept.

    An .obj keeps its vertex order; what is not metres is scaled by the height of the head, which
    is between 0.15 and 0.6 m. FileNotFoundError where there is none, ValueError for other sizes.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"expected a head; got no file {path}")
    before = set(bpy.data.objects)
    if bpy.app.version < (3, 6, 0) and "bool" not in vars(np):
        np.bool = bool  # that Blender's glTF importer still uses the alias numpy removed in 1.24
    with quiet():
        if path.suffix.lower() == ".obj":
            bpy.ops.wm.obj_import(filepath=str(path), forward_axis="NEGATIVE_Z", up_axis="Y")
        else:
            bpy.ops.import_scene.gltf(filepath=str(path))
    meshes = [thing for thing in bpy.data.objects if thing not in before and thing.type == "MESH"]
    head = max(meshes, key=lambda t: (t.name.split(".")[0] == "head", len(t.data.vertices)))
    if path.suffix.lower() == ".obj":
        _to_metres(head, path)
        head.data.polygons.foreach_set("use_smooth", np.ones(len(head.data.polygons), bool))
    return Head(head, tuple(thing for thing in meshes if thing is not head))


def _to_metres(thing: Any, path: Path) -> None:
    bpy.context.view_layer.update()
    height = float(np.ptp(_world_points(thing)[:, 2]))
    for unit in (1.0, 0.1, 0.01, 0.001):
        if 0.15 <= height * unit <= 0.6:
            thing.scale = [unit * value for value in thing.scale]
            bpy.context.view_layer.update()
            return
    raise ValueError(
        f"expected a head 0.15 to 0.6 m high in m, dm, cm or mm; got {height:g} in {path}"
    )


def wear(head: Head, maps: Mapping[str, MapSource], options: SkinOptions | None = None) -> None:
    """Put passes on a head, instead of what it wore."""
    head.object.data.materials.clear()
    head.object.data.materials.append(skin_material(maps, options))


def load_result(folder: Path, options: SkinOptions | None = None) -> Head:
    """The head and eyes of a result folder (``head.glb``) wearing its ``passes/*.png``."""
    folder = Path(folder)
    if not (folder / "head.glb").is_file():
        raise FileNotFoundError(f"expected a result folder with head.glb; got {folder}")
    head = load_head(folder / "head.glb")
    maps = {key: folder / "passes" / f"{key}.png" for key in PASS_BY_KEY}
    wear(head, {key: path for key, path in maps.items() if path.is_file()}, options)
    return head


def _new_camera(name: str) -> Any:
    thing = bpy.data.objects.new(name, bpy.data.cameras.new(name))
    scene = bpy.context.scene
    scene.collection.objects.link(thing)
    scene.camera = thing
    return thing


def portrait_camera(
    head: Head, yaw_deg: float = 0.0, lens_mm: float = 85.0, elevation_deg: float = 0.0
) -> Any:
    """A camera framing the head as a portrait: 36 mm film; yaw to the head's left, elevation from eye height up."""
    bpy.context.view_layer.update()
    points = _world_points(head.object)
    eyes = [part for part in head.eyes if part.name.startswith("eye")]
    if eyes:
        eyes = np.concatenate([_world_points(eye) for eye in eyes])
        center = Vector((0.0, float(points[:, 1].mean()), float(eyes[:, 2].mean()) - 0.015))
        center.x = float(eyes[:, 0].mean())
    else:
        top = float(points[:, 2].max())
        center = Vector((float(points[:, 0].mean()), float(points[:, 1].mean()), top - 0.13))
    thing = _new_camera("portrait")
    thing.data.lens, thing.data.sensor_width = lens_mm, BLENDER_SENSOR_MM
    distance = 0.29 * lens_mm / BLENDER_SENSOR_MM + 0.09  # 29 cm of height at the face
    yaw, up = math.radians(yaw_deg), math.radians(elevation_deg)
    flat = math.cos(up) * distance
    offset = Vector((math.sin(yaw) * flat, -math.cos(yaw) * flat, math.sin(up) * distance))
    thing.location = center + offset
    thing.rotation_euler = (-offset).to_track_quat("-Z", "Y").to_euler()
    return thing


def _world_points(thing: Any) -> np.ndarray:
    flat = np.empty(3 * len(thing.data.vertices), np.float32)
    thing.data.vertices.foreach_get("co", flat)
    matrix = np.array(thing.matrix_world)
    return flat.reshape(-1, 3) @ matrix[:3, :3].T + matrix[:3, 3]


def photo_camera(report: Mapping[str, Any]) -> Any:
    """The photo's own camera from a report's ``camera`` entry (OpenCV: x_cam = R x_head + t).

    The render's size is set to the photo's aspect by the caller, for instance with
    :func:`setup_cycles` and (height, width) in proportion.
    """
    found = blender_camera(report)
    thing = _new_camera("photo")
    thing.data.sensor_fit = found.sensor_fit
    thing.data.sensor_width = thing.data.sensor_height = BLENDER_SENSOR_MM
    thing.data.lens = found.lens_mm
    thing.data.shift_x, thing.data.shift_y = found.shift_x, found.shift_y
    thing.data.clip_start = 0.01
    thing.matrix_world = Matrix(found.matrix_world.tolist())
    return thing


def camera_entry(thing: Any, size: int) -> dict[str, Any]:
    """A square camera of ours as a report's ``camera`` entry: the inverse of :func:`photo_camera`."""
    bpy.context.view_layer.update()
    pose = np.array(thing.matrix_world)
    axes = blender_to_head(pose[:3, :3].T)  # rows: right, up, back, in head space
    rotation = axes * np.array([[1.0], [-1.0], [-1.0]])
    return {
        "width_px": size,
        "height_px": size,
        "focal_px": thing.data.lens / BLENDER_SENSOR_MM * size,
        "center_px": [size / 2, size / 2],
        "rotation_head_to_camera": rotation.tolist(),
        "translation_m": (-rotation @ blender_to_head(pose[:3, 3])).tolist(),
    }


def remove(head: Head) -> None:
    """Take a head and its eyes out of the scene."""
    for thing in (head.object, *head.eyes):
        bpy.data.objects.remove(thing)
