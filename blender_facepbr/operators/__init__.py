"""Operators, one per file; registered here."""

import bpy

from .. import jobs
from . import (
    apply_result,
    cancel,
    check_runtime,
    copy_report,
    decompose,
    export_glb,
    export_maps,
    free_memory,
    relight,
)

_CLASSES = (
    apply_result.FACEPBR_OT_apply_result,
    cancel.FACEPBR_OT_cancel,
    check_runtime.FACEPBR_OT_check_runtime,
    copy_report.FACEPBR_OT_copy_report,
    decompose.FACEPBR_OT_decompose,
    export_glb.FACEPBR_OT_export_glb,
    export_maps.FACEPBR_OT_export_maps,
    free_memory.FACEPBR_OT_free_memory,
    relight.FACEPBR_OT_relight,
)


@bpy.app.handlers.persistent
def _file_loads(*_: object) -> None:
    """Another file replaces the scene the job was for: end it."""
    jobs.end_job()


def register() -> None:
    """Register all operators."""
    for cls in _CLASSES:
        bpy.utils.register_class(cls)
    bpy.app.handlers.load_pre.append(_file_loads)


def unregister() -> None:
    """Unregister all operators; the worker ends."""
    jobs.stop()
    if _file_loads in bpy.app.handlers.load_pre:
        bpy.app.handlers.load_pre.remove(_file_loads)
    for cls in reversed(_CLASSES):
        bpy.utils.unregister_class(cls)
