"""End the warm worker, which holds the networks."""

import bpy

from .. import jobs


class FACEPBR_OT_free_memory(bpy.types.Operator):
    """Let go of the networks and the memory they hold; the next photo loads them again"""

    bl_idname = "facepbr.free_memory"
    bl_label = "Free Memory"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Something is held and not at work."""
        if jobs.current.worker is None:
            cls.poll_message_set("No networks are loaded")
            return False
        if jobs.current.job is not None:
            cls.poll_message_set("The networks are at work on a photo")
            return False
        return True

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """End the process."""
        jobs.stop()
        return {"FINISHED"}
