"""The skin and eye materials: one documented node group, 'FacePBR Skin', in front of a Principled BSDF.

Group inputs: the maps' colours, then the sliders the panel shows. Group outputs go to the Principled inputs of the
same meaning, which are looked up through core.principled, because their names changed in Blender 4.0.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import bpy

from . import images
from .core import principled
from .core.passes import CONFIDENCE_KEY, PASS_BY_KEY
from .core.principled import socket
from .core.shading import SKIN_IOR, skin_roughness
from .result_files import Eye

GROUP_NAME = "FacePBR Skin"
GROUP_VERSION = 1
"""Raised when the group changes: files with an older group keep theirs."""

MELANIN_TINT = (0.66, 0.56, 0.37)
"""What one unit of melanin leaves of linear R, G, B: absorption goes with wavelength^-3.33 (610, 550, 465 nm)."""
REDNESS_TINT = (0.97, 0.60, 0.66)
"""What one unit of redness leaves: blood takes green and blue and lets red pass."""


class Slider(NamedTuple):
    """One editable input of the group."""

    name: str
    default: float
    low: float
    high: float
    description: str


SLIDERS = (
    Slider("Normal Strength", 1.0, 0.0, 3.0, "Depth of the fine relief"),
    Slider(
        "AO Factor", 0.0, 0.0, 1.0, "Share of ambient occlusion painted in; renders find their own"
    ),
    Slider("Specular Scale", 1.0, 0.0, 2.0, "Strength of the highlights"),
    Slider("Roughness Offset", 0.0, -0.3, 0.3, "Negative: oilier, positive: drier"),
    Slider("Subsurface", 1.0, 0.0, 1.0, "How much light enters the skin"),
    Slider("Melanin", 0.0, -1.0, 1.0, "Darker or lighter skin"),
    Slider("Redness", 0.0, -1.0, 1.0, "More or less blood in the skin"),
)
MAP_INPUTS = {
    # key: name of the group's input
    "albedo": "Albedo",
    "ambient_occlusion": "Ambient Occlusion",
    "normal": "Normal Map",
    "specular": "Specular",
    "translucency": "Translucency",
    "roughness": "Roughness",
}
GROUP_OUTPUTS = (
    # output, kind, key in principled.SOCKETS
    ("Base Color", "NodeSocketColor", "base_color"),
    ("Roughness", "NodeSocketFloat", "roughness"),
    ("Specular", "NodeSocketFloat", "specular"),
    ("Subsurface", "NodeSocketFloat", "subsurface"),
    ("Normal", "NodeSocketVector", "normal"),
)


def skin(folder: Path, name: str, pack: bool) -> Any:
    """A skin material from the maps of ``folder``/passes."""
    material, output = _empty(f"{name} skin")
    tree = material.node_tree
    shader = tree.nodes.new("ShaderNodeBsdfPrincipled")
    shader.location = (300, 0)
    output.location = (650, 0)
    group = tree.nodes.new("ShaderNodeGroup")
    group.node_tree = _group()
    group.name = group.label = GROUP_NAME
    group.width, group.location = 220, (0, 0)
    sources = {key: folder / "passes" / f"{key}.png" for key in (*PASS_BY_KEY, CONFIDENCE_KEY)}
    pictures = {
        key: images.load(path, f"{name} {key}", not _is_color(key), pack)
        for key, path in sources.items()
    }
    pictures["roughness"] = images.from_array(skin_roughness(512), f"{name} roughness", True)
    for row, (key, image) in enumerate(pictures.items()):
        node = _map_node(tree, key, image, row)
        if key in MAP_INPUTS:
            tree.links.new(node.outputs["Color"], group.inputs[MAP_INPUTS[key]])
    for output_name, _, key in GROUP_OUTPUTS:
        tree.links.new(group.outputs[output_name], socket(shader, key))
    extra = socket(shader, "subsurface_color")
    if extra is not None:  # before 4.0 scattered light has a colour of its own
        tree.links.new(group.outputs["Base Color"], extra)
    principled.set_skin(shader, bpy.app.version)
    alone = tree.nodes.new("ShaderNodeEmission")
    alone.name = alone.label = "Solo"
    alone.location = (300, 200)
    tree.links.new(shader.outputs[0], output.inputs["Surface"])
    return material


def eye(source: Eye, folder: Path, name: str, pack: bool) -> Any:
    """A smooth dielectric with the eye's picture."""
    material, output = _empty(f"{name} {source.name}")
    tree = material.node_tree
    shader = tree.nodes.new("ShaderNodeBsdfPrincipled")
    output.location = (300, 0)
    socket(shader, "roughness").default_value = source.roughness
    socket(shader, "ior").default_value = source.ior
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
    material = thing.active_material
    return material.node_tree.nodes.get(GROUP_NAME) if material and material.node_tree else None


