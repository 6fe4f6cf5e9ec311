"""The skin on a head: images, the group 'FacePBR Skin' in front of a Principled BSDF, eyes and teeth, solo view, glTF.

The inputs of the Principled BSDF are looked up through core.principled, because their names changed in Blender 4.0.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy

from . import images
from .core import principled
from .core.passes import CONFIDENCE_KEY, PASS_BY_KEY
from .core.principled import socket
from .core.shading import SKIN_IOR
from .result_files import SURFACE_KEY, Files, Part
from .skin_group import GROUP_NAME, GROUP_OUTPUTS, MAP_INPUTS, new_socket, skin_group

_SOLO = "Solo"


def skin(files: Files, folder: Path, name: str, pack: bool) -> Any:
    """A skin material from the maps of ``folder``/passes; the roughness comes out of head.glb."""
    material, output = _empty(f"{name} skin")
    tree = material.node_tree
    shader = tree.nodes.new("ShaderNodeBsdfPrincipled")
    shader.location = (300, 0)
    output.location = (650, 0)
    group = tree.nodes.new("ShaderNodeGroup")
    group.node_tree = skin_group()
    group.name = group.label = GROUP_NAME
    group.width, group.location = 220, (0, 0)
    surface = folder / "passes" / f"{SURFACE_KEY}.png"
    surface.write_bytes(files.surface_png)
    sources = {key: folder / "passes" / f"{key}.png" for key in (*PASS_BY_KEY, CONFIDENCE_KEY)}
    for row, (key, path) in enumerate([*sources.items(), (SURFACE_KEY, surface)]):
        is_color = key in PASS_BY_KEY and PASS_BY_KEY[key].is_color
        image = images.load(path, f"{name} {key}", not is_color, pack)
        color = _map_node(tree, key, image, row).outputs["Color"]
        if key in MAP_INPUTS:
            tree.links.new(color, group.inputs[MAP_INPUTS[key]])
        elif key == SURFACE_KEY:
            tree.links.new(_channels(tree, color, (-170, -700))["Green"], group.inputs["Roughness"])
    principled.set_skin(shader, bpy.app.version)
    has_scale = socket(shader, "subsurface_scale") is not None  # else the radius carries it
    for title, _, key in GROUP_OUTPUTS:
        target = socket(shader, key)
        if target is not None and not (has_scale and key == "subsurface_radius"):
            tree.links.new(group.outputs[title], target)
    alone = tree.nodes.new("ShaderNodeEmission")
    alone.name = alone.label = _SOLO
    alone.location = (300, 200)
    tree.links.new(shader.outputs[0], output.inputs["Surface"])
    return material


def part(source: Part, folder: Path, name: str, pack: bool) -> Any:
    """A smooth dielectric with the picture or colour of an eye, of teeth."""
    material, output = _empty(f"{name} {source.name}")
    tree = material.node_tree
    shader = tree.nodes.new("ShaderNodeBsdfPrincipled")
    output.location = (300, 0)
    socket(shader, "roughness").default_value = source.roughness
    socket(shader, "ior").default_value = source.ior
    socket(shader, "base_color").default_value = source.color
    if source.texture_png:
        path = folder / "passes" / f"{source.name}.png"
        path.write_bytes(source.texture_png)
        picture = tree.nodes.new("ShaderNodeTexImage")
        picture.image = images.load(path, f"{name} {source.name}", False, pack)
        picture.location = (-350, 0)
        tree.links.new(picture.outputs["Color"], socket(shader, "base_color"))
    tree.links.new(shader.outputs[0], output.inputs["Surface"])
    return material


def group_node(thing: Any) -> Any | None:
    """The skin group of a head, whose inputs are the sliders; None where the user took it out."""
    material = _skin_of(thing)
    return material.node_tree.nodes[GROUP_NAME] if material else None


def _skin_of(thing: Any) -> Any | None:
    """The first of our skin materials on an object, as we made it: with group, shader, output and solo."""
    for slot in thing.material_slots:
        tree = slot.material.node_tree if slot.material else None
        if tree is not None and GROUP_NAME in tree.nodes and _SOLO in tree.nodes:
            kinds = {node.type for node in tree.nodes}
            if {"OUTPUT_MATERIAL", "BSDF_PRINCIPLED"} <= kinds:
                return slot.material
    return None


def pass_images(thing: Any) -> dict[str, Any]:
    """Map key -> image of a head's skin."""
    material = _skin_of(thing)
    nodes = material.node_tree.nodes if material else ()
    return {node.name: node.image for node in nodes if node.type == "TEX_IMAGE" and node.image}


