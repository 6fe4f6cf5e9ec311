"""The head in the scene: mesh, shape keys, eyes and teeth; a mesh of the user's dressed; heads found again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import bpy
import numpy as np
from mathutils import Vector

from .core.environment import blender_to_head, head_to_blender
from .result_files import Files, Mesh, Polygons

_ROOM_M = 2.5
_APART = 0.75
_STEP_M = 0.5
_MAX_STEPS = 40
TAG = "facepbr"
"""Custom property that marks what belongs to a result, on the head object it holds the report."""
CAMERA_TAG = "facepbr_camera"
"""Custom property of a head: the name of its photo's camera."""
LIGHT_TAG = "facepbr_light"
"""Custom property of a head: the name of the image of its photo's light."""


def build(files: Files, collection: Any, source: Any = None) -> tuple[Any, tuple[Any, ...]]:
    """The head and its parts as objects of ``collection``, without materials; parts are the head's children.

    ``source``: the object the result was made for, whose mesh is copied, polygons, groups and all; its vertices are
    head.obj's. None: the triangles of head.obj.
    """
    name = str(files.report.get("name", files.folder.name))
    if source is None:
        thing = add_mesh(name, files.head, collection)
    else:
        thing = _copy_mesh(name, source, files.head.vertices, collection)
    thing[TAG] = json.dumps(files.report, ensure_ascii=False)
    values = _fitted(files.report, list(files.shapes))
    if files.shapes:
        rest = files.head.vertices - sum(values[key] * files.shapes[key] for key in values)
        _add_shape_keys(thing, rest, files.shapes, values)
    parts = []
    for part in files.parts:
        made = add_mesh(f"{name} {part.name}", part.mesh, collection)
        made.parent = thing
        shapes = {key: part.shapes[key] for key in part.shapes if key in files.shapes}
        if shapes:  # a part's points are at rest already
            _add_shape_keys(made, part.mesh.vertices, shapes, values)
            for key in shapes:
                _follow(made, thing, key)
        parts.append(made)
    return thing, tuple(parts)


def add_mesh(name: str, mesh: Mesh, collection: Any) -> Any:
    """A smooth object with UVs, in Blender's space, the mesh's vertex order kept."""
    data = bpy.data.meshes.new(name)
    faces = np.ascontiguousarray(mesh.faces, np.int32)
    data.vertices.add(len(mesh.vertices))
    data.loops.add(faces.size)
    data.polygons.add(len(faces))
    data.vertices.foreach_set("co", _flat(mesh.vertices))
    data.loops.foreach_set("vertex_index", faces.ravel())
    data.polygons.foreach_set("loop_start", np.arange(0, faces.size, 3, dtype=np.int32))
    if bpy.app.version < (3, 6, 0):  # later ones know where the next begins
        data.polygons.foreach_set("loop_total", np.full(len(faces), 3, np.int32))
    data.polygons.foreach_set("use_smooth", np.ones(len(faces), bool))
    layer = data.uv_layers.new(name="UVMap")
    layer.data.foreach_set("uv", mesh.uv[mesh.uv_faces].astype(np.float32).ravel())
    data.update(calc_edges=True)
    thing = bpy.data.objects.new(name, data)
    collection.objects.link(thing)
    return thing


def _copy_mesh(name: str, source: Any, vertices: np.ndarray, collection: Any) -> Any:
    thing = bpy.data.objects.new(name, source.data.copy())
    thing.data.name = name
    collection.objects.link(thing)
    if thing.data.shape_keys is not None:
        thing.shape_key_clear()
    thing.data.materials.clear()
    thing.data.vertices.foreach_set("co", _flat(vertices))
    thing.data.polygons.foreach_set("use_smooth", np.ones(len(thing.data.polygons), bool))
    thing.data.polygons.foreach_set("material_index", np.zeros(len(thing.data.polygons), np.int32))
    thing.data.update()
    return thing


def _flat(vertices: np.ndarray) -> np.ndarray:
    """(V, 3) head space -> (3 V,) float32 in Blender's space."""
    return head_to_blender(vertices).astype(np.float32).ravel()


def _add_shape_keys(
    thing: Any, rest: np.ndarray, shapes: Mapping[str, np.ndarray], values: Mapping[str, float]
) -> None:
    """Expression shapes as keys on the face at rest, with the photo's expression as their values."""
    thing.data.vertices.foreach_set("co", _flat(rest))
    thing.shape_key_add(name="Neutral", from_mix=False)
    for name, offsets in shapes.items():
        key = thing.shape_key_add(name=name, from_mix=False)
        points = getattr(key, "points", key.data)  # from 4.1 on, several times as fast
        points.foreach_set("co", _flat(rest + offsets))
        key.value = values[name]


