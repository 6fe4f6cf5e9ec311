"""The node group 'FacePBR Skin', documented by its sockets: maps in, sliders in, what a Principled BSDF wants out."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import bpy

from .core import principled

GROUP_NAME = "FacePBR Skin"
GROUP_VERSION = 2
"""Raised when the group changes: files with an older group keep theirs."""
MELANIN_TINT = (0.66, 0.56, 0.37)
"""What one unit of melanin leaves of linear R, G, B: absorption goes with wavelength^-3.33 (610, 550, 465 nm)."""
REDNESS_TINT = (0.97, 0.60, 0.66)
"""What one unit of redness leaves: blood takes green and blue and lets red pass."""
UV_WIDTH_M = 0.42
"""A step of 1 in UV on the cheek of a head: 0.42 mm a texel at 1024."""
PORE_SPACING_M = 0.0008
CREASE_SPACING_M = 0.0005
PORE_DEPTH_M = 0.00007
"""Gives an RMS slope of about 0.13, what the roughness map takes the pores for (core.shading)."""


class Slider(NamedTuple):
    """One editable input of the group."""

    name: str
    default: float
    low: float
    high: float
    description: str
    kind: str = "NodeSocketFloat"


SLIDERS = (
    Slider("Normal Strength", 1.0, 0.0, 3.0, "Depth of the relief in the normal map"),
    Slider(
        "Micro Detail", 0.5, 0.0, 2.0, "Pores and fine creases, smaller than the maps can hold; 1: "
        "0.07 mm deep",
    ),
    Slider(
        "AO Factor", 0.0, 0.0, 1.0, "Share of ambient occlusion painted in; renders find their own"
    ),
    Slider("Specular Scale", 1.0, 0.0, 2.0, "Strength of the highlights"),
    Slider("Roughness Offset", 0.0, -0.3, 0.3, "Negative: oilier, positive: drier"),
    Slider("Subsurface", 1.0, 0.0, 1.0, "Share of the light that enters the skin where it is thin"),
    Slider(
        "Scatter Depth", principled.SUBSURFACE_SCALE_M, 0.0, 0.02,
        "How far red light travels in the skin", "NodeSocketFloatDistance",
    ),
    Slider("Melanin", 0.0, -1.0, 1.0, "Darker or lighter skin"),
    Slider("Redness", 0.0, -1.0, 1.0, "More or less blood in the skin"),
    Slider("Raw Diffuse", 0.0, 0.0, 1.0, "To compare: the albedo with the photo's soft light left in"),
)  # fmt: skip
MAP_INPUTS = {
    # key of the pass: name of the group's input
    "albedo": "Albedo",
    "raw_diffuse": "Raw Diffuse Map",
    "ambient_occlusion": "Ambient Occlusion",
    "normal": "Normal Map",
    "specular": "Specular",
    "translucency": "Translucency",
}
_COLORS = ("Albedo", "Raw Diffuse Map", "Normal Map")
GROUP_OUTPUTS = (
    # output, kind, key in core.principled.SOCKETS
    ("Base Color", "NodeSocketColor", "base_color"),
    ("Base Color", "NodeSocketColor", "subsurface_color"),
    ("Roughness", "NodeSocketFloat", "roughness"),
    ("Specular", "NodeSocketFloat", "specular"),
    ("Subsurface", "NodeSocketFloat", "subsurface"),
    ("Subsurface Scale", "NodeSocketFloat", "subsurface_scale"),
    ("Subsurface Radius", "NodeSocketVector", "subsurface_radius"),
    ("Normal", "NodeSocketVector", "normal"),
)


def skin_group() -> Any:
    """The group, made at its first use in a file."""
    for tree in bpy.data.node_groups:
        if tree.get("facepbr_version") == GROUP_VERSION:
            return tree
    tree = bpy.data.node_groups.new(GROUP_NAME, "ShaderNodeTree")
    tree["facepbr_version"] = GROUP_VERSION
    for title in (*MAP_INPUTS.values(), "Roughness"):
        kind = "NodeSocketColor" if title in _COLORS else "NodeSocketFloat"
        new_socket(tree, title, "INPUT", kind)
    for slider in SLIDERS:
        made = new_socket(tree, slider.name, "INPUT", slider.kind)
        made.default_value, made.min_value, made.max_value = slider[1:4]
        made.description = slider.description
    for title, kind in {title: kind for title, kind, _ in GROUP_OUTPUTS}.items():
        new_socket(tree, title, "OUTPUT", kind)
    _Wiring(tree).connect()
    return tree


def new_socket(tree: Any, name: str, direction: str, kind: str) -> Any:
    """A socket of a group; kinds with a subtype are spelled "NodeSocketFloatDistance"."""
    if not hasattr(tree, "interface"):
        sockets = tree.inputs if direction == "INPUT" else tree.outputs
        return sockets.new(kind, name)
    plain = "NodeSocketFloat" if kind.startswith("NodeSocketFloat") else kind
    made = tree.interface.new_socket(name, in_out=direction, socket_type=plain)
    if kind != plain:
        made.subtype = kind.removeprefix(plain).upper()
    return made


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
        self._to("Subsurface Scale", self._in("Scatter Depth"))
        self._to("Subsurface Radius", self._frame("Scatter, metres", -650, self._radius))
        bent = self._frame("Relief, tangent space, OpenGL", -850, self._normal)
        self._to("Normal", self._frame("Pores and creases", -1100, lambda: self._detail(bent)))

    def _color(self) -> Any:
        color = self._mix(self._in("Albedo"), self._in("Raw Diffuse Map"), self._in("Raw Diffuse"))
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

    def _radius(self) -> Any:
        return self._vector("MULTIPLY", principled.SUBSURFACE_RADIUS, self._in("Scatter Depth"))

    def _normal(self) -> Any:
        node = self._node("ShaderNodeNormalMap")
        self._link(self._in("Normal Map"), node.inputs["Color"])
        self._link(self._in("Normal Strength"), node.inputs["Strength"])
        return node.outputs["Normal"]

    def _detail(self, normal: Any) -> Any:
        """Pits (pores) and a net of creases between them, in UV so that they stay on the moving skin."""
        where = self._node("ShaderNodeTexCoord").outputs["UV"]
        pore = self._voronoi(where, "F1", PORE_SPACING_M)
        crease = self._voronoi(where, "DISTANCE_TO_EDGE", CREASE_SPACING_M)
        height = self._math(
            "ADD",
            self._math("MULTIPLY", self._math("SMOOTH_MIN", pore, 0.35, 0.2), 1.7),
            self._math("MULTIPLY", self._math("SMOOTH_MIN", crease, 0.2, 0.1), 2.0),
        )
        bump = self._node("ShaderNodeBump")
        bump.inputs["Strength"].default_value = 1.0
        self._link(
            self._math("MULTIPLY", self._in("Micro Detail"), PORE_DEPTH_M), bump.inputs["Distance"]
        )
        self._link(height, bump.inputs["Height"])
        self._link(normal, bump.inputs["Normal"])
        return bump.outputs["Normal"]

    # --- small parts ---

    def _voronoi(self, where: Any, feature: str, spacing_m: float) -> Any:
        node = self._node("ShaderNodeTexVoronoi")
        node.voronoi_dimensions, node.feature = "2D", feature
        node.inputs["Scale"].default_value = UV_WIDTH_M / spacing_m
        self._link(where, node.inputs["Vector"])
        return node.outputs["Distance"]

    def _mix(self, first: Any, second: Any, share: Any) -> Any:
        node = self._node("ShaderNodeMixRGB")
        for value, target in ((share, "Fac"), (first, "Color1"), (second, "Color2")):
            self._link(value, node.inputs[target])
        return node.outputs[0]

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
