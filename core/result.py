"""A folder of results <-> Python. File names come from the pass table; a folder appears whole or not at all."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import InputError, OutputError
from .images import read_hdr, read_map, write_exr, write_map
from .passes import CONFIDENCE_KEY, PASSES
from .report import peak_memory_mb, to_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .export import Part
    from .head_fit import HeadFit
    from .head_model import HeadMesh
    from .landmarks import Landmarks

PASSES_DIR = "passes"
REPORT_NAME = "report.json"
ENVIRONMENT_NAME = "environment.exr"
SHEET_NAME = "sheet.png"
_OURS = {PASSES_DIR, REPORT_NAME, ENVIRONMENT_NAME, SHEET_NAME, "head.obj", "head.mtl", "head.glb"}
_STALE_AFTER_S = 600.0
_NUMBERS = re.compile(r"\[[-+.\deE,\s]+\]")
"""A list of numbers only: kept on one line, so that people can read a report."""


@dataclass
class Result:
    """Everything known about one decomposed photo. S: side of the maps, V: vertices of the chosen head."""

    name: str
    """Stem of the photo, and name of the result's folder."""
    passes: dict[str, np.ndarray]
    """Pass key -> (S, S, channels) float32 in [0, 1] as stored: colours sRGB-encoded, normals n * 0.5 + 0.5."""
    confidence: np.ndarray
    """(S, S) or (S, S, 1) float32: 1 = seen and trusted, 0 = invented."""
    report: dict[str, Any]
    """Plain JSON values, see report.make_report."""
    mesh: HeadMesh | None = None
    """Topology of the head; None for a result read back from files."""
    vertices: np.ndarray | None = None
    """(V, 3) metres, head space, with the photo's expression."""
    neutral_vertices: np.ndarray | None = None
    """(V, 3) metres, without expression."""
    eyes: Sequence[Part] = ()
    """Eyeballs and what else stands beside the head mesh."""
    expression_shapes: Mapping[str, np.ndarray] | None = None
    """Expression name -> (V, 3) offsets in metres, for morph targets."""
    environment: np.ndarray | None = None
    """(h, w, 3) linear equirectangular light, or None."""
    photo: np.ndarray | None = None
    """(H, W, 3) sRGB [0, 1]; the texture itself for a texture run."""
    overlay: np.ndarray | None = None
    """(H, W, 3) sRGB [0, 1]: the fitted head over the photo."""
    rerender: np.ndarray | None = None
    """(H, W, 3) sRGB [0, 1]: the head under the estimated light, over the photo."""
    fit: HeadFit | None = None
    landmarks: Landmarks | None = None
    warnings: list[str] = field(default_factory=list)


