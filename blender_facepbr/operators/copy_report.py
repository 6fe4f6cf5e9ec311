"""The report of a head's result to the clipboard."""

import json

import bpy

from .. import head


class FACEPBR_OT_copy_report(bpy.types.Operator):
    """Copy the report of this head: versions, times, camera, warnings"""

    bl_idname = "facepbr.copy_report"
    bl_label = "Copy Report"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """There is a head."""
        return head.active(context) is not None

    def execute(self, context: bpy.types.Context) -> set[str]:
        """As JSON."""
        text = json.dumps(head.report(head.active(context)), indent=2, ensure_ascii=False)
        context.window_manager.clipboard = text
        self.report({"INFO"}, "Report copied")
        return {"FINISHED"}
