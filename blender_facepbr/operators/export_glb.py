"""The head with its parts as glTF, with a plain material that every importer understands."""

from pathlib import Path

import bpy

from .. import gltf, head, materials, preferences


class FACEPBR_OT_export_glb(bpy.types.Operator):
    """Write the head, its eyes and its teeth as .glb with the maps as they were predicted (sliders are not baked in)"""

    bl_idname = "facepbr.export_glb"
    bl_label = "Export GLB"

    filepath: bpy.props.StringProperty(name="File", description="The .glb", subtype="FILE_PATH")
    filter_glob: bpy.props.StringProperty(default="*.glb", options={"HIDDEN"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """There is a head with its skin, and Blender's exporter."""
        found = head.active(context)
        if found is None or not materials.pass_images(found):
            cls.poll_message_set("No FacePBR head with its maps in this scene")
            return False
        if "io_scene_gltf2" not in context.preferences.addons:
            cls.poll_message_set("Blender's glTF 2.0 add-on is switched off")
            return False
        return True

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        """Ask for the file."""
        self.filepath = f"{head.active(context).name}.glb"
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Blender's exporter, on the head and its parts alone."""
        thing = head.active(context)
        path = Path(preferences.absolute(self.filepath)).with_suffix(".glb")
        selected = list(context.selected_objects)
        try:
            for other in context.scene.objects:
                other.select_set(other == thing or other.parent == thing)
            bpy.ops.export_scene.gltf(
                filepath=str(path), export_format="GLB", use_selection=True, export_tangents=True
            )
        except RuntimeError as error:
            self.report({"ERROR"}, str(error).strip())
            return {"CANCELLED"}
        finally:
            gltf.after()
            for other in context.scene.objects:
                other.select_set(other in selected)
        self.report({"INFO"}, f"Written: {path}")
        return {"FINISHED"}