def write_result(result: Result, out_dir: str | Path, bits: int = 8) -> Path:
    """Write all files of a result as folder `out_dir` and return it.

    Everything is written into a hidden folder beside it, which then takes its name: an older result is replaced in one
    move, a failure or interruption leaves the older one and nothing else. Files in an older result that are not ours
    are kept. The time of writing is added to the report. OutputError where this is impossible, also where `out_dir`
    is a folder that is not a result.
    """
    target = Path(out_dir)
    check_replaceable(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(target)
        temporary = Path(tempfile.mkdtemp(".tmp", _temporary_prefix(target), target.parent))
    except OSError as error:
        raise _cannot_write(target, error) from None
    try:
        _write_files(result, temporary, bits)
        _take_name(temporary, target)
    except OSError as error:
        raise _cannot_write(target, error) from None
    finally:  # also on Ctrl-C
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def check_replaceable(target: Path) -> None:
    """OutputError unless `target` is free, an empty folder, or an older result."""
    if not target.exists():
        return
    if not target.is_dir():
        raise OutputError(
            f"{target}: expected a free name for the result's folder; got a file; do choose another -o"
        )
    if any(target.iterdir()) and not (target / REPORT_NAME).is_file():
        raise OutputError(
            f"{target}: expected a free name or an older result; got a folder with other files; "
            "do choose another -o"
        )


def read_result(folder: str | Path) -> Result:
    """Read a result's maps, environment, report and head vertices back; the mesh's faces are left to head.obj.

    InputError when a file is missing or damaged.
    """
    folder = Path(folder)
    report_path = folder / REPORT_NAME
    try:
        report = json.loads(report_path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{report_path}: expected the report of a result; got {' '.join(str(error).split())}; do decompose again"
        ) from None
    maps = folder / PASSES_DIR
    environment = folder / ENVIRONMENT_NAME
    return Result(
        name=str(report.get("name", folder.name)),
        passes={row.key: read_map(maps / f"{row.key}.png") for row in PASSES},
        confidence=read_map(maps / f"{CONFIDENCE_KEY}.png"),
        report=report,
        vertices=_read_obj_vertices(folder / "head.obj"),
        environment=read_hdr(environment) if environment.is_file() else None,
        warnings=list(report.get("warnings", [])),
    )


def _write_files(result: Result, folder: Path, bits: int) -> None:
    from .export import write_glb, write_obj
    from .sheet import contact_sheet

    started = time.perf_counter()
    maps = folder / PASSES_DIR
    maps.mkdir()
    for row in PASSES:
        write_map(maps / f"{row.key}.png", _channels(result.passes[row.key], row.channels), bits)
    write_map(maps / f"{CONFIDENCE_KEY}.png", _channels(result.confidence, 1), bits)
    if result.mesh is not None and result.vertices is not None:
        texture = f"{PASSES_DIR}/{PASSES[0].key}.png"
        write_obj(folder / "head.obj", result.mesh, result.vertices, texture=texture)
        write_glb(
            folder / "head.glb",
            result.mesh,
            result.vertices,
            result.passes,
            result.eyes,
            result.expression_shapes,
        )
    if result.environment is not None:
        write_exr(folder / ENVIRONMENT_NAME, result.environment)
    write_map(folder / SHEET_NAME, contact_sheet(result))
    _note_writing(result.report, time.perf_counter() - started)
    text = json.dumps(to_json(result.report), indent=2, ensure_ascii=False, allow_nan=False)
    text = _NUMBERS.sub(lambda match: " ".join(match[0].split()), text)
    (folder / REPORT_NAME).write_text(text + "\n", encoding="utf-8")


def _note_writing(report: dict[str, Any], seconds: float) -> None:
    """Add the last step, which ends only here, to the report's times, and the memory that it took."""
    times = report.get("seconds", {})
    times["total"] = round(times.get("total", 0.0) - times.get("writing", 0.0) + seconds, 3)
    times["writing"] = round(seconds, 3)
    report["seconds"] = times
    report["peak_memory_mb"] = peak_memory_mb()


def _channels(values: np.ndarray, channels: int) -> np.ndarray:
    """(H, W), (H, W, 1) or (H, W, 3) -> (H, W, channels); a ValueError for anything else."""
    values = np.asarray(values)
    if values.ndim == 2:
        values = values[..., None]
    if values.ndim != 3 or values.shape[2] != channels:
        raise ValueError(f"expected a map of {channels} channels; got shape {values.shape}")
    return values


def _take_name(temporary: Path, target: Path) -> None:
    """Give the finished folder its name, moving an older result out of the way and its foreign files over."""
    _open_to_umask(temporary)
    older = Path(tempfile.mkdtemp(".tmp", _temporary_prefix(target), target.parent)) / "older"
    try:
        if target.exists():
            os.replace(target, older)
        try:
            os.replace(temporary, target)
        except BaseException:
            if older.exists():
                os.replace(older, target)
            raise
        if older.exists():
            for entry in older.iterdir():
                if entry.name not in _OURS:
                    os.replace(entry, target / entry.name)
    finally:
        shutil.rmtree(older.parent, ignore_errors=True)


def _open_to_umask(folder: Path) -> None:
    """mkdtemp's folders are private; a result is as open as any other folder of the user."""
    umask = os.umask(0)
    os.umask(umask)
    folder.chmod(0o777 & ~umask)


def _temporary_prefix(target: Path) -> str:
    return f".{target.name}.facepbr-"


def _remove_stale(target: Path) -> None:
    """Remove what a killed run left of this very result; younger ones may belong to a run that is alive."""
    prefix = _temporary_prefix(target)
    for path in target.parent.iterdir():
        if path.name.startswith(prefix) and path.name.endswith(".tmp"):
            if time.time() - path.stat().st_mtime > _STALE_AFTER_S:
                shutil.rmtree(path, ignore_errors=True)


def _cannot_write(target: Path, error: OSError) -> OutputError:
    return OutputError(
        f"{target}: expected to write the result here; got {error.strerror or error}; do choose another -o"
    )


def _read_obj_vertices(path: Path) -> np.ndarray | None:
    if not path.is_file():
        return None
    rows = [
        line.split()[1:4]
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.startswith("v ")
    ]
    return np.array(rows, dtype=np.float32)
