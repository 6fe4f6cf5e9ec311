"""Preferences: which Python runs the networks, what state it is in, how to get one; and which weights."""

from pathlib import Path
from typing import Any

import bpy

from . import managed, runtime
from .translations import translated

ADDON = __package__
_checked: dict[str, runtime.Probe] = {}
"""Interpreter -> probe of this session."""


def _python_changed(preferences: Any, _context: bpy.types.Context) -> None:
    path = absolute(preferences.python)
    if path and Path(path).is_file() and not bpy.app.background:
        check(path)


class FacePBRPreferences(bpy.types.AddonPreferences):
    """Where the networks run."""

    bl_idname = ADDON

    python: bpy.props.StringProperty(
        name="Python",
        description="Python interpreter with torch that runs the networks. Empty: FACEPBR_PYTHON, then the "
        "environment set up below",
        subtype="FILE_PATH",
        update=_python_changed,
    )
    weights: bpy.props.StringProperty(
        name="Weights",
        description="Folder with another set of network weights. Empty: the set that comes with the add-on",
        subtype="DIR_PATH",
    )
    base_python: bpy.props.StringProperty(
        name="Your Python",
        description="A Python 3.11 of yours that makes the environment. Empty: the one on the path",
        subtype="FILE_PATH",
    )
    runtime_dir: bpy.props.StringProperty(
        name="Folder",
        description="Where the environment is made. Empty: the add-on's own folder among your Blender files",
        subtype="DIR_PATH",
    )
    torch_build: bpy.props.EnumProperty(
        name="Build",
        description="Which torch is installed",
        items=[
            ("CPU", "CPU", "For the processor and for Apple GPUs. About 1.4 GB on disk"),
            ("CUDA", "CUDA", "For NVIDIA GPUs. Several GB on disk"),
        ],
    )
    torch_index: bpy.props.StringProperty(
        name="Index",
        description="Address of the package index with this build of torch, as pytorch.org shows it under Get "
        "Started. Empty: the index your pip is set up with",
    )
    wheels: bpy.props.StringProperty(
        name="Wheels",
        description="Folder of wheels to install from, without any network. Empty: the network",
        subtype="DIR_PATH",
    )

    def draw(self, context: bpy.types.Context) -> None:
        """State and what to do about it first, then how to set up."""
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.prop(self, "python")
        layout.prop(self, "weights")
        self._draw_state(layout.box())
        self._draw_setup(layout.box(), context)

    def _draw_state(self, box: Any) -> None:
        try:
            path, source = runtime.find_interpreter(absolute(self.python), managed_dir())
        except runtime.RuntimeProblem as problem:
            draw_problem(box, str(problem))
            return
        column = box.column(align=True)
        column.label(text=f"{translated('Runtime')}: {path}", icon="CONSOLE")
        column.label(text=f"{translated('Named in')}: {translated(source)}", icon="BLANK1")
        probe = _checked.get(path)
        if probe is None:
            row = box.row()
            row.label(text="Not checked yet", icon="QUESTION")
            row.operator("facepbr.check_runtime", icon="FILE_REFRESH")
        elif probe.state is None:
            box.label(text="Checking...", icon="TIME")
        elif probe.state.problem:
            draw_problem(box, probe.state.problem)
        else:
            row = box.row()
            row.label(text=f"{translated('Ready')}: {describe(probe.state)}", icon="CHECKMARK")
            row.operator("facepbr.check_runtime", text="", icon="FILE_REFRESH")

    def _draw_setup(self, box: Any, context: bpy.types.Context) -> None:
        box.label(text="Environment of FacePBR", icon="PACKAGE")
        setup, folder = managed.running(), managed_dir()
        if setup is not None:
            draw_setup(box, setup)
            return
        if runtime.is_ours(folder):
            row = box.row()
            row.label(text=str(folder), icon="FILE_FOLDER")
            row.operator("facepbr.remove_runtime", icon="TRASH")
            return
        last = managed.current.setup
        if last is not None and last.error:
            draw_text(box, last.error, "ERROR")
        for name in ("base_python", "runtime_dir", "torch_build", "torch_index", "wheels"):
            box.prop(self, name)
        if not online() and not self.wheels:
            row = box.row()
            row.label(text="Blender's online access is off", icon="INTERNET_OFFLINE")
            row.operator("screen.userpref_show", text="Open System").section = "SYSTEM"
        box.operator("facepbr.set_up_runtime", icon="IMPORT")


