"""Runs inside a Blender with a window: an artist's session with a real mouse and keyboard, through xdotool.

window.py beside this file starts it, with JSON after ``--``. The last line printed is ``RESULT`` and what was seen,
as JSON; pictures go to the folder "out".
"""

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import bpy

_SPEC = importlib.util.spec_from_file_location("checks", Path(__file__).with_name("in_blender.py"))
checks = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(checks)

TICK_S = 0.02
LIMIT_S = 540.0


class FACEPBR_PT_seen(bpy.types.Panel):
    """Says that the sidebar's tab is drawn."""

    bl_label = ""
    bl_space_type, bl_region_type, bl_category = "VIEW_3D", "UI", "FacePBR"
    bl_options = {"HIDE_HEADER"}
    drawn = 0

    def draw(self, _context: bpy.types.Context) -> None:
        """Count."""
        FACEPBR_PT_seen.drawn += 1


def xdo(*words: object) -> None:
    """One xdotool command."""
    subprocess.run(["xdotool", *map(str, words)], check=True)


def viewport() -> tuple[object, object]:
    """The 3D viewport's area and its sidebar."""
    area = next(
        a for a in bpy.context.window_manager.windows[0].screen.areas if a.type == "VIEW_3D"
    )
    return area, next(region for region in area.regions if region.type == "UI")


def on_screen(x: float, y: float) -> tuple[int, int]:
    """Blender's window coordinates -> the screen's."""
    return int(x), int(bpy.context.window_manager.windows[0].height - y)


def button_under_mouse() -> str:
    """The operator of the button under the mouse, as Blender itself says it."""
    area, region = viewport()
    manager = bpy.context.window_manager
    with bpy.context.temp_override(window=manager.windows[0], area=area, region=region):
        if not bpy.ops.ui.copy_python_command_button.poll():
            return ""
        bpy.ops.ui.copy_python_command_button()
    return manager.clipboard


def find(operator: str) -> Iterator[float]:
    """Move the mouse down the sidebar until the operator's button is under it; starts where the last one was."""
    region = viewport()[1]
    top = region.y + region.height - 10
    for y in range(min(top, getattr(find, "last", top) + 20), region.y, -9):
        find.last = y
        xdo("mousemove", *on_screen(region.x + region.width * 0.45, y))
        yield 0.12
        if operator in button_under_mouse():
            return
    raise AssertionError(f"no button for {operator} in the sidebar")


def press(operator: str) -> Iterator[float]:
    """Find the operator's button and click it."""
    yield from find(operator)
    xdo("click", 1)
    yield 0.1


def until(condition, limit_s: float = 240.0) -> Iterator[float]:
    """Wait for something."""
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "waited too long"
        yield TICK_S


def shot(given: dict, name: str, number: int = 0) -> Iterator[float]:
    """A picture of a window."""
    yield 0.5
    with bpy.context.temp_override(window=bpy.context.window_manager.windows[number]):
        bpy.ops.screen.screenshot(filepath=str(Path(given["out"]) / f"{name}.png"))
    yield 0.1


def open_sidebar() -> Iterator[float]:
    """Show the sidebar and click its tabs until ours is drawn."""
    area, region = viewport()
    area.spaces.active.show_region_ui = True
    yield 0.5
    for y in range(region.y + region.height - 30, region.y, -25):
        FACEPBR_PT_seen.drawn = 0
        xdo("mousemove", *on_screen(region.x + region.width - 8, y), "click", 1)
        yield 0.3
        if FACEPBR_PT_seen.drawn:
            return
    raise AssertionError("no tab FacePBR in the sidebar")


def show_preferences(given: dict, name: str) -> Iterator[float]:
    """The add-on's preferences as they are at first, in a window of their own, which is closed again."""
    chosen = bpy.context.preferences.addons[name].preferences
    python, chosen.python = chosen.python, ""
    manager = bpy.context.window_manager
    with bpy.context.temp_override(window=manager.windows[0]):
        bpy.ops.preferences.addon_show(module=name)
    yield given["patience_s"]
    yield from shot(given, "preferences", 1)
    with bpy.context.temp_override(window=manager.windows[1]):
        bpy.ops.wm.window_close()
    chosen.python = python
    yield 0.5


