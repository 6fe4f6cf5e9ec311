"""Blender's Principled BSDF as skin: input names by version, and the values skin has. Knows Blender's words, not bpy.

``version`` is ``bpy.app.version``, ``node`` anything with Blender's ``inputs``.
"""

from __future__ import annotations

from typing import Any

from .shading import SKIN_F0, SKIN_IOR

SOCKETS: dict[str, tuple[str | None, str | None]] = {
    # ours: (name from 4.0 on, name in 3.4 to 3.6); None: that version has no such input
    "base_color": ("Base Color", "Base Color"),
    "roughness": ("Roughness", "Roughness"),
    "ior": ("IOR", "IOR"),
    "normal": ("Normal", "Normal"),
    "specular": ("Specular IOR Level", "Specular"),
    "subsurface": ("Subsurface Weight", "Subsurface"),
    "subsurface_radius": ("Subsurface Radius", "Subsurface Radius"),
    "subsurface_scale": ("Subsurface Scale", None),
    "subsurface_color": (None, "Subsurface Color"),
    "subsurface_anisotropy": ("Subsurface Anisotropy", "Subsurface Anisotropy"),
    "coat": ("Coat Weight", "Clearcoat"),
    "coat_roughness": ("Coat Roughness", "Clearcoat Roughness"),
}
"""The Principled inputs that skin uses; looked up by name, never by index."""

SUBSURFACE_SCALE_M = 0.004
SUBSURFACE_RADIUS = (1.0, 0.37, 0.19)
SUBSURFACE_ANISOTROPY = 0.8


def socket(node: Any, key: str) -> Any | None:
    """The input called ``key`` in SOCKETS, or None where this Blender has none."""
    for name in SOCKETS[key]:
        if name is not None and name in node.inputs:
            return node.inputs[name]
    return None


def set_value(node: Any, key: str, value: Any) -> None:
    """Set an input where this Blender has it."""
    found = socket(node, key)
    if found is not None:
        found.default_value = value


def set_skin(
    node: Any,
    version: tuple[int, ...],
    scale_m: float = SUBSURFACE_SCALE_M,
    radius: tuple[float, float, float] = SUBSURFACE_RADIUS,
) -> None:
    """A dielectric of skin's IOR with a random walk at its real scale; ``radius`` is relative, red, green, blue."""
    node.subsurface_method = "RANDOM_WALK_SKIN" if version >= (4, 0, 0) else "RANDOM_WALK"
    set_value(node, "ior", SKIN_IOR)
    set_value(node, "subsurface_anisotropy", SUBSURFACE_ANISOTROPY)
    has_scale = socket(node, "subsurface_scale") is not None
    set_value(node, "subsurface_scale", scale_m)
    set_value(node, "subsurface_radius", [(1.0 if has_scale else scale_m) * r for r in radius])


def specular_factor(version: tuple[int, ...]) -> float:
    """Specular pass -> Principled specular: 1 from 4.0 on; before, 0.5 is 4 % whatever the IOR, not skin's 2.8 %."""
    return 1.0 if version >= (4, 0, 0) else SKIN_F0 / 0.04
