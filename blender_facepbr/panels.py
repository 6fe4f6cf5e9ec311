"""The sidebar: View3D > N > FacePBR. Panels only draw."""

from typing import Any

import bpy

from . import head, jobs, materials, preferences, thumbnails
from .runtime import RuntimeProblem


class _Panel:
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "FacePBR"


class FACEPBR_PT_portrait(_Panel, bpy.types.Panel):
    """Photo in, job."""

    bl_label = "Portrait"

    def draw(self, context: bpy.types.Context) -> None:
        """Photo, options, the button or the running job."""
        layout = self.layout
        settings = context.scene.facepbr
        icon = thumbnails.icon(preferences.absolute(settings.photo))
        if icon:
            layout.template_icon(icon_value=icon, scale=6.0)
        layout.prop(settings, "photo", text="")
        job = jobs.current.job
        column = layout.column()
        column.use_property_split = True
        column.use_property_decorate = False
        column.enabled = job is None
        column.prop(settings, "head_kind")
        if settings.head_kind == "FILE":
            column.prop(settings, "head_file")
        for name in (
            "size",
            "bits",
            "device",
            "light_removal",
            "storage",
            "use_camera",
            "use_world",
        ):
            column.prop(settings, name)
        if job is not None:
            _draw_job(layout, job)
            return
        try:
            preferences.interpreter(context)
        except RuntimeProblem as problem:
            preferences.draw_text(layout.box(), str(problem), "ERROR", width=36)
            shown = layout.operator("preferences.addon_show", text="Open Preferences")
            shown.module = preferences.ADDON
        row = layout.row()
        row.scale_y = 1.5
        row.operator("facepbr.decompose", icon="USER")


def _draw_job(layout: Any, job: jobs.Job) -> None:
    text = (
        f"{job.stage.capitalize()}  {job.done}/{job.total}" if job.total else job.stage.capitalize()
    )
    if hasattr(layout, "progress"):
        layout.progress(factor=job.fraction, text=text)
    else:
        layout.label(text=f"{text}  ({100 * job.fraction:.0f} %)", icon="TIME")
    layout.operator("facepbr.cancel", icon="CANCEL")


class FACEPBR_PT_result(_Panel, bpy.types.Panel):
    """The head's skin."""

    bl_label = "Head"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only where there is a head."""
        return head.active(context) is not None

    def draw(self, context: bpy.types.Context) -> None:
        """View, expression, sliders, export."""
        layout = self.layout
        settings = context.scene.facepbr
        thing = head.active(context)
        layout.label(text=thing.name, icon="USER")
        layout.prop(settings, "solo")
        if thing.data.shape_keys is not None:
            layout.prop(settings, "posed")
        group = materials.group_node(thing)
        if group is None:
            layout.label(text="The skin material was replaced", icon="INFO")
        else:
            column = layout.column(align=True)
            for slider in materials.SLIDERS:
                column.prop(group.inputs[slider.name], "default_value", text=slider.name)
        column = layout.column(align=True)
        column.operator("facepbr.export_maps", icon="EXPORT")
        column.operator("facepbr.export_glb", icon="EXPORT")
        column.operator("facepbr.copy_report", icon="COPYDOWN")
        column.operator("facepbr.free_memory", icon="X")


class FACEPBR_PT_light(_Panel, bpy.types.Panel):
    """The light."""

    bl_label = "Light"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only where there is a head."""
        return head.active(context) is not None

    def draw(self, context: bpy.types.Context) -> None:
        """Source, turn, exposure."""
        layout = self.layout
        settings = context.scene.facepbr
        layout.prop(settings, "light_source")
        if settings.light_source == "FILE":
            layout.prop(settings, "light_file")
        layout.operator("facepbr.relight", icon="WORLD")
        column = layout.column(align=True)
        column.prop(settings, "light_rotation")
        column.prop(settings, "light_exposure")


_CLASSES = (FACEPBR_PT_portrait, FACEPBR_PT_result, FACEPBR_PT_light)


def register() -> None:
    """Register the panels."""
    for cls in _CLASSES:
        bpy.utils.register_class(cls)


def unregister() -> None:
    """Unregister the panels."""
    for cls in reversed(_CLASSES):
        bpy.utils.unregister_class(cls)