def describe(state: runtime.State) -> str:
    """A ready runtime in one line."""
    size = f"{state.size_bytes / 1e9:.1f} GB"
    return f"Python {state.python}, torch {state.torch}, {state.device}, {size}"


def draw_problem(layout: Any, text: str) -> None:
    """A problem of the runtime, with what can be done about it beside it."""
    draw_text(layout, text, "ERROR")
    row = layout.row(align=True)
    row.operator("facepbr.set_up_runtime", icon="IMPORT")
    row.operator("facepbr.use_python", icon="FILEBROWSER")
    row.operator("facepbr.check_runtime", text="", icon="FILE_REFRESH")


def draw_setup(layout: Any, setup: managed.Setup) -> None:
    """A running set-up: step, what pip says, how to end it."""
    fetched = setup.size_bytes() / 1e6
    text = f"{translated(setup.step.capitalize())} ({fetched:.0f} MB)"
    if hasattr(layout, "progress"):
        layout.progress(factor=setup.fraction, text=text)
    else:
        layout.label(text=text, icon="TIME")
    if setup.message:
        layout.label(text=setup.message[:80], icon="BLANK1")
    layout.operator("facepbr.cancel_setup", icon="CANCEL")


def draw_text(layout: Any, text: str, icon: str = "NONE", width: int = 60) -> None:
    """A long line as several labels."""
    words, line = text.split(), ""
    lines = []
    for word in words:
        if line and len(line) + len(word) >= width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    column = layout.column(align=True)
    for index, part in enumerate([*lines, line]):
        column.label(text=part, icon=icon if index == 0 else "BLANK1", translate=False)


def get(context: bpy.types.Context) -> FacePBRPreferences:
    """The add-on's preferences."""
    return context.preferences.addons[ADDON].preferences


def absolute(path: str) -> str:
    """A path as Blender's fields hold it (with // or ~) as a plain one; symbolic links stay, virtual
    environments are made of them."""
    return str(Path(bpy.path.abspath(path)).expanduser().absolute()) if path else ""


def online() -> bool:
    """Whether Blender is allowed to use the network; before 4.2 there is no such choice, and asking must do."""
    return getattr(bpy.app, "online_access", True)


def managed_dir() -> Path:
    """Folder of the managed environment, there or not; the default survives updates of the add-on."""
    chosen = absolute(get(bpy.context).runtime_dir)
    if chosen:
        return Path(chosen)
    if hasattr(bpy.utils, "extension_path_user") and ADDON.startswith("bl_ext."):
        return Path(bpy.utils.extension_path_user(ADDON, path="runtime"))
    return Path(bpy.utils.user_resource("DATAFILES", path="facepbr")) / "runtime"


def setup_plan(context: bpy.types.Context) -> managed.Plan:
    """The set-up as the preferences describe it."""
    chosen = get(context)
    return managed.Plan(
        folder=managed_dir(),
        python=absolute(chosen.base_python) or managed.find_python(),
        build=chosen.torch_build,
        index=chosen.torch_index.strip(),
        wheels=Path(absolute(chosen.wheels)) if chosen.wheels else None,
    )


def interpreter(context: bpy.types.Context) -> str:
    """The interpreter to use; RuntimeProblem where there is none."""
    return runtime.find_interpreter(absolute(get(context).python), managed_dir())[0]


def check(path: str) -> runtime.Probe:
    """Begin to probe an interpreter again; the preferences are redrawn when it answers."""
    probe = _checked[path] = runtime.Probe(path)
    if not bpy.app.background:
        bpy.app.timers.register(
            lambda: redraw_preferences() or (0.2 if probe.state is None else None), persistent=True
        )
    return probe


def remember(state: runtime.State) -> None:
    """Keep what is already known of an interpreter."""
    _checked[state.interpreter] = runtime.Probe(state.interpreter, state)


def redraw_preferences() -> None:
    """Draw open preferences again."""
    _redraw("PREFERENCES", "WINDOW")


def redraw_sidebar() -> None:
    """Draw the sidebars of 3D viewports again, not the scene in them."""
    _redraw("VIEW_3D", "UI")


def _redraw(kind: str, part: str) -> None:
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            for region in area.regions:
                if area.type == kind and region.type == part:
                    region.tag_redraw()


def register() -> None:
    """Register the preferences."""
    bpy.utils.register_class(FacePBRPreferences)


def unregister() -> None:
    """Unregister the preferences, end a set-up, and forget what was probed."""
    managed.stop()
    bpy.utils.unregister_class(FacePBRPreferences)
    _checked.clear()
