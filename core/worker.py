"""The worker process: JSON lines in on stdin, JSON lines out on stdout, the pipeline kept warm between jobs.

Requests, one JSON object per line:
    {"id": ..., "command": "decompose", "photo": PATH, "out": DIR, ...options of settings.Settings}
    {"id": ..., "command": "decompose", "photos": [PATH, PATH, ...], "out": DIR, "same_person": true, ...options}
    {"id": ..., "command": "ping"}
    {"id": ..., "command": "shutdown"}
Answers, each with the request's id:
    {"id", "stage", "of", "done", "total", "message"}   progress: the step that begins, photo, steps finished, steps
    {"id", "result": FOLDER}                            the folder of the command line, DIR/<stem>
    {"id", "result": {"folders": {PHOTO: FOLDER}, "errors": {PHOTO: {"type", "message"}}}}   for photos of one person
    {"id", "result": {"version", "pid"}}                for a ping; {"result": null} for a shutdown
    {"id", "error": {"type", "message"}}
Requests are served in order. The end of stdin ends the worker after the requests it was given; a reader that goes away
ends it at once. Killing it is how a job is cancelled. Run it with `python -m facepbr.worker`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from . import __version__
from .errors import FacePBRError
from .settings import Settings, SettingsError, make_pipeline

if TYPE_CHECKING:
    from .pipeline import Pipeline
    from .report import Progress
    from .result import Result


def serve(
    requests: TextIO,
    answers: TextIO,
    make_pipeline: Callable[[Settings], Pipeline] = make_pipeline,
) -> int:
    """Serve requests until shutdown, the end of input or a closed output; returns the process's exit code."""
    worker = _Worker(answers, make_pipeline)
    try:
        for line in requests:
            if line.strip() and not worker.handle(line):
                break
    except BrokenPipeError:
        return 1
    return 0


class _Worker:
    def __init__(self, answers: TextIO, make_pipeline: Callable[[Settings], Pipeline]) -> None:
        self._answers = answers
        self._make_pipeline = make_pipeline
        self._key: tuple[Any, ...] | None = None
        self._pipeline: Pipeline | None = None

    def handle(self, line: str) -> bool:
        """Answer one request; False when it was the last."""
        identity: Any = None
        try:
            request = json.loads(line)
            if not isinstance(request, dict):
                raise SettingsError("expected a JSON object per line")
            identity = request.pop("id", None)
            command = request.pop("command", None)
            if command == "shutdown":
                self._send(identity, result=None)
                return False
            if command == "ping":
                self._send(identity, result={"version": __version__, "pid": os.getpid()})
            elif command == "decompose":
                self._send(identity, result=self._decompose(identity, request))
            else:
                raise SettingsError(
                    f"expected command decompose, ping or shutdown; got {command!r}"
                )
        except BrokenPipeError:
            raise
        except FacePBRError as error:
            self._send_error(identity, error)
        except json.JSONDecodeError as error:
            self._send_error(
                identity, SettingsError(f"expected one JSON object per line; got {error}")
            )
        except SettingsError as error:
            self._send_error(identity, error)
        except (
            Exception
        ) as error:  # a defect of ours: the trace goes to the log, the worker lives on
            traceback.print_exc(file=sys.stderr)
            self._send_error(identity, error)
        return True

    def _decompose(self, identity: Any, request: dict[str, Any]) -> str | dict[str, Any]:
        from .result import check_replaceable, write_result

        photo, photos = request.pop("photo", None), request.pop("photos", None)
        out, settings = request.pop("out", None), Settings.from_mapping(request)
        if settings.same_person != (photos is not None):
            raise SettingsError("expected 'photos' together with 'same_person': true, else 'photo'")
        paths = photos if settings.same_person else [photo]
        whole = isinstance(paths, list) and all(isinstance(path, str) for path in paths)
        if not whole or not isinstance(out, str):
            raise SettingsError("expected 'photo' (or a list 'photos') and 'out' as paths")
        targets = {path: Path(out) / Path(path).stem for path in paths}
        if len(set(targets.values())) < len(paths) or (settings.same_person and len(paths) < 2):
            raise SettingsError("expected two photos or more, of different names")
        for target in targets.values():
            check_replaceable(target)

        last_total = 0

        def progress(stage: str, of: str, done: int, total: int, message: str) -> None:
            nonlocal last_total
            last_total = total
            self._send(identity, stage=stage, of=of, done=done, total=total, message=message)

        def write(result: Result, target: Path) -> str:
            progress("writing", target.name, last_total, last_total, "")
            return str(write_result(result, target, settings.bits))

        pipeline = self._warm_pipeline(settings, progress, targets[paths[0]].name)
        if not settings.same_person:
            result = pipeline.decompose(
                Path(paths[0]), uv_texture=settings.uv_texture, progress=progress
            )
            return write(result, targets[paths[0]])
        folders: dict[str, str] = {}
        errors: dict[str, dict[str, str]] = {}
        names = {Path(path): path for path in paths}
        for path, result in pipeline.decompose_same_person(list(names), progress=progress):
            if isinstance(result, FacePBRError):
                errors[names[path]] = _error(result)
            else:
                folders[names[path]] = write(result, targets[names[path]])
        return {"folders": folders, "errors": errors}

    def _warm_pipeline(self, settings: Settings, progress: Progress, name: str) -> Pipeline:
        if self._pipeline is not None and self._key == settings.pipeline_key():
            return self._pipeline
        self._pipeline = None  # free the old networks before the new ones come
        progress("loading", name, 0, 0, "")
        pipeline = self._make_pipeline(settings)
        self._pipeline, self._key = pipeline, settings.pipeline_key()
        return pipeline

    def _send_error(self, identity: Any, error: Exception) -> None:
        self._send(identity, error=_error(error))

    def _send(self, identity: Any, **values: Any) -> None:
        self._answers.write(json.dumps({"id": identity, **values}) + "\n")
        self._answers.flush()


def _error(error: Exception) -> dict[str, str]:
    message = " ".join(str(error).split()) or type(error).__name__
    return {"type": type(error).__name__, "message": message}


def main(make_pipeline: Callable[[Settings], Pipeline] = make_pipeline) -> int:
    """Serve the process's own stdin and stdout, which are taken away from everybody else first."""
    requests = os.fdopen(os.dup(0), "r", encoding="utf-8", newline="\n")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    # Libraries, also those in C, print to fd 1: that goes to the log (stderr), never between our lines.
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    signal.signal(signal.SIGTERM, _stop)
    try:
        return serve(requests, answers, make_pipeline)
    except KeyboardInterrupt:
        return 130


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    raise SystemExit(main())
