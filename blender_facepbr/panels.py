"""The sidebar: View3D > N > FacePBR. Panels only draw."""

from typing import Any

import bpy

from . import head, jobs, managed, materials, preferences, thumbnails
from .runtime import RuntimeProblem
from .skin_group import SLIDERS
from .translations import translated


class _Panel:
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "FacePBR"


class _HeadPanel(_Panel):
    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only where there is a head."""
        return head.active(context) is not None


class FACEPBR_PT_portrait(_Panel, bpy.types.Panel):
    """Photo in, job."""

    bl_label = "Portrait"

    def draw(self, context: bpy.types.Context) -> None:
        """Photo, head, the button or the running job."""
        layout = self.layout
        settings = context.scene.facepbr
        job = jobs.current.job
        icon = thumbnails.icon(preferences.absolute(settings.photo))
        if icon:
            layout.template_icon(icon_value=icon, scale=6.0)
        column = _column(layout)
        column.enabled = job is None
        column.prop(settings, "photo")
        column.prop(settings, "head_kind")
        if settings.head_kind == "FILE":
            column.prop(settings, "head_file")
        elif settings.head_kind == "MESH":
            column.prop(settings, "head_mesh")
            column.prop(settings, "mesh_shape")
        if job is not None:
            _draw_job(layout, job)
            return
        setup = managed.running()
        if setup is not None:
            preferences.draw_setup(layout.box(), setup)
        try:
            preferences.interpreter(context)
        except RuntimeProblem as problem:
            if setup is None:
                preferences.draw_problem(layout.box(), str(problem))
                shown = layout.operator("preferences.addon_show", text="Open Preferences")
                shown.module = preferences.ADDON
        row = layout.row()
        row.scale_y = 1.5
        row.operator("facepbr.decompose", icon="USER")


class FACEPBR_PT_options(_Panel, bpy.types.Panel):
    """How the photo is decomposed."""

    bl_label = "Options"
    bl_parent_id = "FACEPBR_PT_portrait"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Resolution to light."""
        column = _column(self.layout)
        column.enabled = jobs.current.job is None
        names = ("size", "bits", "device", "light_removal", "storage", "use_camera", "use_world")
        for name in names:
            column.prop(context.scene.facepbr, name)


class FACEPBR_PT_result(_HeadPanel, bpy.types.Panel):
    """The head: what is seen of it."""

    bl_label = "Head"

    def draw(self, context: bpy.types.Context) -> None:
        """View, expression, camera."""
        settings = context.scene.facepbr
        thing = head.active(context)
        column = _column(self.layout)
        column.label(text=thing.name, icon="USER", translate=False)
        column.prop(settings, "solo")
        if thing.data.shape_keys is not None:
            column.prop(settings, "posed")
        column.operator("facepbr.photo_camera", icon="CAMERA_DATA")


class FACEPBR_PT_skin(_HeadPanel, bpy.types.Panel):
    """The sliders of the head's material."""

    bl_label = "Skin"
    bl_parent_id = "FACEPBR_PT_result"

    def draw(self, context: bpy.types.Context) -> None:
        """The group's inputs."""
        group = materials.group_node(head.active(context))
        if group is None:
            self.layout.label(text="The skin material was replaced", icon="INFO")
            return
        column = self.layout.column(align=True)
        for slider in SLIDERS:
            if slider.name in group.inputs:  # a head of an older version has fewer
                column.prop(group.inputs[slider.name], "default_value", text=slider.name)


class FACEPBR_PT_light(_HeadPanel, bpy.types.Panel):
    """The light."""

    bl_label = "Light"

    def draw(self, context: bpy.types.Context) -> None:
        """Source, turn, exposure."""
        settings = context.scene.facepbr
        column = _column(self.layout)
        column.prop(settings, "light_source")
        if settings.light_source == "FILE":
            column.prop(settings, "light_file")
        column.operator("facepbr.relight", icon="WORLD")
        column.prop(settings, "light_rotation")
        column.prop(settings, "light_exposure")


class FACEPBR_PT_output(_HeadPanel, bpy.types.Panel):
    """Files, report, memory."""

    bl_label = "Output"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, _context: bpy.types.Context) -> None:
        """Buttons only."""
        column = self.layout.column(align=True)
        column.operator("facepbr.export_maps", icon="EXPORT")
        column.operator("facepbr.export_glb", icon="EXPORT")
        column.operator("facepbr.copy_report", icon="COPYDOWN")
        column.operator("facepbr.free_memory", icon="X")


def _column(layout: Any) -> Any:
    column = layout.column()
    column.use_property_split = True
    column.use_property_decorate = False
    return column


def _draw_job(layout: Any, job: jobs.Job) -> None:
    stage = translated(job.stage.capitalize())
    text = f"{stage}  {job.done}/{job.total}" if job.total else stage
    if hasattr(layout, "progress"):
        layout.progress(factor=job.fraction, text=text)
    else:
        layout.label(text=f"{text}  ({100 * job.fraction:.0f} %)", icon="TIME", translate=False)
    layout.operator("facepbr.cancel", icon="CANCEL")


_CLASSES = (
    FACEPBR_PT_portrait,
    FACEPBR_PT_options,
    FACEPBR_PT_result,
    FACEPBR_PT_skin,
    FACEPBR_PT_light,
    FACEPBR_PT_output,
)


def register() -> None:
    """Register the panels."""
    for cls in _CLASSES:
        bpy.utils.register_class(cls)


def unregister() -> None:
    """Unregister the panels."""
    for cls in reversed(_CLASSES):
        bpy.utils.unregister_class(cls)
