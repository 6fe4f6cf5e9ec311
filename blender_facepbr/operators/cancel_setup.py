"""End the set-up of the environment."""

import bpy

from .. import managed


class FACEPBR_OT_cancel_setup(bpy.types.Operator):
    """Stop setting up the environment and remove what is there of it"""

    bl_idname = "facepbr.cancel_setup"
    bl_label = "Cancel Set-up"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """There is something to cancel."""
        if managed.running() is None:
            cls.poll_message_set("No environment is being set up")
            return False
        return True

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """Its thread cleans up."""
        setup = managed.running()
        if setup is not None:
            setup.cancel()
        return {"FINISHED"}