def pass_images(thing: Any) -> dict[str, Any]:
    """Map key -> image of a head's skin."""
    nodes = thing.active_material.node_tree.nodes if group_node(thing) else ()
    return {node.name: node.image for node in nodes if node.type == "TEX_IMAGE" and node.image}


def show_only(thing: Any, key: str | None) -> None:
    """Show one map unlit, or the shaded skin for None."""
    if group_node(thing) is None:
        return
    tree = thing.active_material.node_tree
    by_type = {node.type: node for node in tree.nodes}
    output, shader, alone = (
        by_type["OUTPUT_MATERIAL"],
        by_type["BSDF_PRINCIPLED"],
        tree.nodes["Solo"],
    )
    if key is not None:
        tree.links.new(tree.nodes[key].outputs["Color"], alone.inputs["Color"])
    shown = shader if key is None else alone
    tree.links.new(shown.outputs[0], output.inputs["Surface"])


def for_gltf(thing: Any) -> Any:
    """A plain material with the head's maps, as glTF knows them; the caller removes it."""
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
    tree.links.new(texture("roughness"), socket(shader, "roughness"))
    occlusion = tree.nodes.new("ShaderNodeGroup")
    occlusion.node_tree = _gltf_group()
    tree.links.new(texture("ambient_occlusion"), occlusion.inputs["Occlusion"])
    return material


def _gltf_group() -> Any:
    """The group by whose name Blender's exporter finds the occlusion; "Settings" in 3.4, "Material Output" later."""
    name = "glTF Material Output" if bpy.app.version >= (4, 0, 0) else "glTF Settings"
    tree = bpy.data.node_groups.get(name)
    if tree is None:
        tree = bpy.data.node_groups.new(name, "ShaderNodeTree")
        _interface(tree, "Occlusion", "INPUT", "NodeSocketFloat")
        tree.nodes.new("NodeGroupInput")
        tree.nodes.new("NodeGroupOutput")
    return tree


def _is_color(key: str) -> bool:
    return key in PASS_BY_KEY and PASS_BY_KEY[key].is_color


def _empty(name: str) -> tuple[Any, Any]:
    material = bpy.data.materials.new(name)
    if material.node_tree is None:
        material.use_nodes = True
    material.node_tree.nodes.clear()
    return material, material.node_tree.nodes.new("ShaderNodeOutputMaterial")


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


# --- the group ---


def _group() -> Any:
    for tree in bpy.data.node_groups:
        if tree.get("facepbr_version") == GROUP_VERSION:
            return tree
    tree = bpy.data.node_groups.new(GROUP_NAME, "ShaderNodeTree")
    tree["facepbr_version"] = GROUP_VERSION
    for title in MAP_INPUTS.values():
        kind = "NodeSocketColor" if title in ("Albedo", "Normal Map") else "NodeSocketFloat"
        _interface(tree, title, "INPUT", kind)
    for slider in SLIDERS:
        made = _interface(tree, slider.name, "INPUT", "NodeSocketFloat")
        made.default_value, made.min_value, made.max_value = slider[1:4]
        made.description = slider.description
    for title, kind, _ in GROUP_OUTPUTS:
        _interface(tree, title, "OUTPUT", kind)
    _Wiring(tree).connect()
    return tree


def _interface(tree: Any, name: str, direction: str, kind: str) -> Any:
    if hasattr(tree, "interface"):
        return tree.interface.new_socket(name, in_out=direction, socket_type=kind)
    sockets = tree.inputs if direction == "INPUT" else tree.outputs
    return sockets.new(kind, name)


