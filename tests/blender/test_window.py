"""An artist's session in a real window: ESC, the cancel button, a whole job, undo, the end of Blender mid-job."""

import importlib.util
import os
import shutil
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("window.py")


def test_session_with_mouse_and_keyboard(result_folder: Path, photo: Path, tmp_path: Path) -> None:
    """The networks are played from a result here; `window.py` without --replay runs them too."""
    if not os.environ.get("FACEPBR_WINDOW"):
        pytest.skip("needs a display and a minute: make test-blender runs it")
    blender = os.environ.get("FACEPBR_BLENDER") or shutil.which("blender")
    missing = [name for name in ("Xvfb", "xdotool") if not shutil.which(name)]
    if missing or not blender:
        pytest.skip(f"no {', '.join(missing) or 'blender executable'}")
    spec = importlib.util.spec_from_file_location("window", SCRIPT)
    assert spec and spec.loader
    window = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(window)
    seen = window.run(photo, tmp_path / "out", blender, result_folder)
    for way in ("escape", "button"):
        assert seen[way]["ended_s"] < 1 and seen[way]["gone_s"] < 1 and not seen[way]["made"]
    assert seen["ticks"]["longest_ms"] < 50 and seen["ticks"]["count"] > 20
    assert len(seen["scene"]) == 1
    assert seen["after_redo"] > seen["after_undo"]  # one step each way
    assert not seen["worker_after_quit"] and not seen["folder_after_quit"]
    for name in ("ready", "working", "done"):
        assert (tmp_path / "out" / f"{name}.png").stat().st_size > 10_000
