"""Look through the camera of the head's photo."""

import bpy

from .. import camera, head


class FACEPBR_OT_photo_camera(bpy.types.Operator):
    """Look through the camera placed as the photo's, and set the render to the photo's size"""

    bl_idname = "facepbr.photo_camera"
    bl_label = "Camera of Photo"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """The head's camera is still in this scene."""
        if _camera(context) is None:
            cls.poll_message_set("No camera of a FacePBR head's photo in this scene")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Scene camera, render size, view."""
        camera.use(context.scene, _camera(context), head.report(head.active(context)))
        camera.look_through(context)
        return {"FINISHED"}


def _camera(context: bpy.types.Context) -> bpy.types.Object | None:
    found = head.active(context)
    return context.scene.objects.get(found.get(head.CAMERA_TAG, "")) if found else None