class _Wiring:
    """Builds the inside of the group."""

    def __init__(self, tree: Any) -> None:
        self.tree = tree
        self.given = self._node("NodeGroupInput", (-900, 0))
        self.made = self._node("NodeGroupOutput", (900, 0))

    def connect(self) -> None:
        color = self._frame("Colour: melanin, redness, ambient occlusion", 500, self._color)
        self._to("Base Color", color)
        self._to("Roughness", self._frame("Roughness", 0, self._roughness))
        self._to("Specular", self._frame("Specular level at IOR 1.4", -250, self._specular))
        self._to("Subsurface", self._frame("Translucency as subsurface weight", -500, self._thin))
        self._to("Normal", self._frame("Relief, tangent space, OpenGL", -750, self._normal))

    def _color(self) -> Any:
        color = self._in("Albedo")
        for slider, tint in (("Melanin", MELANIN_TINT), ("Redness", REDNESS_TINT)):
            combine = self._node("ShaderNodeCombineXYZ")
            for channel, share in enumerate(tint):
                power = self._math("MULTIPLY", self._in(slider), math.log(share))
                self._link(self._math("EXPONENT", power), combine.inputs[channel])
            color = self._vector("MULTIPLY", color, combine.outputs[0])
        closed = self._math("SUBTRACT", 1.0, self._in("Ambient Occlusion"))
        openness = self._math(
            "SUBTRACT", 1.0, self._math("MULTIPLY", closed, self._in("AO Factor"))
        )
        color = self._vector("MULTIPLY", color, openness)
        return self._vector("MINIMUM", color, (1.0, 1.0, 1.0))

    def _roughness(self) -> Any:
        value = self._math("ADD", self._in("Roughness"), self._in("Roughness Offset"))
        return self._math("MINIMUM", self._math("MAXIMUM", value, 0.05), 1.0)

    def _specular(self) -> Any:
        value = self._math("MULTIPLY", self._in("Specular"), self._in("Specular Scale"))
        return self._math("MULTIPLY", value, principled.specular_factor(bpy.app.version))

    def _thin(self) -> Any:
        return self._math("MULTIPLY", self._in("Translucency"), self._in("Subsurface"))

    def _normal(self) -> Any:
        node = self._node("ShaderNodeNormalMap")
        self._link(self._in("Normal Map"), node.inputs["Color"])
        self._link(self._in("Normal Strength"), node.inputs["Strength"])
        return node.outputs["Normal"]

    # --- small parts ---

    def _frame(self, label: str, y: float, build: Any) -> Any:
        """Run ``build`` and put the nodes it makes into a labelled frame, left to right."""
        before = set(self.tree.nodes)
        result = build()
        made = [node for node in self.tree.nodes if node not in before]
        frame = self._node("NodeFrame")
        frame.label = label
        for index, node in enumerate(made):
            node.parent = frame
            node.location = (-600 + 170 * (index // 3), y - 60 * (index % 3))
            node.hide = True
        return result

    def _node(self, kind: str, location: tuple[float, float] = (0, 0)) -> Any:
        node = self.tree.nodes.new(kind)
        node.location = location
        return node

    def _in(self, name: str) -> Any:
        return self.given.outputs[name]

    def _to(self, name: str, source: Any) -> None:
        self._link(source, self.made.inputs[name])

    def _link(self, source: Any, target: Any) -> None:
        """A link, or a constant."""
        if isinstance(source, (float, tuple)):
            target.default_value = source
        else:
            self.tree.links.new(source, target)

    def _math(self, operation: str, *values: Any) -> Any:
        node = self._node("ShaderNodeMath")
        node.operation = operation
        for index, value in enumerate(values):
            self._link(value, node.inputs[index])
        return node.outputs[0]

    def _vector(self, operation: str, *values: Any) -> Any:
        node = self._node("ShaderNodeVectorMath")
        node.operation = operation
        for index, value in enumerate(values):
            self._link(value, node.inputs[index])
        return node.outputs[0]