def session(given: dict, name: str, seen: dict) -> Iterator[float]:
    """ESC, the cancel button, a whole job with undo and redo, and the end of Blender in the middle of a job."""
    jobs = checks.module(name, "jobs")
    bpy.ops.wm.save_as_mainfile(filepath=str(Path(given["photo"]).with_name("session.blend")))
    settings = bpy.context.scene.facepbr
    settings.photo = bpy.path.relpath(given["photo"])
    settings.size, settings.device = "256", "cpu"
    yield from show_preferences(given, name)
    yield from open_sidebar()
    yield from shot(given, "ready")
    before = checks.counts()

    def working() -> bool:
        return jobs.current.job is not None and jobs.current.job.done >= 1

    for way in ("escape", "button"):
        yield from press("facepbr.decompose")
        yield from until(working)
        worker, job = jobs.current.worker, jobs.current.job
        if way == "button":
            yield from find("facepbr.cancel")
            began = time.monotonic()
            xdo("click", 1)
        else:
            area = viewport()[0]
            xdo("mousemove", *on_screen(area.x + area.width / 3, area.y + area.height / 2))
            yield 0.2
            began = time.monotonic()
            xdo("key", "Escape")
        yield from until(lambda: jobs.current.job is None)
        seen[way] = {"ended_s": round(time.monotonic() - began, 3)}
        alive, folder = (lambda w=worker: w.alive), job.folder
        yield from until(lambda a=alive, f=folder: not a() and not f.exists())
        seen[way]["gone_s"] = round(time.monotonic() - began, 3)
        seen[way]["made"] = checks.counts() != before

    yield from press("facepbr.decompose")
    yield from until(lambda: working() and jobs.current.job.done >= 4)
    area = viewport()[0]
    xdo("mousemove", *on_screen(area.x + area.width / 3, area.y + area.height / 2))
    yield from shot(given, "working")
    yield from until(lambda: jobs.current.job is None)
    ticks = jobs.current.ticks
    seen["ticks"] = {"count": ticks.count, "missed": ticks.missed}
    seen["ticks"].update(longest_ms=round(ticks.longest_ms, 2), apply_ms=round(ticks.apply_ms, 1))
    seen["ticks"]["apply_cpu_ms"] = round(ticks.apply_cpu_ms, 1)
    seen["scene"] = checks.describe()["heads"]
    yield given["patience_s"]
    yield from shot(given, "done")
    window = bpy.context.window_manager.windows[0]
    with bpy.context.temp_override(window=window):
        bpy.ops.ed.undo()
    yield 0.5
    seen["after_undo"] = checks.counts()["meshes"]
    with bpy.context.temp_override(window=window):
        bpy.ops.ed.redo()
    yield 0.5
    seen["after_redo"] = checks.counts()["meshes"]
    yield from press("facepbr.decompose")
    yield from until(working)
    seen["left_behind"] = [jobs.current.worker.pid, str(jobs.current.job.folder)]


def main() -> None:
    """Start the session on a timer; the gaps between its ticks are what the window had to wait for."""
    given = json.loads(sys.argv[sys.argv.index("--") + 1])
    seen, gaps = {}, []
    with contextlib.redirect_stdout(sys.stderr):
        name = checks.setup(given)
    bpy.ops.wm.read_homefile(use_factory_startup=True)
    with contextlib.redirect_stdout(sys.stderr):
        name = checks.install(given["archive"])
    bpy.context.preferences.addons[name].preferences.python = given["python"]
    bpy.context.preferences.view.show_splash = False
    bpy.utils.register_class(FACEPBR_PT_seen)
    steps = session(given, name, seen)
    began = last = time.monotonic()

    def tick() -> float | None:
        nonlocal last
        now = time.monotonic()
        gaps.append(now - last)
        try:
            assert now - began < LIMIT_S, "the session took too long"
            wait = next(steps)
            last = time.monotonic() + wait
            return wait
        except StopIteration:
            pass
        except Exception:
            seen["error"] = traceback.format_exc()
        seen["late_s"] = [round(gap, 3) for gap in sorted(gaps)[-3:]]
        print("\nRESULT " + json.dumps(seen), flush=True)
        if "error" in seen:
            os._exit(1)
        bpy.ops.wm.quit_blender()
        return None

    bpy.app.timers.register(tick, first_interval=2.0, persistent=True)


main()
