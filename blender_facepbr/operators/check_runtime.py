"""Ask the runtime's Python what it has."""

from typing import Any

import bpy

from .. import preferences
from ..runtime import RuntimeProblem, probe


class FACEPBR_OT_check_runtime(bpy.types.Operator):
    """Start the runtime's Python once and show its torch and device"""

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
            found = preferences.check(path)
            bpy.app.timers.register(lambda: _look(found), first_interval=0.2)
            return {"FINISHED"}
        state = probe(path)
        if not state.ready:
            self.report({"ERROR"}, state.problem)
            return {"CANCELLED"}
        self.report({"INFO"}, f"Python {state.python}, torch {state.torch}, device {state.device}")
        return {"FINISHED"}


def _look(found: Any) -> float | None:
    if found.state is None:
        return 0.2
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            area.tag_redraw()
    return None