def show_only(thing: Any, key: str | None) -> None:
    """Show one map unlit, or the shaded skin for None."""
    material = _skin_of(thing)
    if material is None:
        return
    tree = material.node_tree
    by_type = {node.type: node for node in tree.nodes}
    alone = tree.nodes[_SOLO]
    if key is not None:
        tree.links.new(tree.nodes[key].outputs["Color"], alone.inputs["Color"])
    shown = by_type["BSDF_PRINCIPLED"] if key is None else alone
    tree.links.new(shown.outputs[0], by_type["OUTPUT_MATERIAL"].inputs["Surface"])


def shown(thing: Any) -> str | None:
    """Key of the map that is shown alone, or None."""
    material = _skin_of(thing)
    if material is None:
        return None
    alone = material.node_tree.nodes[_SOLO]
    links = alone.inputs["Color"].links
    return links[0].from_node.name if alone.outputs[0].is_linked and links else None


def for_gltf(thing: Any) -> Any:
    """A plain material with the head's maps as glTF knows them; the caller removes it."""
    maps = pass_images(thing)
    material, output = _empty(f"{thing.name} glTF")
    tree = material.node_tree
    shader = tree.nodes.new("ShaderNodeBsdfPrincipled")
    tree.links.new(shader.outputs[0], output.inputs["Surface"])
    socket(shader, "ior").default_value = SKIN_IOR

    def texture(key: str) -> Any:
        node = tree.nodes.new("ShaderNodeTexImage")
        node.image = maps[key]
        return node.outputs["Color"]

    tree.links.new(texture("albedo"), socket(shader, "base_color"))
    bend = tree.nodes.new("ShaderNodeNormalMap")
    tree.links.new(texture("normal"), bend.inputs["Color"])
    tree.links.new(bend.outputs["Normal"], socket(shader, "normal"))
    packed = _channels(tree, texture(SURFACE_KEY), (0, 0))
    tree.links.new(packed["Green"], socket(shader, "roughness"))
    tree.links.new(packed["Blue"], shader.inputs["Metallic"])
    occlusion = tree.nodes.new("ShaderNodeGroup")
    occlusion.node_tree = _gltf_group()
    tree.links.new(packed["Red"], occlusion.inputs["Occlusion"])
    return material


def _gltf_group() -> Any:
    """The group by whose name Blender's exporter finds the occlusion; "Settings" in 3.4, "Material Output" later."""
    name = "glTF Material Output" if bpy.app.version >= (4, 0, 0) else "glTF Settings"
    tree = bpy.data.node_groups.get(name)
    if tree is None:
        tree = bpy.data.node_groups.new(name, "ShaderNodeTree")
        new_socket(tree, "Occlusion", "INPUT", "NodeSocketFloat")
        tree.nodes.new("NodeGroupInput")
        tree.nodes.new("NodeGroupOutput")
    return tree


def _empty(name: str) -> tuple[Any, Any]:
    material = bpy.data.materials.new(name)
    if material.node_tree is None:
        material.use_nodes = True
    material.node_tree.nodes.clear()
    return material, material.node_tree.nodes.new("ShaderNodeOutputMaterial")


def _channels(tree: Any, color: Any, location: tuple[float, float]) -> Any:
    """Outputs "Red", "Green", "Blue" of a colour."""
    node = tree.nodes.new("ShaderNodeSeparateColor")
    node.location = location
    tree.links.new(color, node.inputs["Color"])
    return node.outputs


def _map_node(tree: Any, key: str, image: Any, row: int) -> Any:
    """An image node in a frame with the pass' name."""
    frame = tree.nodes.new("NodeFrame")
    frame.label = frame.name = f"Pass: {key}"
    node = tree.nodes.new("ShaderNodeTexImage")
    node.image, node.name, node.label = image, key, key.replace("_", " ")
    node.extension = "EXTEND"
    node.parent = frame
    node.location = (-760 if row % 2 else -420, 500 - 330 * (row // 2))
    return node
