"""The worker process and its jobs: started once, kept warm, killed to cancel. No bpy here.

Nothing here makes the window wait: one thread prepares and sends a request, one turns the worker's lines into a queue
and reads a result's files, one cleans up after a job. ``Worker.poll`` empties the queue from the caller's timer. Every
job writes into a private temporary folder: nothing is left of one that did not finish.
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
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import result_files, runtime

_END_TIMEOUT_S = 5.0


@dataclass
class Ticks:
    """How much of the window's time a job takes: the durations of our part of its timer's ticks."""

    interval_s: float
    count: int = 0
    missed: int = 0
    """Ticks that did not come because somebody, we or Blender, was busy for longer than an interval."""
    longest_ms: float = 0.0
    apply_ms: float = 0.0
    apply_cpu_ms: float = 0.0
    """Putting the result into the scene, once: on the clock, and the processor's share of it."""
    _began: float = 0.0

    def begin(self) -> None:
        """A tick begins."""
        now = time.monotonic()
        if self.count:
            self.missed += max(0, round((now - self._began) / self.interval_s) - 1)
        self._began = now
        self.count += 1

    def end(self) -> None:
        """It ends."""
        self.longest_ms = max(self.longest_ms, 1000 * (time.monotonic() - self._began))


@dataclass
class Job:
    """One photo on its way; also what the panel shows."""

    photo: str
    folder: Path
    """Private temporary folder; the result appears in it as one sub-folder."""
    mesh: str = ""
    """Name of the object whose mesh is dressed; empty for other heads."""
    stage: str = "starting"
    done: int = 0
    total: int = 0
    files: result_files.Files | None = None
    """The result, once it is there."""
    error: str = ""
    started: float = field(default_factory=time.monotonic)

    @property
    def finished(self) -> bool:
        """Whether there is a result or an error."""
        return self.files is not None or bool(self.error)

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
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed in end)
        self._answers: queue.Queue[dict[str, Any] | None] = queue.Queue()
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

    def submit(
        self, photo: str, options: dict[str, Any], prepare: Callable[[], None] | None = None
    ) -> Job:
        """Send one decomposition, in a thread, after ``prepare`` there."""
        job = Job(photo, Path(tempfile.mkdtemp(prefix="facepbr-")))
        self._last_id += 1
        request = {
            "id": self._last_id,
            "command": "decompose",
            "photo": photo,
            "out": str(job.folder),
            **options,
        }
        threading.Thread(target=self._send, args=(request, prepare), daemon=True).start()
        return job

    def poll(self, job: Job, wait_s: float = 0.0) -> None:
        """Take in what the worker has said; waits up to ``wait_s`` for the first answer."""
        with contextlib.suppress(queue.Empty):
            answer = self._answers.get(timeout=wait_s) if wait_s else self._answers.get_nowait()
            while not job.finished:
                self._take(job, answer)
                answer = self._answers.get_nowait()

    def kill(self) -> None:
        """End the process at once, whatever it does, without waiting for it; may be called twice."""
        if self.alive:
            self._process.kill()

    def end(self) -> None:
        """Kill it and wait until it is gone and its pipes are closed."""
        self.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_TIMEOUT_S)
        with contextlib.suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        self._log.close()

    # --- in threads ---

    def _send(self, request: dict[str, Any], prepare: Callable[[], None] | None) -> None:
        assert self._process.stdin is not None
        try:
            if prepare is not None:
                prepare()
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except (OSError, ValueError) as error:  # ValueError: the pipe was closed by end()
            problem = {"type": "OSError", "message": f"Expected to start the job; got: {error}"}
            self._answers.put({"id": request["id"], "error": problem})

    def _read(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(OSError):
            for line in self._process.stdout:
                answer = json.loads(line)
                if isinstance(answer.get("result"), str):
                    try:
                        answer["files"] = result_files.read(Path(answer["result"]))
                    except result_files.ResultProblem as problem:
                        answer = {
                            "id": answer["id"],
                            "error": {"type": "", "message": str(problem)},
                        }
                self._answers.put(answer)
        self._answers.put(None)

    # --- in the window's thread ---

    def _take(self, job: Job, answer: dict[str, Any] | None) -> None:
        if answer is None:
            job.error = f"Expected a result; the worker ended instead: {self._last_words()}"
            return
        if answer.get("id") != self._last_id:
            return
        if "files" in answer:
            job.files = answer["files"]
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
    ticks: Ticks | None = None
    """Of the last job that ran with a window."""


current = _Current()


def start(
    interpreter: str,
    photo: str,
    options: dict[str, Any],
    prepare: Callable[[], None] | None = None,
) -> Job:
    """Begin a job, in the warm worker where it fits; RuntimeProblem where no worker can be started."""
    if current.job is not None:
        raise runtime.RuntimeProblem("Expected no other job; got one running; do cancel it first")
    worker = current.worker
    if worker is not None and not (worker.alive and worker.interpreter == interpreter):
        stop()
        worker = None
    try:
        current.worker = worker or Worker(interpreter)
        current.job = current.worker.submit(photo, options, prepare)
    except OSError as error:
        stop()
        raise runtime.RuntimeProblem(
            f"Expected to start {interpreter}; got {error.strerror or error}; do check the runtime"
        ) from None
    return current.job


def end_job(wait: bool = False) -> None:
    """Forget the current job and its files; a worker that has not finished it is killed."""
    job = current.job
    if job is None:
        return
    if not job.finished:
        stop(wait)
        return
    current.job = None
    _clean(None, job, wait)


def stop(wait: bool = False) -> None:
    """End the worker, and with it the memory it holds; a job in it is dropped."""
    worker, current.worker = current.worker, None
    job, current.job = current.job, None
    if worker is not None:
        worker.kill()
    if worker is not None or job is not None:
        _clean(worker, job, wait)


def _clean(worker: Worker | None, job: Job | None, wait: bool) -> None:
    """Reap a killed worker, then remove what the job wrote, in a thread that Blender's end waits for."""

    def clean() -> None:
        if worker is not None:
            worker.end()
        if job is not None:
            job.discard()

    thread = threading.Thread(target=clean)
    thread.start()
    if wait:
        thread.join(2 * _END_TIMEOUT_S)
