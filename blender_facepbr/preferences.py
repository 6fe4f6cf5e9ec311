"""Preferences: which Python runs the networks and what state it is in, and which weights."""

from pathlib import Path
from typing import Any

import bpy

from . import runtime

ADDON = __package__
_checked: dict[str, runtime.Probe] = {}
"""Interpreter -> probe of this session."""


class FacePBRPreferences(bpy.types.AddonPreferences):
    """Where the networks run."""

    bl_idname = ADDON

    python: bpy.props.StringProperty(
        name="Python",
        description="Python interpreter with torch that runs the networks. Empty: FACEPBR_PYTHON, then the add-on's "
        "own environment",
        subtype="FILE_PATH",
    )
    weights: bpy.props.StringProperty(
        name="Weights",
        description="Folder with another set of network weights. Empty: the set that comes with the add-on",
        subtype="DIR_PATH",
    )

    def draw(self, _context: bpy.types.Context) -> None:
        """Choice first, then the state, then what to do about it."""
        layout = self.layout
        layout.use_property_split = True
        layout.prop(self, "python")
        layout.prop(self, "weights")
        box = layout.box()
        try:
            path, source = runtime.find_interpreter(absolute(self.python), managed_dir())
        except runtime.RuntimeProblem as problem:
            draw_text(box, str(problem), "ERROR")
            return
        box.label(text=f"Runtime from {source}: {path}", icon="CONSOLE")
        state = state_of(path)
        if state is None and path in _checked:
            box.label(text="Checking...", icon="TIME")
        elif state is None:
            box.label(text="Not checked yet", icon="QUESTION")
        elif state.ready:
            box.label(
                text=f"Ready: Python {state.python}, torch {state.torch}, device {state.device}",
                icon="CHECKMARK",
            )
        else:
            draw_text(box, state.problem, "ERROR")
        box.operator("facepbr.check_runtime", icon="FILE_REFRESH")


def draw_text(layout: Any, text: str, icon: str = "NONE", width: int = 60) -> None:
    """A long line as several labels."""
    words, line = text.split(), ""
    lines = []
    for word in words:
        if line and len(line) + len(word) >= width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    column = layout.column(align=True)
    for index, part in enumerate([*lines, line]):
        column.label(text=part, icon=icon if index == 0 else "BLANK1")


def get(context: bpy.types.Context) -> FacePBRPreferences:
    """The add-on's preferences."""
    return context.preferences.addons[ADDON].preferences


def absolute(path: str) -> str:
    """A path as Blender's fields hold it (with // or ~) as a plain one; symbolic links stay, virtual
    environments are made of them."""
    return str(Path(bpy.path.abspath(path)).expanduser().absolute()) if path else ""


def managed_dir() -> Path:
    """Folder of the add-on's own environment, there or not; survives updates of the add-on."""
    if hasattr(bpy.utils, "extension_path_user") and ADDON.startswith("bl_ext."):
        return Path(bpy.utils.extension_path_user(ADDON, path="runtime"))
    return Path(bpy.utils.user_resource("DATAFILES", path="facepbr")) / "runtime"


def interpreter(context: bpy.types.Context) -> str:
    """The interpreter to use; RuntimeProblem where there is none."""
    return runtime.find_interpreter(absolute(get(context).python), managed_dir())[0]


def check(path: str) -> runtime.Probe:
    """Begin to probe an interpreter again."""
    _checked[path] = runtime.Probe(path)
    return _checked[path]


def state_of(path: str) -> runtime.State | None:
    """What the last probe of an interpreter found, or None."""
    probe = _checked.get(path)
    return probe.state if probe else None


def register() -> None:
    """Register the preferences."""
    bpy.utils.register_class(FacePBRPreferences)


def unregister() -> None:
    """Unregister the preferences and forget what was probed."""
    bpy.utils.unregister_class(FacePBRPreferences)
    _checked.clear()
