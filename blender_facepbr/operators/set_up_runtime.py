"""Set up an environment for the networks, with the user's own Python, asked first."""

import time

import bpy

from .. import managed, preferences
from ..runtime import RuntimeProblem


class FACEPBR_OT_set_up_runtime(bpy.types.Operator):
    """Let your own Python make an environment with torch for FacePBR, after asking. Blender's Python is not touched"""

    bl_idname = "facepbr.set_up_runtime"
    bl_label = "Set Up Environment"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """One at a time; by network only where Blender is allowed to use it."""
        if managed.running() is not None:
            cls.poll_message_set("An environment is being set up")
            return False
        if not preferences.online() and not preferences.get(context).wheels:
            cls.poll_message_set(
                "Blender's online access is off: allow it in Preferences > System, or choose a folder of wheels"
            )
            return False
        return True

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        """Say what will be done, and ask."""
        return context.window_manager.invoke_props_dialog(self, width=480)

    def draw(self, context: bpy.types.Context) -> None:
        """What, how large, where, from where."""
        plan = preferences.setup_plan(context)
        column = self.layout.column()
        size = preferences.get(context).bl_rna.properties["torch_build"].enum_items[plan.build]
        rows = (
            ("What", f"torch, {size.description}"),
            ("Made by", plan.python or "no Python 3.11 found"),
            ("Where", str(plan.folder)),
            ("From", str(plan.wheels or plan.index or "the index your pip is set up with")),
        )
        for title, text in rows:
            split = column.split(factor=0.15)
            split.label(text=title)
            preferences.draw_text(split, text)
        if plan.wheels is None:
            column.label(text="This downloads packages over the network.", icon="URL")

    def execute(self, context: bpy.types.Context) -> set[str]:
        """In threads, with the preferences redrawn; under -b it waits."""
        try:
            setup = managed.start(preferences.setup_plan(context))
        except RuntimeProblem as problem:
            self.report({"ERROR"}, str(problem))
            return {"CANCELLED"}
        if not bpy.app.background:
            bpy.app.timers.register(lambda: _look(setup), first_interval=0.5, persistent=True)
            return {"FINISHED"}
        while not setup.finished:
            time.sleep(0.2)
        if setup.state is None:
            self.report({"ERROR"}, setup.error)
            return {"CANCELLED"}
        preferences.remember(setup.state)
        self.report({"INFO"}, preferences.describe(setup.state))
        return {"FINISHED"}


def _look(setup: managed.Setup) -> float | None:
    preferences.redraw_preferences()
    preferences.redraw_sidebar()
    if not setup.finished:
        return 0.5
    if setup.state is not None:
        preferences.remember(setup.state)
    return None
