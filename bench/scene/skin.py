"""The six passes as a Principled skin; input names by version come from core.principled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import bpy

from core import principled
from core.principled import set_value, socket
from core.shading import skin_roughness

from .images import MapSource, make_image


@dataclass(frozen=True)
class SkinOptions:
    """How the passes drive the Principled BSDF."""

    subsurface: float = 1.0
    """Subsurface Weight = subsurface * translucency."""
    subsurface_scale_m: float = principled.SUBSURFACE_SCALE_M
    subsurface_radius: tuple[float, float, float] = principled.SUBSURFACE_RADIUS
    normal_strength: float = 1.0
    occlusion: float = 0.0
    """Share of the ambient occlusion multiplied into the base colour; Cycles finds its own."""
    specular: float = 1.0
    """Specular IOR Level = specular * specular pass."""
    coat: float = 0.0
    """Weight of a second, sharper lobe."""


def _empty_material(name: str) -> tuple[Any, Any]:
    material = bpy.data.materials.new(name)
    if material.node_tree is None:
        material.use_nodes = True
    material.node_tree.nodes.clear()
    output = material.node_tree.nodes.new("ShaderNodeOutputMaterial")
    output.location = (400, 0)
    return material, output


def skin_material(
    maps: Mapping[str, MapSource], options: SkinOptions | None = None, name: str = "skin"
) -> Any:
    """A Principled skin from the passes (any may be missing); returns the material.

    albedo -> Base Color; normal -> Normal Map (tangent) -> Normal; specular -> Specular IOR Level at
    IOR 1.4 (0.5 is skin's own 2.8 %); roughness is regional (maps["roughness"] where given);
    translucency -> Subsurface Weight, times ``options.subsurface``, as a random walk of 4 mm.
    """
    options = options or SkinOptions()
    material, output = _empty_material(name)
    tree = material.node_tree
    shader = tree.nodes.new("ShaderNodeBsdfPrincipled")
    tree.links.new(shader.outputs[0], output.inputs["Surface"])
    principled.set_skin(
        shader, bpy.app.version, options.subsurface_scale_m, options.subsurface_radius
    )
    set_value(shader, "coat", options.coat)
    set_value(shader, "coat_roughness", 0.2)

    def texture(key: str, row: int, is_data: bool) -> Any:
        node = tree.nodes.new("ShaderNodeTexImage")
        node.image = make_image(maps[key], key, is_data)
        node.extension = "EXTEND"
        node.label, node.location = key, (-800, 300 - 300 * row)
        return node.outputs["Color"]

    def scaled(source: Any, factor: float) -> Any:
        node = tree.nodes.new("ShaderNodeMath")
        node.operation = "MULTIPLY"
        tree.links.new(source, node.inputs[0])
        node.inputs[1].default_value = factor
        return node.outputs[0]

    if "albedo" in maps:
        color = texture("albedo", 0, is_data=False)
        if options.occlusion > 0 and "ambient_occlusion" in maps:
            openness = texture("ambient_occlusion", 1, is_data=True)
            mix = tree.nodes.new("ShaderNodeMixRGB")
            mix.blend_type = "MULTIPLY"
            mix.inputs["Fac"].default_value = options.occlusion
            tree.links.new(color, mix.inputs["Color1"])
            tree.links.new(openness, mix.inputs["Color2"])
            color = mix.outputs["Color"]
        tree.links.new(color, socket(shader, "base_color"))
        if socket(shader, "subsurface_color") is not None:  # 3.4 has a colour of its own for it
            tree.links.new(color, socket(shader, "subsurface_color"))
    if "normal" in maps:
        bend = tree.nodes.new("ShaderNodeNormalMap")
        bend.inputs["Strength"].default_value = options.normal_strength
        tree.links.new(texture("normal", 2, is_data=True), bend.inputs["Color"])
        tree.links.new(bend.outputs["Normal"], socket(shader, "normal"))
    if "specular" in maps:
        factor = options.specular * principled.specular_factor(bpy.app.version)
        tree.links.new(
            scaled(texture("specular", 3, is_data=True), factor), socket(shader, "specular")
        )
    maps = dict(maps)
    if "roughness" not in maps:
        maps["roughness"] = skin_roughness(512)
    tree.links.new(texture("roughness", 4, is_data=True), socket(shader, "roughness"))
    if "translucency" in maps and options.subsurface > 0:
        thin = scaled(texture("translucency", 5, is_data=True), options.subsurface)
        tree.links.new(thin, socket(shader, "subsurface"))
    return material


def matt_material(color: tuple[float, float, float], name: str = "matt") -> Any:
    """A Lambertian surface of linear ``color``; for tests."""
    material, output = _empty_material(name)
    shader = material.node_tree.nodes.new("ShaderNodeBsdfDiffuse")
    shader.inputs["Color"].default_value = (*color, 1.0)
    material.node_tree.links.new(shader.outputs[0], output.inputs["Surface"])
    return material
