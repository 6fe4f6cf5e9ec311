"""The Python that runs the networks: where it is, what state it is in, how the worker is started in it. No bpy here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

PYTHON_VARIABLE = "FACEPBR_PYTHON"
MARKER = "facepbr-runtime.json"
"""In the managed environment's folder: says that the folder is ours, and whether it is whole."""
ADDON_DIR = Path(__file__).absolute().parent  # of a linked add-on too, not of what it links to
REQUIRED = ("torch", "numpy", "cv2", "PIL", "safetensors", "scipy", "mediapipe", "OpenEXR")
"""Modules that core.worker needs; the command line's requirements.lock pins their versions."""
_PROBE_TIMEOUT_S = 120
_PROBE = """
import importlib.util, json, os, platform, sysconfig
state = {"python": platform.python_version(), "missing": [], "torch": None, "device": None}
state["missing"] = [name for name in %r if importlib.util.find_spec(name) is None]
if "torch" not in state["missing"]:
    import torch
    state["torch"] = torch.__version__
    mps = getattr(torch.backends, "mps", None)
    state["device"] = "cuda" if torch.cuda.is_available() else "mps" if mps and mps.is_available() else "cpu"
state["bytes"] = 0
for folder, _, names in os.walk(sysconfig.get_path("purelib")):
    for name in names:
        try:
            state["bytes"] += os.lstat(os.path.join(folder, name)).st_size
        except OSError:
            pass  # gone since it was listed
print(json.dumps(state))
"""


class RuntimeProblem(Exception):
    """The runtime cannot be used; one line: expected, got, do."""


@dataclass(frozen=True)
class State:
    """What a probe found."""

    interpreter: str
    python: str = ""
    torch: str = ""
    device: str = ""
    size_bytes: int = 0
    """Its packages on disk."""
    missing: tuple[str, ...] = ()
    problem: str = ""
    """Empty when the runtime is ready; else one line that says what to do."""

    @property
    def ready(self) -> bool:
        """Whether a worker can be started."""
        return not self.problem


def managed_python(folder: Path) -> Path:
    """Interpreter of the virtual environment in ``folder``, there or not."""
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def is_ours(folder: Path) -> bool:
    """Whether a folder was made as a managed environment, whole or not."""
    return (folder / MARKER).is_file()


def is_whole(folder: Path) -> bool:
    """Whether a folder is a managed environment that was finished."""
    try:
        return bool(json.loads((folder / MARKER).read_text(encoding="utf-8"))["whole"])
    except (OSError, ValueError, KeyError):
        return False


def find_interpreter(preferred: str, managed_dir: Path | None) -> tuple[str, str]:
    """(interpreter, where it was named): the preference, then FACEPBR_PYTHON, then the managed folder.

    The first that is named is used, never silently a later one. RuntimeProblem when none is named or it is not there.
    """
    named = os.environ.get(PYTHON_VARIABLE, "")
    if preferred:
        path, source = preferred, "the preferences"
    elif named:
        path, source = named, PYTHON_VARIABLE
    elif managed_dir is not None and is_whole(managed_dir):
        path, source = str(managed_python(managed_dir)), "the managed folder"
    else:
        raise RuntimeProblem(
            "Expected a Python with torch to run the networks; got none; "
            "do set up an environment, or choose a Python, in the add-on's preferences"
        )
    if not Path(path).is_file():
        raise RuntimeProblem(
            f"Expected a Python at {path} (named in {source}); got nothing there; do choose another"
        )
    return path, source


def environment() -> dict[str, str]:
    """Environment of the runtime: Blender's own Python variables must not reach another Python."""
    variables = {
        key: value
        for key, value in os.environ.items()
        if key not in ("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP")
    }
    return {**variables, "PYTHONPATH": str(ADDON_DIR), "PYTHONUTF8": "1"}


def worker_command(interpreter: str) -> list[str]:
    """Command of the vendored core's worker; with environment() its package is importable as ``core``."""
    return [interpreter, "-m", "core.worker"]


def popen_options() -> dict[str, int]:
    """No console window on Windows."""
    return {"creationflags": subprocess.CREATE_NO_WINDOW} if sys.platform == "win32" else {}


def probe(interpreter: str) -> State:
    """Ask the interpreter itself for its versions; takes seconds, because torch is imported there."""
    try:
        done = subprocess.run(
            [interpreter, "-c", _PROBE % (REQUIRED,)],
            env=environment(),
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=_PROBE_TIMEOUT_S,
            **popen_options(),
        )
    except subprocess.TimeoutExpired:
        return State(
            interpreter,
            problem=f"Expected an answer within {_PROBE_TIMEOUT_S} s; got none; do try again",
        )
    except OSError as error:
        return State(
            interpreter,
            problem=f"Expected to run {interpreter}; got {error.strerror}; do choose another",
        )
    lines = done.stdout.strip().splitlines()
    try:
        found = json.loads(lines[-1]) if lines else None
    except ValueError:
        found = None
    if done.returncode or not isinstance(found, dict):
        last = (done.stderr.strip().splitlines() or ["no answer"])[-1]
        return State(
            interpreter,
            problem=f"Expected a working Python; got: {last}; do choose another",
        )
    missing = tuple(found["missing"])
    problem = ""
    if missing:
        problem = (
            f"Expected {', '.join(missing)} in this Python; got none; "
            "do set up an environment, or choose another Python"
        )
    return State(
        interpreter,
        found["python"],
        found["torch"] or "",
        found["device"] or "",
        found["bytes"],
        missing,
        problem,
    )


class Probe:
    """A probe in a thread; ``state`` is None until it has an answer."""

    def __init__(self, interpreter: str, state: State | None = None) -> None:
        self.state = state
        self._interpreter = interpreter
        if state is None:
            threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        self.state = probe(self._interpreter)
