"""How a script that may run inside Blender finds its own arguments."""

from __future__ import annotations

import sys

import bpy


def script_arguments() -> list[str]:
    """What follows ``--`` in Blender, everything after the script's name under Python with the bpy wheel."""
    in_blender = not getattr(bpy.app, "module", "--" not in sys.argv)
    if not in_blender:
        return sys.argv[1:]
    return sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []
