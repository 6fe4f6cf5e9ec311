"""Light the scene by the light chosen in the panel."""

from pathlib import Path

import bpy

from .. import head, light, preferences


class FACEPBR_OT_relight(bpy.types.Operator):
    """Light the scene by the chosen light, exposed for the face"""

    bl_idname = "facepbr.relight"
    bl_label = "Relight"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """A new World; the user's own stays in the file."""
        scene = context.scene
        settings = scene.facepbr
        source = settings.light_source
        pack = settings.storage == "PACK"
        try:
            if source == "USER":
                if settings.user_world is None:
                    raise RuntimeError("Expected a World from before FacePBR; got none")
                scene.world = settings.user_world
            elif source == "PHOTO":
                _photo_light(context)
            elif source == "FILE":
                path = preferences.absolute(settings.light_file)
                if not Path(path).is_file():
                    raise RuntimeError(f"Expected an HDRI; got {path or 'none'}; do choose a file")
                light.from_file(scene, Path(path), Path(path).stem, pack)
            else:
                name = source.lower()
                light.from_file(scene, light.hdri_path(name), name, True)
        except RuntimeError as problem:
            self.report({"ERROR"}, str(problem).strip())
            return {"CANCELLED"}
        return {"FINISHED"}


def _photo_light(context: bpy.types.Context) -> None:
    found = head.active(context)
    image = bpy.data.images.get(found.get(head.LIGHT_TAG, "")) if found else None
    if image is None:
        raise RuntimeError("Expected a head with the light of its photo; got none; do select one")
    light.set_world(context.scene, image, 1.0, found.name)
