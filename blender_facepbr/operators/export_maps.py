"""The maps of a head as files."""

from pathlib import Path

import bpy

from .. import head, images, materials, preferences


class FACEPBR_OT_export_maps(bpy.types.Operator):
    """Write the maps of this head, as they are stored, into a folder"""

    bl_idname = "facepbr.export_maps"
    bl_label = "Export Maps"

    directory: bpy.props.StringProperty(
        name="Folder",
        description="Folder for the maps; made when it is not there",
        subtype="DIR_PATH",
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """There is a head with its skin."""
        found = head.active(context)
        if found is None or not materials.pass_images(found):
            cls.poll_message_set("No FacePBR head with its maps in this scene")
            return False
        return True

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        """Ask for the folder."""
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Write them."""
        folder = Path(preferences.absolute(self.directory))
        found = materials.pass_images(head.active(context))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for key, image in found.items():
                images.write(image, folder / f"{key}{images.suffix(image)}")
        except OSError as error:
            self.report({"ERROR"}, f"Expected to write into {folder}; got {error.strerror}")
            return {"CANCELLED"}
        self.report({"INFO"}, f"{len(found)} maps written to {folder}")
        return {"FINISHED"}
