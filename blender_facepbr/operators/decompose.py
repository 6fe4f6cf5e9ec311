"""Decompose Portrait: run the worker without blocking the window; blocking under ``blender -b``."""

from pathlib import Path
from typing import Any

import bpy

from .. import jobs, preferences
from ..properties import worker_options
from ..runtime import RuntimeProblem

_TICK_S = 0.1


class FACEPBR_OT_decompose(bpy.types.Operator):
    """Turn a portrait photo into a head with physically based maps"""

    bl_idname = "facepbr.decompose"
    bl_label = "Decompose Portrait"
    bl_options = {"REGISTER"}

    filepath: bpy.props.StringProperty(
        name="Photo",
        description="Portrait photo. Empty: the one chosen in the panel",
        subtype="FILE_PATH",
        options={"SKIP_SAVE"},
    )

    _timer: Any = None
    _job: Any = None

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """One job at a time, and a runtime to run it in."""
        if jobs.current.job is not None:
            cls.poll_message_set("A photo is being decomposed; cancel it first")
            return False
        try:
            preferences.interpreter(context)
        except RuntimeProblem as problem:
            cls.poll_message_set(str(problem))
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Start the job; with a window it runs on in modal()."""
        settings = context.scene.facepbr
        photo = preferences.absolute(self.filepath or settings.photo)
        problem = _problem(photo, settings)
        if problem:
            self.report({"ERROR"}, problem)
            return {"CANCELLED"}
        options = worker_options(settings, preferences.absolute(preferences.get(context).weights))
        try:
            self._job = jobs.start(preferences.interpreter(context), photo, options)
        except RuntimeProblem as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        if bpy.app.background or context.window is None:
            return self._wait(context)
        manager = context.window_manager
        self._timer = manager.event_timer_add(_TICK_S, window=context.window)
        manager.progress_begin(0, 100)
        manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """One look at the worker per tick; ESC cancels, the button by taking the job away."""
        job = self._job
        if jobs.current.job is not job:
            self.report({"INFO"}, "Cancelled")
            return self._finish(context, {"CANCELLED"})
        if event.type == "ESC" and event.value == "PRESS":
            self.report({"INFO"}, "Cancelled")
            return self._finish(context, {"CANCELLED"})
        if event.type != "TIMER":
            return {"PASS_THROUGH"}
        jobs.current.worker.poll(job)
        context.window_manager.progress_update(100 * job.fraction)
        _redraw(context)
        if not job.finished:
            return {"PASS_THROUGH"}
        return self._finish(context, self._apply(job))

    def cancel(self, context: bpy.types.Context) -> None:
        """Blender itself ends the operator (file loaded, window closed)."""
        self._finish(context, {"CANCELLED"})

    def _wait(self, context: bpy.types.Context) -> set[str]:
        job = self._job
        try:
            while not job.finished:
                jobs.current.worker.poll(job, wait_s=0.5)
            return self._finish(context, self._apply(job))
        except BaseException:  # also Ctrl-C: the worker must not stay
            self._finish(context, {"CANCELLED"})
            raise

    def _apply(self, job: jobs.Job) -> set[str]:
        if job.error:
            self.report({"ERROR"}, job.error)
            return {"CANCELLED"}
        try:  # an undo step of its own
            return bpy.ops.facepbr.apply_result(
                "EXEC_DEFAULT", True, directory=str(job.result), photo=job.photo
            )
        except RuntimeError as error:  # the other operator's report
            self.report({"ERROR"}, str(error).removeprefix("Error: ").strip())
            return {"CANCELLED"}

    def _finish(self, context: bpy.types.Context, result: set[str]) -> set[str]:
        """The one way out: timer, cursor and job are cleared."""
        if self._timer is not None:
            context.window_manager.event_timer_remove(self._timer)
            context.window_manager.progress_end()
            self._timer = None
        if self._job is not None and jobs.current.job is self._job:
            jobs.end_job()
        self._job = None
        _redraw(context)
        return result


def _problem(photo: str, settings: Any) -> str:
    if not photo:
        return "Expected a photo; got none; do choose one in the panel"
    if not Path(photo).is_file():
        return f"Expected a photo; got nothing at {photo}; do choose another"
    if settings.storage == "BESIDE" and not bpy.data.filepath:
        return "Expected a saved .blend file to put images beside; got none; do save it, or choose Pack"
    return ""


def _redraw(context: bpy.types.Context) -> None:
    for window in context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                area.tag_redraw()
