"""Operators, one per file; registered here."""

import bpy

from .. import jobs
from . import (
    apply_result,
    cancel,
    cancel_setup,
    check_runtime,
    copy_report,
    decompose,
    export_glb,
    export_maps,
    free_memory,
    photo_camera,
    relight,
    remove_runtime,
    set_up_runtime,
    use_python,
)

_CLASSES = (
    apply_result.FACEPBR_OT_apply_result,
    cancel.FACEPBR_OT_cancel,
    cancel_setup.FACEPBR_OT_cancel_setup,
    check_runtime.FACEPBR_OT_check_runtime,
    copy_report.FACEPBR_OT_copy_report,
    decompose.FACEPBR_OT_decompose,
    export_glb.FACEPBR_OT_export_glb,
    export_maps.FACEPBR_OT_export_maps,
    free_memory.FACEPBR_OT_free_memory,
    photo_camera.FACEPBR_OT_photo_camera,
    relight.FACEPBR_OT_relight,
    remove_runtime.FACEPBR_OT_remove_runtime,
    set_up_runtime.FACEPBR_OT_set_up_runtime,
    use_python.FACEPBR_OT_use_python,
)


@bpy.app.handlers.persistent
def _file_loads(*_: object) -> None:
    """Another file replaces the scene the job was for: end it."""
    jobs.end_job(wait=True)


def register() -> None:
    """Register all operators."""
    for cls in _CLASSES:
        bpy.utils.register_class(cls)
    bpy.app.handlers.load_pre.append(_file_loads)


def unregister() -> None:
    """Unregister all operators; the worker ends."""
    jobs.stop(wait=True)
    if _file_loads in bpy.app.handlers.load_pre:
        bpy.app.handlers.load_pre.remove(_file_loads)
    for cls in reversed(_CLASSES):
        bpy.utils.unregister_class(cls)
