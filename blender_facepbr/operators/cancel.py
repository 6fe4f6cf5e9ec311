"""Cancel the running job."""

import bpy

from .. import jobs


class FACEPBR_OT_cancel(bpy.types.Operator):
    """Stop decomposing the photo; nothing is left of it"""

    bl_idname = "facepbr.cancel"
    bl_label = "Cancel"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """There is something to cancel."""
        if jobs.current.job is None:
            cls.poll_message_set("No photo is being decomposed")
            return False
        return True

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """The waiting modal operator sees that its job is gone and ends."""
        jobs.end_job()
        return {"FINISHED"}
