"""The report of a head's result to the clipboard."""

import json

import bpy

from .. import head, jobs


class FACEPBR_OT_copy_report(bpy.types.Operator):
    """Copy the report of this head: versions, times, camera, warnings, and how long the window waited"""

    bl_idname = "facepbr.copy_report"
    bl_label = "Copy Report"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """There is a head."""
        if head.active(context) is None:
            cls.poll_message_set("No FacePBR head in this scene")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        """As JSON."""
        report = head.report(head.active(context))
        ticks = jobs.current.ticks
        report["blender"] = {
            "version": bpy.app.version_string,
            "last_job": ticks
            and {
                "ticks": ticks.count,
                "missed": ticks.missed,
                "longest_ms": round(ticks.longest_ms, 1),
                "apply_ms": round(ticks.apply_ms, 1),
            },
        }
        text = json.dumps(report, indent=2, ensure_ascii=False)
        context.window_manager.clipboard = text
        self.report({"INFO"}, "Report copied")
        return {"FINISHED"}
