"""Ask the runtime's Python what it has."""

import bpy

from .. import preferences
from ..runtime import RuntimeProblem, probe


class FACEPBR_OT_check_runtime(bpy.types.Operator):
    """Start the runtime's Python once and show its torch, device and size"""

    bl_idname = "facepbr.check_runtime"
    bl_label = "Check Runtime"

    def execute(self, context: bpy.types.Context) -> set[str]:
        """In a thread, with the preferences redrawn when it answers; at once under -b."""
        try:
            path = preferences.interpreter(context)
        except RuntimeProblem as problem:
            self.report({"ERROR"}, str(problem))
            return {"CANCELLED"}
        if not bpy.app.background:
            preferences.check(path)
            return {"FINISHED"}
        state = probe(path)
        if not state.ready:
            self.report({"ERROR"}, state.problem)
            return {"CANCELLED"}
        preferences.remember(state)
        self.report({"INFO"}, preferences.describe(state))
        return {"FINISHED"}
