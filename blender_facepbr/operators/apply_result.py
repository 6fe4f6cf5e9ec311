"""Put a result folder into the scene, as one undo step."""

import shutil
from pathlib import Path

import bpy

from .. import camera, head, images, light, materials, result_files
from ..core.passes import CONFIDENCE_KEY, PASS_KEYS


class FACEPBR_OT_apply_result(bpy.types.Operator):
    """Build the head of a result folder, with its skin, eyes, camera and light"""

    bl_idname = "facepbr.apply_result"
    bl_label = "Apply FacePBR Result"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}

    directory: bpy.props.StringProperty(
        name="Result", description="Folder of one decomposed photo", subtype="DIR_PATH"
    )
    photo: bpy.props.StringProperty(
        name="Photo", description="The photo, shown behind the head", subtype="FILE_PATH"
    )
    mesh: bpy.props.StringProperty(
        name="Mesh",
        description="Object whose mesh the result was made for; the head is a copy of it",
        options={"SKIP_SAVE"},
    )

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Everything, or an error before anything is made."""
        scene = context.scene
        settings = scene.facepbr
        pack = settings.storage == "PACK"
        folder = Path(bpy.path.abspath(self.directory))
        try:
            files = result_files.take(folder)
            missing = [
                key
                for key in (*PASS_KEYS, CONFIDENCE_KEY)
                if not (folder / "passes" / f"{key}.png").is_file()
            ]
            if missing:
                raise result_files.ResultProblem(
                    f"{folder}: expected all maps; got no {', '.join(missing)}; do decompose again"
                )
            if not pack:
                folder = _keep(folder)
        except result_files.ResultProblem as problem:
            self.report({"ERROR"}, str(problem))
            return {"CANCELLED"}
        name = str(files.report.get("name", folder.name))
        collection = bpy.data.collections.new(f"FacePBR {name}")
        scene.collection.children.link(collection)
        source = self._source(files)
        others = [item for item in context.visible_objects if item.type == "MESH"]
        thing, parts = head.build(files, collection, source)
        thing.location.x = head.free_place_m(thing, others)
        thing.data.materials.append(materials.skin(files, folder, name, pack))
        for made, part in zip(parts, files.parts):  # noqa: B905
            made.data.materials.append(materials.part(part, folder, name, pack))
        if source is not None and settings.mesh_shape:
            head.add_shape(source, f"FacePBR {name}", files.head.vertices)
        seen = camera.add(files.report, name, collection)
        if seen is not None:
            seen.location.x += thing.location.x
            thing[head.CAMERA_TAG] = seen.name
            why_not = self.photo and camera.add_photo(seen, files.report, Path(self.photo), pack)
            if why_not:
                self.report({"WARNING"}, why_not)
            if settings.use_camera:
                camera.use(scene, seen, files.report)
        environment = folder / "environment.exr"
        if environment.is_file():
            image = images.load(environment, f"FacePBR {name} light", False, pack)
            image.use_fake_user = True
            thing[head.LIGHT_TAG] = image.name
            if settings.use_world:
                light.set_world(scene, image, 1.0, name)
                settings.light_source = "PHOTO"
        for warning in files.report.get("warnings", []):
            self.report({"WARNING"}, warning)
        _show(context, thing)
        if settings.use_camera and seen is not None and not bpy.app.background:
            camera.look_through(context)
        return {"FINISHED"}

    def _source(self, files: result_files.Files) -> bpy.types.Object | None:
        """The user's mesh, where it still is as it was when the job began."""
        thing = bpy.data.objects.get(self.mesh) if self.mesh else None
        if self.mesh and (thing is None or len(thing.data.vertices) != len(files.head.vertices)):
            self.report(
                {"WARNING"}, f"{self.mesh} has changed since: the head is a mesh of its own"
            )
            return None
        return thing


def _keep(folder: Path) -> Path:
    """Copy a result beside the .blend file, whole or not at all; returns the copy."""
    kept = images.result_folder(folder.name)
    try:
        shutil.copytree(folder, kept)
    except OSError as error:
        shutil.rmtree(kept, ignore_errors=True)
        raise result_files.ResultProblem(
            f"Expected to write {kept}; got {error.strerror or error}; do choose Pack, or save elsewhere"
        ) from None
    return kept


def _show(context: bpy.types.Context, thing: bpy.types.Object) -> None:
    """Select the head; solid viewports switch to material preview, where a skin can be seen."""
    for other in context.selected_objects:
        other.select_set(False)
    thing.select_set(True)
    context.view_layer.objects.active = thing
    if bpy.app.background or context.screen is None:
        return
    for area in context.screen.areas:
        if area.type == "VIEW_3D" and area.spaces.active.shading.type in ("SOLID", "WIREFRAME"):
            area.spaces.active.shading.type = "MATERIAL"
            area.spaces.active.shading.use_scene_world = True
