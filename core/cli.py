"""The command line: a thin door to the pipeline. Exit codes: 0 all done, 1 some photo failed, 2 bad usage."""

from __future__ import annotations

import argparse
import errno
import glob
import json
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import __version__
from .errors import FacePBRError, OutputError
from .settings import DETECTORS, DEVICES, Settings, SettingsError, make_pipeline
from .user_assets import ASSETS, asset_dir, get_asset

if TYPE_CHECKING:
    from .pipeline import Pipeline
    from .result import Result

DONE, SOME_FAILED, BAD_USAGE, INTERRUPTED = 0, 1, 2, 130


def main(
    argv: Sequence[str] | None = None,
    make_pipeline: Callable[[Settings], Pipeline] = make_pipeline,
) -> int:
    """Run the command line and return its exit code; `make_pipeline` is the seam for tests."""
    parser = _parser()
    try:
        arguments = parser.parse_args(argv)
        if arguments.command == "assets":
            return _assets(arguments)
        return _decompose(arguments, make_pipeline)
    except SystemExit as stop:  # argparse: --help, --version or bad usage
        return stop.code if isinstance(stop.code, int) else BAD_USAGE
    except _UsageError as error:
        print(f"facepbr: {error}", file=sys.stderr)
        return BAD_USAGE
    except KeyboardInterrupt:
        print("\nfacepbr: interrupted; finished results are kept", file=sys.stderr)
        return INTERRUPTED


