"""Small pictures of photos for the panel; Blender loads them by itself when they are first drawn."""

from __future__ import annotations

import os
from typing import Any

import bpy.utils.previews

_previews: Any = None


def icon(path: str) -> int:
    """Icon of an image file, 0 where there is none to show."""
    if _previews is None or not path or not os.path.isfile(path):
        return 0
    if path not in _previews:
        _previews.load(path, path, "IMAGE")
    return _previews[path].icon_id


def register() -> None:
    """Begin with none."""
    global _previews
    _previews = bpy.utils.previews.new()


def unregister() -> None:
    """Let go of all."""
    global _previews
    bpy.utils.previews.remove(_previews)
    _previews = None
