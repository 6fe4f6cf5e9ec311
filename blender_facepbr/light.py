"""The light: a World of our own from an equirectangular image, exposed for the face; the user's World is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy

from . import images
from .core.exposure import face_exposure

TAG = "facepbr_exposure"
"""Custom property of our Worlds: strength at which the face is exposed, before the user's stops."""
_TURNS_DEG = range(0, 360, 45)
"""Exposed for the mean of these, so that turning the light does not change its strength."""


def hdri_path(name: str) -> Path:
    """Path of one of Blender's own eight HDRIs."""
    return Path(bpy.utils.system_resource("DATAFILES")) / "studiolights" / "world" / f"{name}.exr"


def set_world(scene: Any, image: Any, strength: float, name: str) -> Any:
    """Light ``scene`` by an equirect image; the World it had is remembered in its settings."""
    if scene.world is not None and TAG not in scene.world:
        scene.facepbr.user_world = scene.world
    world = bpy.data.worlds.new(f"FacePBR {name}")
    world[TAG] = strength
    if world.node_tree is None:
        world.use_nodes = True
    tree = world.node_tree
    tree.nodes.clear()
    output = tree.nodes.new("ShaderNodeOutputWorld")
    shade = tree.nodes.new("ShaderNodeBackground")
    picture = tree.nodes.new("ShaderNodeTexEnvironment")
    picture.image = image
    mapping = tree.nodes.new("ShaderNodeMapping")
    where = tree.nodes.new("ShaderNodeTexCoord")
    for index, node in enumerate((where, mapping, picture, shade, output)):
        node.location = (-700 + 230 * index, 300)
    tree.links.new(where.outputs["Generated"], mapping.inputs["Vector"])
    tree.links.new(mapping.outputs["Vector"], picture.inputs["Vector"])
    tree.links.new(picture.outputs["Color"], shade.inputs["Color"])
    tree.links.new(shade.outputs[0], output.inputs["Surface"])
    old, scene.world = scene.world, world
    if old is not None and TAG in old and old.users == 0:
        bpy.data.worlds.remove(old)
    adjust(scene, scene.facepbr.light_rotation, scene.facepbr.light_exposure)
    return world


def adjust(scene: Any, rotation_rad: float, stops: float) -> None:
    """Turn and brighten our World; a World of the user's is left alone."""
    world = scene.world
    if world is None or TAG not in world:
        return
    nodes = {node.type: node for node in world.node_tree.nodes}
    if "MAPPING" in nodes:
        nodes["MAPPING"].inputs["Rotation"].default_value[2] = -rotation_rad
    if "BACKGROUND" in nodes:
        nodes["BACKGROUND"].inputs["Strength"].default_value = world[TAG] * 2.0**stops


def from_file(scene: Any, path: Path, name: str, pack: bool) -> Any:
    """Light by an .exr or .hdr file, exposed for the face; RuntimeError where Blender cannot read it."""
    image = images.load(path, f"FacePBR {name}", False, pack)
    if image.size[0] == 0:
        bpy.data.images.remove(image)
        raise RuntimeError(f"Expected an equirectangular image; got {path}; do choose another file")
    return set_world(scene, image, face_exposure(images.pixels(image), *_TURNS_DEG), name)
