"""The managed environment: a folder that the user's own Python fills with ``venv`` and ``pip``, only when asked.

Nothing goes into Blender's Python. The folder is marked as ours first and as whole last; a set-up that fails or is
cancelled removes it, so that there is an environment or nothing. No bpy here.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from . import runtime
from .runtime import RuntimeProblem

REQUIREMENTS = runtime.ADDON_DIR / "runtime-requirements.txt"
"""Written by build_addon.py from the project's lock."""
PYTHON_VERSION = (3, 11)
"""The one for which the lock has wheels."""
NEEDED_GB = {"CPU": 2, "CUDA": 10}
"""Room asked for on the disk before anything is fetched."""
_PIP = ("-m", "pip", "--disable-pip-version-check", "--no-input")
_STEPS = ("environment", "choosing torch", "torch", "packages", "check")
_TEMPORARY = "tmp"


@dataclass(frozen=True)
class Plan:
    """What to set up, and from where."""

    folder: Path
    """Not there yet, or empty."""
    python: str
    """The user's own Python 3.11."""
    build: str = "CPU"
    """Build of torch: "CPU" or "CUDA"."""
    index: str = ""
    """Address of the package index that has this build; empty: the index pip is set up with."""
    wheels: Path | None = None
    """Folder of wheels to install from, without any network."""

    def check(self) -> None:
        """RuntimeProblem where this cannot be done."""
        if not self.python or not Path(self.python).is_file():
            raise RuntimeProblem(
                f"Expected a Python {_version()} of yours; got {self.python or 'none'}; "
                "do install it from python.org or your system, and name it"
            )
        if self.wheels is not None and not any(self.wheels.glob("*.whl")):
            raise RuntimeProblem(f"Expected wheels in {self.wheels}; got none; do choose another")
        if self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir())):
            raise RuntimeProblem(
                f"Expected a new or empty folder; got {self.folder}; do remove it or choose another"
            )
        parent = next(path for path in self.folder.parents if path.is_dir())
        free_gb = shutil.disk_usage(parent).free / 1e9
        if self.wheels is None and free_gb < NEEDED_GB[self.build]:
            raise RuntimeProblem(
                f"Expected {NEEDED_GB[self.build]} GB free for {self.folder}; got {free_gb:.1f}; "
                "do make room or choose another folder"
            )


class Setup:
    """A set-up in threads of its own: look at its fields, or cancel it."""

    def __init__(self, plan: Plan) -> None:
        plan.check()
        self.plan = plan
        self.step = _STEPS[0]
        self.message = ""
        self.error = ""
        """One line, once it has failed; "Cancelled" once it was."""
        self.state: runtime.State | None = None
        """What is there now, once it has succeeded."""
        self._cancelled = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def finished(self) -> bool:
        """Whether it has ended, well or not."""
        return not self._thread.is_alive()

    @property
    def fraction(self) -> float:
        """Share of the steps done, 0..1."""
        return _STEPS.index(self.step) / len(_STEPS)

    def cancel(self, wait_s: float = 0.0) -> None:
        """End it and remove what it made; waits for that up to ``wait_s``."""
        self._cancelled.set()
        process = self._process
        if process is not None and process.poll() is None:
            process.kill()
        self._thread.join(wait_s)

    def size_bytes(self) -> int:
        """What is being fetched, so far."""
        return sum(_sizes(self.plan.folder / _TEMPORARY))

    # --- in the thread ---

    def _run(self) -> None:
        folder = self.plan.folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _mark(folder, whole=False)
            (folder / _TEMPORARY).mkdir()
            self._install()
            shutil.rmtree(folder / _TEMPORARY)
            _mark(folder, whole=True)
            return
        except RuntimeProblem as problem:
            self.error = str(problem)
        except OSError as error:
            self.error = f"Expected to write {folder}; got {error.strerror}; do choose another"
        self.state = None
        shutil.rmtree(folder, ignore_errors=True)

    def _install(self) -> None:
        plan = self.plan
        self._call("environment", [plan.python, "-m", "venv", str(plan.folder)])
        python = str(runtime.managed_python(plan.folder))
        pip = [python, *_PIP]
        install = ["install", "--only-binary=:all:", "--progress-bar=off"]
        source = ["--no-index", "--find-links", str(plan.wheels)] if plan.wheels else []
        for_torch = source or (["--index-url", plan.index] if plan.index else [])
        torch = ["torch", "-c", str(REQUIREMENTS)]
        report = plan.folder / _TEMPORARY / "torch.json"
        look = ["--dry-run", "--quiet", "--report", str(report)]
        self._call("choosing torch", [*pip, *install, *look, *for_torch, *torch])
        _check_build(report, plan)
        self._call("torch", [*pip, *install, *for_torch, *torch])
        self._call("packages", [*pip, *install, *source, "--no-deps", "-r", str(REQUIREMENTS)])
        self.step, self.message = "check", ""
        self.state = runtime.probe(python)
        if self._cancelled.is_set():
            raise RuntimeProblem("Cancelled")
        if not self.state.ready:
            raise RuntimeProblem(self.state.problem)

    def _call(self, step: str, command: list[str]) -> None:
        """Run one command, its lines becoming the message; RuntimeProblem where it fails or is cancelled."""
        self.step, self.message = step, ""
        if self._cancelled.is_set():
            raise RuntimeProblem("Cancelled")
        variables = {k: v for k, v in runtime.environment().items() if k != "PYTHONPATH"}
        if self.plan.wheels is not None:  # from this folder alone, whatever pip is set up with
            variables = {k: v for k, v in variables.items() if not k.startswith("PIP_")}
            variables["PIP_CONFIG_FILE"] = os.devnull
        temporary = str(self.plan.folder / _TEMPORARY)  # goes with the folder, also after a kill
        self._process = subprocess.Popen(
            command,
            env={**variables, "TMPDIR": temporary, "TEMP": temporary, "TMP": temporary},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            **runtime.popen_options(),
        )
        if self._cancelled.is_set():  # asked for while it started
            self._process.kill()
        failed = ""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            text = line.strip()
            self.message = text or self.message
            if text.startswith("ERROR"):
                failed = failed or text.removeprefix("ERROR:").strip()
        code = self._process.wait()
        if self._cancelled.is_set():
            raise RuntimeProblem("Cancelled")
        if code:
            raise RuntimeProblem(
                f"Expected {step} to be installed; got: {failed or self.message or code}; "
                "do look at the network, the index and the Python, and try again"
            )


