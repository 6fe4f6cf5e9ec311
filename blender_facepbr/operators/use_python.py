"""Choose the Python that runs the networks."""

from pathlib import Path

import bpy

from .. import preferences
from ..runtime import probe


class FACEPBR_OT_use_python(bpy.types.Operator):
    """Choose a Python interpreter that has torch and FacePBR's other packages"""

    bl_idname = "facepbr.use_python"
    bl_label = "Use This Python"

    filepath: bpy.props.StringProperty(
        name="Python",
        description="The interpreter itself, for instance bin/python of an environment",
        subtype="FILE_PATH",
    )

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        """Ask for the file."""
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Remember it; it is checked in a thread, at once under -b, where an unfit one is refused."""
        path = preferences.absolute(self.filepath)
        if not Path(path).is_file():
            self.report({"ERROR"}, f"Expected a Python; got nothing at {path}; do choose another")
            return {"CANCELLED"}
        if bpy.app.background:
            state = probe(path)
            if not state.ready:
                self.report({"ERROR"}, state.problem)
                return {"CANCELLED"}
            preferences.remember(state)
        preferences.get(context).python = path
        return {"FINISHED"}