def _follow(part: Any, thing: Any, name: str) -> None:
    """A part's key takes the value of the head's key of the same name."""
    driver = part.data.shape_keys.key_blocks[name].driver_add("value").driver
    driver.type = "SUM"
    variable = driver.variables.new()
    target = variable.targets[0]
    target.id_type, target.id = "KEY", thing.data.shape_keys
    target.data_path = f'key_blocks["{name}"].value'


def _fitted(report: dict[str, Any], names: list[str]) -> dict[str, float]:
    """Expression name -> the fit's coefficient, 0 where the result has no fit."""
    fitted = (report.get("fit") or {}).get("expression") or []
    found = fitted if len(fitted) == len(names) else [0.0] * len(names)
    return dict(zip(names, found))  # noqa: B905


def free_place_m(thing: Any, others: Iterable[Any]) -> float:
    """How far to the right a head stands free of other things of its own order: Blender's cube, another head.

    Larger ones are rooms and stages, which a head may well be meant to stand in.
    """
    center = sum((Vector(corner) for corner in thing.bound_box), Vector()) / 8
    boxes = []
    for other in others:
        corners = np.array([other.matrix_world @ Vector(corner) for corner in other.bound_box])
        size = np.ptp(corners, axis=0).max()
        if size <= _ROOM_M:  # wide enough apart not to stand in the picture either
            boxes.append((corners.min(0) - _APART * size, corners.max(0) + _APART * size))
    for step in range(_MAX_STEPS):
        place = np.array(center) + (step * _STEP_M, 0.0, 0.0)
        if not any((low < place).all() and (place < high).all() for low, high in boxes):
            return step * _STEP_M
    return 0.0


def set_posed(thing: Any, posed: bool) -> None:
    """The photo's expression, or the face at rest."""
    keys = thing.data.shape_keys
    if keys is None:
        return
    for name, value in _fitted(report(thing), _key_names(thing)).items():
        keys.key_blocks[name].value = value if posed else 0.0


def is_posed(thing: Any) -> bool:
    """Whether any expression shape is on."""
    keys = thing.data.shape_keys
    return keys is not None and any(keys.key_blocks[name].value for name in _key_names(thing))


def _key_names(thing: Any) -> list[str]:
    return [key.name for key in thing.data.shape_keys.key_blocks[1:]]


def is_head(thing: Any) -> bool:
    """Whether an object is the head of a result."""
    return thing is not None and thing.type == "MESH" and isinstance(thing.get(TAG), str)


def active(context: Any) -> Any | None:
    """The head the panel is about: the active object or its parent, else the scene's newest head."""
    thing = context.object
    if is_head(thing):
        return thing
    if thing is not None and is_head(thing.parent):
        return thing.parent
    heads = [item for item in context.scene.objects if is_head(item)]
    return heads[-1] if heads else None


def report(thing: Any) -> dict[str, Any]:
    """The report of a head's result."""
    return json.loads(thing[TAG])


# --- a mesh of the user's ---


def polygons(thing: Any) -> Polygons:
    """The object's mesh as it is edited, without modifiers, in head space."""
    if thing.mode == "EDIT":
        thing.update_from_editmode()
    data = thing.data
    vertices = np.empty(3 * len(data.vertices), np.float32)
    data.vertices.foreach_get("co", vertices)
    corners = np.empty(len(data.loops), np.int32)
    data.loops.foreach_get("vertex_index", corners)
    uv = np.empty(2 * len(data.loops), np.float32)
    data.uv_layers.active.data.foreach_get("uv", uv)
    starts = np.empty(len(data.polygons), np.int32)
    data.polygons.foreach_get("loop_start", starts)
    return Polygons(blender_to_head(vertices.reshape(-1, 3)), corners, uv.reshape(-1, 2), starts)


def add_shape(thing: Any, name: str, vertices: np.ndarray) -> None:
    """A result's head as a shape key, switched on, of a mesh of the user's; nothing else of it changes."""
    if thing.data.shape_keys is None:
        thing.shape_key_add(name="Basis", from_mix=False)
    key = thing.shape_key_add(name=name, from_mix=False)
    key.data.foreach_set("co", _flat(vertices))
    key.value = 1.0
