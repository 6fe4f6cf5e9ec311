"""Decompose Portrait: run the worker without blocking the window; blocking under ``blender -b``."""

import time
from pathlib import Path
from typing import Any

import bpy

from .. import head, jobs, preferences, result_files
from ..properties import mesh_file, worker_options
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
    size: bpy.props.IntProperty(
        name="Resolution",
        description="Side of the maps in texels, a multiple of 64. 0: as in the panel",
        min=0,
        max=4096,
        subtype="PIXEL",
        options={"SKIP_SAVE"},
    )
    bits: bpy.props.IntProperty(
        name="Depth",
        description="Bits per channel of the maps, 8 or 16. 0: as in the panel",
        min=0,
        max=16,
        options={"SKIP_SAVE"},
    )
    device: bpy.props.StringProperty(
        name="Device",
        description="auto, cpu, cuda or mps. Empty: as in the panel",
        options={"SKIP_SAVE"},
    )
    head: bpy.props.StringProperty(
        name="Head",
        description="OBJ in the HiFi3D UV layout. Empty: as in the panel",
        subtype="FILE_PATH",
        options={"SKIP_SAVE"},
    )

    _timer: Any = None
    _job: Any = None
    _ticks: Any = None

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
        problem = _problem(photo, settings, self.head)
        if problem:
            self.report({"ERROR"}, problem)
            return {"CANCELLED"}
        try:
            self._job = self._start(context, photo)
        except RuntimeProblem as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        if bpy.app.background or context.window is None:
            return self._wait(context)
        self._ticks = jobs.current.ticks = jobs.Ticks(_TICK_S)
        manager = context.window_manager
        self._timer = manager.event_timer_add(_TICK_S, window=context.window)
        manager.progress_begin(0, 100)
        manager.modal_handler_add(self)
        preferences.redraw_sidebar()
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """One look at the worker per tick; ESC cancels, the button by taking the job away."""
        job = self._job
        if jobs.current.job is not job or (event.type == "ESC" and event.value == "PRESS"):
            self.report({"INFO"}, "Cancelled")
            return self._finish(context, {"CANCELLED"})
        if event.type != "TIMER":
            return {"PASS_THROUGH"}
        self._ticks.begin()
        before = (job.stage, job.done)
        jobs.current.worker.poll(job)
        if (job.stage, job.done) != before:
            context.window_manager.progress_update(100 * job.fraction)
            preferences.redraw_sidebar()
        self._ticks.end()
        if not job.finished:
            return {"PASS_THROUGH"}
        began, began_cpu = time.monotonic(), time.thread_time()
        result = self._apply(job)
        self._ticks.apply_ms = 1000 * (time.monotonic() - began)
        self._ticks.apply_cpu_ms = 1000 * (time.thread_time() - began_cpu)
        return self._finish(context, result)

    def cancel(self, context: bpy.types.Context) -> None:
        """Blender itself ends the operator (file loaded, window closed)."""
        self._finish(context, {"CANCELLED"})

    def _start(self, context: bpy.types.Context, photo: str) -> jobs.Job:
        settings = context.scene.facepbr
        options = worker_options(settings, preferences.absolute(preferences.get(context).weights))
        given = {"size": self.size, "bits": self.bits, "device": self.device}
        options.update({key: value for key, value in given.items() if value})
        prepare = None
        mesh = settings.head_mesh if settings.head_kind == "MESH" and not self.head else None
        if self.head:
            options["head"] = preferences.absolute(self.head)
        elif mesh is not None:
            polygons = head.polygons(mesh)
            path = mesh_file(polygons)
            options["head"] = str(path)
            if not path.is_file():
                prepare = lambda: result_files.write_obj(path, polygons)  # noqa: E731
        job = jobs.start(preferences.interpreter(context), photo, options, prepare)
        job.mesh = mesh.name if mesh is not None else ""
        return job

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
        result_files.hold(job.files)
        try:  # an undo step of its own
            return bpy.ops.facepbr.apply_result(
                "EXEC_DEFAULT",
                True,
                directory=str(job.files.folder),
                photo=job.photo,
                mesh=job.mesh,
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
        preferences.redraw_sidebar()
        return result


def _problem(photo: str, settings: Any, head_file: str) -> str:
    if not photo:
        return "Expected a photo; got none; do choose one in the panel"
    if not Path(photo).is_file():
        return f"Expected a photo; got nothing at {photo}; do choose another"
    if settings.storage == "BESIDE" and not bpy.data.filepath:
        return "Expected a saved .blend file to put images beside; got none; do save it, or choose Pack"
    mesh = settings.head_mesh
    if settings.head_kind == "MESH" and not head_file:
        if mesh is None:
            return "Expected a mesh to dress; got none; do choose one under Head"
        if mesh.data.uv_layers.active is None:
            return f"Expected a mesh in the HiFi3D UV layout; {mesh.name} has no UVs; do choose another"
    return ""
