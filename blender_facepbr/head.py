"""The head in the scene: collection, mesh, shape keys, eyes; and how it is found again."""

from __future__ import annotations

import json
from typing import Any

import bpy
import numpy as np
from mathutils.kdtree import KDTree

from .core.environment import head_to_blender
from .result_files import Files, Mesh

TAG = "facepbr"
"""Custom property that marks what belongs to a result, on the head object it holds the report."""
_SAME_POINT_M = 2e-6
"""head.obj rounds to 0.1 micrometre, head.glb to float32."""


def build(files: Files, collection: Any) -> tuple[Any, tuple[Any, ...]]:
    """The head and its eyes as objects of ``collection``, without materials; eyes are the head's children."""
    name = str(files.report.get("name", files.folder.name))
    thing = add_mesh(name, files.head, collection)
    thing[TAG] = json.dumps(files.report, ensure_ascii=False)
    if files.shapes:
        _add_shape_keys(thing, files)
    eyes = []
    for eye in files.eyes:
        ball = add_mesh(f"{name} {eye.name}", eye.mesh, collection)
        ball.parent = thing
        eyes.append(ball)
    return thing, tuple(eyes)


def add_mesh(name: str, mesh: Mesh, collection: Any) -> Any:
    """A smooth object with UVs, in Blender's space, the mesh's vertex order kept."""
    data = bpy.data.meshes.new(name)
    data.from_pydata(head_to_blender(mesh.vertices).tolist(), [], mesh.faces.tolist())
    layer = data.uv_layers.new(name="UVMap")
    layer.data.foreach_set("uv", mesh.uv[mesh.uv_faces].astype(np.float32).ravel())
    data.polygons.foreach_set("use_smooth", np.ones(len(data.polygons), bool))
    data.update()
    thing = bpy.data.objects.new(name, data)
    collection.objects.link(thing)
    return thing


def _add_shape_keys(thing: Any, files: Files) -> None:
    """Expression shapes as keys on the face at rest, with the photo's expression as their values."""
    vertices = files.head.vertices
    values = _fitted(files.report, list(files.shapes))
    points = next(iter(files.shapes.values()))[0]
    rows = _match(points, vertices)
    offsets = {}
    for name, (_, moved) in files.shapes.items():
        full = np.zeros_like(vertices)
        full[rows] = moved
        offsets[name] = full
    rest = vertices - sum(values[name] * full for name, full in offsets.items())
    thing.data.vertices.foreach_set("co", head_to_blender(rest).astype(np.float32).ravel())
    thing.shape_key_add(name="Neutral", from_mix=False)
    for name, full in offsets.items():
        key = thing.shape_key_add(name=name, from_mix=False)
        key.data.foreach_set("co", head_to_blender(rest + full).astype(np.float32).ravel())
        key.value = values[name]


def _fitted(report: dict[str, Any], names: list[str]) -> dict[str, float]:
    """Expression name -> the fit's coefficient, 0 where the result has no fit."""
    fitted = (report.get("fit") or {}).get("expression") or []
    found = fitted if len(fitted) == len(names) else [0.0] * len(names)
    return dict(zip(names, found))  # noqa: B905


def _match(points: np.ndarray, vertices: np.ndarray) -> np.ndarray:
    """(M,) index of the vertex at each of the points (M, 3)."""
    tree = KDTree(len(vertices))
    for index, vertex in enumerate(vertices.tolist()):
        tree.insert(vertex, index)
    tree.balance()
    found = [tree.find(point)[1:] for point in points.tolist()]
    assert max(distance for _, distance in found) < _SAME_POINT_M, "head.obj and head.glb differ"
    return np.array([index for index, _ in found])


def set_posed(thing: Any, posed: bool) -> None:
    """The photo's expression, or the face at rest."""
    keys = thing.data.shape_keys
    if keys is None:
        return
    blocks = keys.key_blocks[1:]
    for name, value in _fitted(report(thing), [key.name for key in blocks]).items():
        keys.key_blocks[name].value = value if posed else 0.0


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