def remove(folder: Path) -> None:
    """Remove a managed environment, whole or not; RuntimeProblem for any other folder."""
    if not runtime.is_ours(folder):
        raise RuntimeProblem(
            f"Expected an environment made by FacePBR; got {folder}; nothing was removed"
        )
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise RuntimeProblem(
            f"Expected to remove {folder}; got {error.strerror}; do close what uses it, try again"
        ) from None


@functools.lru_cache(maxsize=1)
def find_python() -> str:
    """A Python 3.11 of the user's on the path, or an empty text; never Blender's own."""
    name = "py" if sys.platform == "win32" else f"python{_version()}"
    found = shutil.which(name) or ""
    if not found or sys.platform != "win32":
        return found
    code = "import sys; print(sys.executable)"
    done = subprocess.run(
        [found, f"-{_version()}", "-c", code],
        capture_output=True,
        text=True,
        **runtime.popen_options(),
    )
    return done.stdout.strip()


def _version() -> str:
    return ".".join(map(str, PYTHON_VERSION))


def _mark(folder: Path, whole: bool) -> None:
    text = json.dumps({"whole": whole, "made": time.strftime("%Y-%m-%d")})
    (folder / runtime.MARKER).write_text(text, encoding="utf-8")


def _check_build(report: Path, plan: Plan) -> None:
    """Before gigabytes are fetched: does the index give the build of torch that was asked for?"""
    rows = json.loads(report.read_text(encoding="utf-8"))["install"]
    versions = {row["metadata"]["name"].lower(): row["metadata"]["version"] for row in rows}
    cuda = "+cu" in versions.get("torch", "") or any(n.startswith("nvidia-") for n in versions)
    if cuda != (plan.build == "CUDA"):
        raise RuntimeProblem(
            f"Expected a {plan.build} build of torch; the index has {versions.get('torch')} for "
            f"{'CUDA' if cuda else 'the CPU'}; do give the address that pytorch.org shows for {plan.build}"
        )


def _sizes(folder: Path) -> Iterator[int]:
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                yield os.lstat(os.path.join(parent, name)).st_size
            except OSError:
                continue  # gone since it was listed


class _Current:
    """The one set-up of this Blender, also when it has ended."""

    setup: Setup | None = None


current = _Current()


def start(plan: Plan) -> Setup:
    """Begin; RuntimeProblem where this is impossible or one is running."""
    if running() is not None:
        raise RuntimeProblem("Expected no other set-up; got one running; do cancel it first")
    current.setup = Setup(plan)
    return current.setup


def running() -> Setup | None:
    """The set-up at work."""
    setup = current.setup
    return None if setup is None or setup.finished else setup


def stop() -> None:
    """End a running set-up, and wait until its folder is gone."""
    setup = running()
    if setup is not None:
        setup.cancel(wait_s=10.0)
    current.setup = None
