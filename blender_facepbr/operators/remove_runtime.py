"""Remove the managed environment."""

import bpy

from .. import jobs, managed, preferences, runtime
from ..runtime import RuntimeProblem


class FACEPBR_OT_remove_runtime(bpy.types.Operator):
    """Delete the environment that was set up for FacePBR from the disk"""

    bl_idname = "facepbr.remove_runtime"
    bl_label = "Remove Environment"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """There is one, and nobody works in it."""
        if jobs.current.job is not None:
            cls.poll_message_set("A photo is being decomposed; cancel it first")
            return False
        if managed.running() is not None:
            cls.poll_message_set("It is being set up; cancel that first")
            return False
        if not runtime.is_ours(preferences.managed_dir()):
            cls.poll_message_set("No environment of FacePBR's is there")
            return False
        return True

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Ask first."""
        return context.window_manager.invoke_confirm(self, event)

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """The warm worker may run in it: it ends first."""
        jobs.stop()
        try:
            managed.remove(preferences.managed_dir())
        except RuntimeProblem as problem:
            self.report({"ERROR"}, str(problem))
            return {"CANCELLED"}
        self.report({"INFO"}, "Environment removed")
        return {"FINISHED"}
