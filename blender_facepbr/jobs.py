"""The worker process and its jobs: started once, kept warm, killed to cancel. No bpy here.

A reader thread turns the worker's lines into a queue; ``Worker.poll`` empties it without waiting, so the caller's
timer never blocks. Every job writes into a private temporary folder: nothing is left of one that did not finish.
"""

from __future__ import annotations

import contextlib
import json
import queue
import shutil
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import runtime

_END_TIMEOUT_S = 5.0


@dataclass
class Job:
    """One photo on its way; also what the panel shows."""

    photo: str
    folder: Path
    """Private temporary folder; the result appears in it as one sub-folder."""
    stage: str = "starting"
    done: int = 0
    total: int = 0
    result: Path | None = None
    error: str = ""
    started: float = field(default_factory=time.monotonic)

    @property
    def finished(self) -> bool:
        """Whether there is a result or an error."""
        return self.result is not None or bool(self.error)

    @property
    def fraction(self) -> float:
        """Share of the steps done, 0..1."""
        return self.done / self.total if self.total else 0.0

    def discard(self) -> None:
        """Remove everything the job wrote."""
        shutil.rmtree(self.folder, ignore_errors=True)


class Worker:
    """One worker process. At most one job at a time."""

    def __init__(self, interpreter: str) -> None:
        self.interpreter = interpreter
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed in kill)
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._last_id = 0
        self._process = subprocess.Popen(
            runtime.worker_command(interpreter),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=runtime.environment(),
            encoding="utf-8",
            **runtime.popen_options(),
        )
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def submit(self, photo: str, options: dict[str, Any]) -> Job:
        """Send one decomposition; OSError when the process is gone."""
        job = Job(photo, Path(tempfile.mkdtemp(prefix="facepbr-")))
        self._last_id += 1
        request = {
            "id": self._last_id,
            "command": "decompose",
            "photo": photo,
            "out": str(job.folder),
            **options,
        }
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except OSError:
            job.discard()
            raise
        return job

    def poll(self, job: Job, wait_s: float = 0.0) -> None:
        """Take in what the worker has said; waits up to ``wait_s`` for the first line."""
        with contextlib.suppress(queue.Empty):
            line = self._lines.get(timeout=wait_s) if wait_s else self._lines.get_nowait()
            while not job.finished:
                self._take(job, line)
                line = self._lines.get_nowait()

    def kill(self) -> None:
        """End the process at once, whatever it does; may be called twice."""
        if self.alive:
            self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_TIMEOUT_S)
        with contextlib.suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        self._log.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(OSError, ValueError):
            for line in self._process.stdout:
                self._lines.put(line)
        self._lines.put(None)

    def _take(self, job: Job, line: str | None) -> None:
        if line is None:
            job.error = f"Expected a result; the worker ended instead: {self._last_words()}"
            return
        answer = json.loads(line)
        if answer.get("id") != self._last_id:
            return
        if "result" in answer:
            job.result = Path(answer["result"])
        elif "error" in answer:
            job.error = _explain(answer["error"])
        else:
            job.stage, job.done, job.total = answer["stage"], answer["done"], answer["total"]

    def _last_words(self) -> str:
        if self._log.closed:
            return "killed"
        self._log.seek(0)
        lines = self._log.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else f"exit code {self._process.poll()}"


def _explain(error: dict[str, str]) -> str:
    if error["type"] in ("ModuleNotFoundError", "ImportError"):
        return (
            f"Expected FacePBR's packages in the runtime; got: {error['message']}; "
            "do check the runtime in the add-on's preferences"
        )
    return error["message"]


class _Current:
    """The one worker and job of this Blender."""

    worker: Worker | None = None
    job: Job | None = None


current = _Current()


def start(interpreter: str, photo: str, options: dict[str, Any]) -> Job:
    """Begin a job, in the warm worker where it fits; RuntimeProblem where no worker can be started."""
    if current.job is not None:
        raise runtime.RuntimeProblem("Expected no other job; got one running; do cancel it first")
    worker = current.worker
    if worker is not None and not (worker.alive and worker.interpreter == interpreter):
        stop()
        worker = None
    try:
        current.worker = worker or Worker(interpreter)
        current.job = current.worker.submit(photo, options)
    except OSError as error:
        stop()
        raise runtime.RuntimeProblem(
            f"Expected to start {interpreter}; got {error.strerror or error}; do check the runtime"
        ) from None
    return current.job


def end_job() -> None:
    """Forget the current job and its files; a worker that has not finished it is killed."""
    job, current.job = current.job, None
    if job is None:
        return
    if not job.finished:
        stop()
    job.discard()


def stop() -> None:
    """End the worker, and with it the memory it holds; a job in it is dropped."""
    worker, current.worker = current.worker, None
    if worker is not None:
        worker.kill()
    job, current.job = current.job, None
    if job is not None:
        job.discard()
