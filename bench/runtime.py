"""The Python that has the networks: found, started as the worker of core/worker.py, and asked. No torch here."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from .record import ROOT


class RuntimeMissing(RuntimeError):
    """No Python with the networks; the message says how to name one."""


class Failed(RuntimeError):
    """A photo or a script failed; the message is the one line it gave."""

    final = False


class Refused(Failed):
    """The worker works and will not take this photo: trying again changes nothing."""

    final = True


def find_python() -> str:
    """FACEPBR_PYTHON, else the environment this runs in, else the checkout's .venv, else this Python with torch."""
    named = os.environ.get("FACEPBR_PYTHON")
    if named:
        return named
    has_torch = importlib.util.find_spec("torch") is not None
    if sys.prefix != sys.base_prefix and has_torch:
        return sys.executable
    for path in (ROOT / ".venv" / "bin" / "python", ROOT / ".venv" / "Scripts" / "python.exe"):
        if path.is_file():
            return str(path)
    if has_torch:
        return sys.executable
    raise RuntimeMissing(
        "expected a Python with FacePBR's packages; got none; run `make env` or set FACEPBR_PYTHON"
    )


def _environment() -> dict[str, str]:
    """Ours without what Blender's Python was started with."""
    return {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}


def run_script(name: str, *arguments: object) -> str:
    """Run ``bench/<name>`` in that Python; its standard output. Failed with its last line otherwise."""
    command = [find_python(), str(ROOT / "bench" / name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=_environment())
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise Failed(f"{name}: {lines[-1]}")
    return done.stdout


class Worker:
    """One worker process, its networks kept warm; a context manager."""

    def __init__(self) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the process)
        self._process = subprocess.Popen(
            [find_python(), "-m", "core.worker"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=_environment(),
            encoding="utf-8",
        )
        self._id = 0

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def decompose(self, photo: Path, out: Path, **options: Any) -> Path:
        """The result folder of one photo. Refused with the worker's one line, Failed where it died."""
        self._id += 1
        request = {"id": self._id, "command": "decompose", "photo": str(Path(photo).resolve())}
        request |= {"out": str(Path(out).resolve()), **options}
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except OSError:
            raise Failed(f"expected a running worker; {self._last_words()}") from None
        for line in self._process.stdout:
            answer = json.loads(line)
            if answer.get("id") == self._id and "result" in answer:
                return Path(answer["result"])
            if answer.get("id") == self._id and "error" in answer:
                raise Refused(answer["error"]["message"])
        raise Failed(f"expected a result; the worker ended: {self._last_words()}")

    def close(self) -> None:
        """End the process; what it was asked for is finished first."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()
        self._log.close()

    def _last_words(self) -> str:
        self._process.wait()
        self._log.seek(0)
        lines = self._log.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else f"exit code {self._process.poll()}"