class _UsageError(Exception):
    """What argparse cannot see: the options do not fit each other or the disk."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="facepbr",
        description="One portrait photo in; six physically based maps on a fitted head out.",
    )
    parser.add_argument("--version", action="version", version=f"facepbr {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    run = commands.add_parser("decompose", help="decompose portrait photos into maps and a head")
    run.add_argument("photos", nargs="+", metavar="PHOTO", help="JPEG, PNG, WebP, TIFF or BMP")
    run.add_argument(
        "-o", "--out", required=True, metavar="DIR", help="one sub-folder per photo is made here"
    )
    run.add_argument(
        "--head",
        metavar="FILE",
        help="'embedded' (default), 'hifi3d' (see `facepbr assets`) or an OBJ in the HiFi3D UV layout",
    )
    run.add_argument("--detector", choices=DETECTORS, default="auto", help="landmark detector")
    run.add_argument("--device", choices=DEVICES, default="auto", help="where the networks run")
    run.add_argument("--size", type=int, default=1024, help="side of the maps (default 1024)")
    run.add_argument("--bits", type=int, choices=(8, 16), default=8, help="of the PNG maps")
    run.add_argument(
        "--uv-texture", action="store_true", help="the input is a texture in the HiFi3D UV layout"
    )
    run.add_argument(
        "--same-person",
        action="store_true",
        help="all photos show one person: one identity, maps merged from all",
    )
    run.add_argument(
        "--light-removal",
        type=float,
        default=1.0,
        metavar="X",
        help="1 removes all light that is recognised, 0 none (default 1.0)",
    )
    run.add_argument("--weights", metavar="DIR", help="another set of weights")
    run.add_argument("--json", action="store_true", help="no progress; one JSON object at the end")
    run.add_argument(
        "-v", "--verbose", action="store_true", help="show warnings and the trace of errors"
    )

    assets = commands.add_parser("assets", help="heads that are not shipped")
    actions = assets.add_subparsers(dest="action", required=True, metavar="ACTION")
    get = actions.add_parser("get", help="download one")
    get.add_argument("name", choices=sorted(ASSETS))
    actions.add_parser("list", help="what there is, and what is here")
    return parser


def _decompose(arguments: argparse.Namespace, make_pipeline: Callable[[Settings], Pipeline]) -> int:
    try:
        settings = Settings(
            head=arguments.head,
            detector=arguments.detector,
            device=arguments.device,
            weights=arguments.weights,
            light_removal=arguments.light_removal,
            size=arguments.size,
            bits=arguments.bits,
            uv_texture=arguments.uv_texture,
            same_person=arguments.same_person,
        )
    except SettingsError as error:
        raise _UsageError(str(error)) from None
    photos = _expand(arguments.photos)
    if settings.same_person and len(photos) < 2:
        raise _UsageError(
            "--same-person: expected two photos or more; got 1; do give more or leave it out"
        )
    _refuse_equal_names(photos, Path(arguments.out))
    if not arguments.verbose:
        warnings.simplefilter("ignore")
    _terminate_cleanly()
    console = _Console(num_photos=len(photos), quiet=arguments.json)
    with _OutputFolder(Path(arguments.out)) as out:
        outcomes = _run(photos, out, settings, make_pipeline, console, arguments.verbose)
    failed = sum("error" in outcome for outcome in outcomes)
    if arguments.json:
        answer = {
            "schema_version": 1,
            "done": len(outcomes) - failed,
            "failed": failed,
            "results": outcomes,
        }
        print(json.dumps(answer, ensure_ascii=True))
    return SOME_FAILED if failed else DONE


def _run(
    photos: list[Path],
    out: Path,
    settings: Settings,
    make_pipeline: Callable[[Settings], Pipeline],
    console: _Console,
    verbose: bool,
) -> list[dict[str, Any]]:
    """Decompose the photos with one pipeline, each alone or all as one person; a failure is noted, the rest go on."""
    console.step("loading", "", 0, 0, "")
    try:
        pipeline = make_pipeline(settings)
    except Exception as error:  # weights, head, device, packages: no photo can succeed
        if verbose and not isinstance(error, FacePBRError):
            traceback.print_exc()
        message = _describe(error)
        console.failed(message)
        return [_failure(photo, type(error).__name__, message) for photo in photos]
    together = _together if settings.same_person else _one_by_one
    outcomes: list[dict[str, Any]] = []
    for photo, outcome in together(photos, out, settings, pipeline, console):
        if isinstance(outcome, Exception):
            if verbose and not isinstance(outcome, FacePBRError):
                traceback.print_exception(outcome)
            message = _describe(outcome)
            outcomes.append(_failure(photo, type(outcome).__name__, message))
            console.failed(message)
        else:
            folder, report = outcome
            outcomes.append({"photo": str(photo), "folder": str(folder), "report": report})
            console.finished(folder, report)
    return outcomes


_Outcome = tuple[Path, tuple[Path, dict[str, Any]] | Exception]
"""A photo with its folder and report, or with what went wrong."""


def _one_by_one(
    photos: list[Path], out: Path, settings: Settings, pipeline: Pipeline, console: _Console
) -> Iterator[_Outcome]:
    from .result import check_replaceable

    for index, photo in enumerate(photos):
        console.begin(index, photo)
        try:
            check_replaceable(out / photo.stem)
            result = pipeline.decompose(
                photo, uv_texture=settings.uv_texture, progress=console.step
            )
            yield photo, _written(photo, result, out, settings, console)
        except Exception as error:
            yield photo, error


def _together(
    photos: list[Path], out: Path, settings: Settings, pipeline: Pipeline, console: _Console
) -> Iterator[_Outcome]:
    from .result import check_replaceable

    usable: list[Path] = []
    for index, photo in enumerate(photos):
        console.begin(index, photo)
        try:
            check_replaceable(out / photo.stem)
            usable.append(photo)
        except FacePBRError as error:
            yield photo, error
    if not usable:
        return
    waiting = set(usable)
    try:
        for photo, result in pipeline.decompose_same_person(usable, progress=console.step):
            console.begin(photos.index(photo), photo)
            waiting.discard(photo)
            if isinstance(result, FacePBRError):
                yield photo, result
                continue
            try:
                yield photo, _written(photo, result, out, settings, console)
            except FacePBRError as error:
                yield photo, error
    except Exception as error:  # of the shared work: none of the others can succeed
        for photo in usable:
            if photo in waiting:
                console.begin(photos.index(photo), photo)
                yield photo, error


def _written(
    photo: Path, result: Result, out: Path, settings: Settings, console: _Console
) -> tuple[Path, dict[str, Any]]:
    from .result import write_result

    console.step("writing", photo.stem, 0, 0, "")
    return write_result(result, out / photo.stem, settings.bits), result.report


def _failure(photo: Path, kind: str, message: str) -> dict[str, Any]:
    return {"photo": str(photo), "error": {"type": kind, "message": message}}


def _expand(names: list[str]) -> list[Path]:
    """Paths as given; patterns that the shell left alone (Windows) are expanded."""
    photos: list[Path] = []
    for name in names:
        path = Path(name)
        found = sorted(glob.glob(name)) if not path.exists() and glob.has_magic(name) else []
        photos += [Path(item) for item in found] or [path]
    return photos


def _refuse_equal_names(photos: list[Path], out: Path) -> None:
    seen: dict[str, Path] = {}
    for photo in photos:
        other = seen.setdefault(photo.stem.casefold(), photo)
        if other is not photo:
            raise _UsageError(
                f"expected photos of different names; got {other} and {photo}, which would both become "
                f"{out / photo.stem}; do rename one or run them into two folders"
            )


class _OutputFolder:
    """Makes the output folder before any work, and takes it away again if it was new and stayed empty."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._made: list[Path] = []

    def __enter__(self) -> Path:
        missing = [p for p in (self.path, *self.path.parents) if not p.exists()]
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if not os.access(self.path, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            raise _UsageError(
                f"-o {self.path}: expected a folder that can be written; got {error.strerror}; do choose another"
            ) from None
        self._made = missing
        return self.path

    def __exit__(self, *_: object) -> None:
        for path in self._made:
            try:
                path.rmdir()
            except OSError:
                break


class _Console:
    """Progress for people, on stderr: a live line per photo on a terminal, one line per photo elsewhere."""

    def __init__(self, num_photos: int, quiet: bool) -> None:
        self._num_photos = num_photos
        self._quiet = quiet
        self._live = sys.stderr.isatty() and not quiet
        self._prefix = "facepbr: "

    def begin(self, index: int, photo: Path) -> None:
        self._prefix = f"[{index + 1}/{self._num_photos}] {photo.stem}: "

    def step(self, stage: str, of: str, done: int, total: int, message: str) -> None:
        """The pipeline's progress call; `of` is the photo's name, which the line already shows."""
        if self._live:
            count = f"{stage} ({done + 1} of {total})" if done < total else stage
            self._write(f"\r\x1b[K{self._prefix}{count} ... {message}")

    def finished(self, folder: Path, report: dict[str, Any]) -> None:
        if self._quiet:
            return
        seconds = report.get("seconds", {}).get("total")
        took = f" in {seconds:.1f} s" if isinstance(seconds, int | float) else ""
        self._write(f"{self._start()}done{took} -> {folder}\n")
        for text in report.get("warnings", []):
            self._write(f"    warning: {text}\n")

    def failed(self, message: str) -> None:
        if not self._quiet:
            self._write(f"{self._start()}failed: {message}\n")

    def _start(self) -> str:
        return ("\r\x1b[K" if self._live else "") + self._prefix

    def _write(self, text: str) -> None:
        try:
            sys.stderr.write(text)
        except UnicodeEncodeError:  # a terminal without the name's script
            sys.stderr.write(text.encode("ascii", "backslashreplace").decode())
        sys.stderr.flush()


def _assets(arguments: argparse.Namespace) -> int:
    if arguments.action == "list":
        for name, asset in ASSETS.items():
            path = asset_dir() / asset.file_name
            state = str(path) if path.is_file() else f"not here; `facepbr assets get {name}`"
            print(f"{name}: {asset.licence}: {state}")
        return DONE
    try:
        path = get_asset(arguments.name)
    except FacePBRError as error:
        print(f"facepbr: {_one_line(error)}", file=sys.stderr)
        return BAD_USAGE if isinstance(error, OutputError) else SOME_FAILED
    print(f"{path}\nlicence: {ASSETS[arguments.name].licence}")
    return DONE


def _terminate_cleanly() -> None:
    """Make SIGTERM end like Ctrl-C, so that nothing half-written stays."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    try:
        signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not the main thread
        pass


def _describe(error: Exception) -> str:
    """One line for any error; one that no user can act on says that it is ours."""
    if isinstance(error, FacePBRError):
        return _one_line(error)
    kind = type(error).__name__
    if isinstance(error, ImportError):
        return f"expected every package of requirements.lock; got {kind}: {_one_line(error)}; do run `make env`"
    return f"unexpected {kind}: {_one_line(error)}; do report it with the output of --verbose"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
