"""Blender's own glTF exporter and our skin: while it writes, heads wear a plain material that it can read.

The exporter calls the two functions that the add-on's ``__init__`` names; they hold for File > Export as for ours.
"""

from __future__ import annotations

from typing import Any

import bpy

from . import head, materials

_swapped: list[tuple[str, int, str, str]] = []
"""(head, slot, its skin, the stand-in) by name, while the exporter runs."""


def before(_settings: Any = None) -> None:
    """Give every head the stand-in material."""
    after()
    for thing in bpy.data.objects:
        if not head.is_head(thing) or materials.group_node(thing) is None:
            continue
        stand_in = materials.for_gltf(thing)
        for index, slot in enumerate(thing.material_slots):
            if slot.material and materials.GROUP_NAME in slot.material.node_tree.nodes:
                _swapped.append((thing.name, index, slot.material.name, stand_in.name))
                slot.material = stand_in
    # An exporter that fails calls nobody back: the skin must return all the same.
    if _swapped and not bpy.app.background:
        bpy.app.timers.register(after)


def after(_settings: Any = None) -> None:
    """Give them their skin back."""
    while _swapped:
        name, index, own, stand_in = _swapped.pop()
        thing, skin = bpy.data.objects.get(name), bpy.data.materials.get(own)
        if thing is not None and skin is not None:
            thing.material_slots[index].material = skin
        left = bpy.data.materials.get(stand_in)
        if left is not None:
            bpy.data.materials.remove(left)
