"""What a run notes about itself: steps with their seconds, peak memory, versions, and the report of one photo."""

from __future__ import annotations

import math
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from . import __version__

if TYPE_CHECKING:
    from .head_fit import Camera, HeadFit
    from .landmarks import Landmarks

SCHEMA_VERSION = 1
"""Of report.json; raised when a key changes its meaning or goes."""

Progress = Callable[[str, str, int, int, str], None]
"""(stage, of, done, total, message): the step that begins, the photo's name, steps finished, steps in all, more."""

_LIBRARIES = ("torch", "numpy", "mediapipe", "opencv-python-headless", "pillow", "safetensors")


class Steps:
    """Times the named steps of one photo and tells `progress` when each begins.

    `with steps("landmarks"): ...` for each of `total` steps, then `steps.finish()`.
    """

    def __init__(self, of: str, total: int, progress: Progress | None = None) -> None:
        self.of = of
        self.total = total
        self.seconds: dict[str, float] = {}
        self._progress = progress
        self._done = 0
        self._started = time.perf_counter()

    @contextmanager
    def __call__(self, stage: str, message: str = "") -> Iterator[None]:
        """Run one step; its time is kept under `stage` (added up when a stage comes twice)."""
        if self._progress:
            self._progress(stage, self.of, self._done, self.total, message)
        started = time.perf_counter()
        yield
        taken = time.perf_counter() - started
        self.seconds[stage] = self.seconds.get(stage, 0.0) + taken
        self._done += 1

    @property
    def done(self) -> int:
        """Steps finished."""
        return self._done

    def skip(self, count: int) -> None:
        """Leave out steps that were foreseen."""
        self.total -= count

    def taken(self) -> dict[str, float]:
        """All seconds so far with their `total`, which also holds what lay between the steps."""
        return {**self.seconds, "total": time.perf_counter() - self._started}

    def finish(self) -> dict[str, float]:
        """Tell that all is done; returns ``taken()``."""
        if self._progress:
            self._progress("done", self.of, self.total, self.total, "")
        return self.taken()


def peak_memory_mb() -> float | None:
    """Largest resident size of this process so far in MB (10^6 bytes); None where the system does not tell."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6, 1)


def software_versions() -> dict[str, str]:
    """Versions of ourselves, Python and the libraries that shape the numbers; missing ones are left out."""
    versions = {"facepbr": __version__, "python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def make_report(
    *,
    name: str,
    photo: str,
    device: str,
    settings: Mapping[str, Any],
    seconds: Mapping[str, float],
    weights: Mapping[str, str],
    head: str,
    landmarks: Landmarks | None = None,
    fit: HeadFit | None = None,
    warnings: Sequence[str] = (),
    same_person: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The report of one photo as plain JSON values.

    `settings` are the options of the run, `seconds` per step, `weights` file name -> SHA-256, `head` the topology's
    name, `same_person` what was shared with other photos of the person. Pixels have their origin top-left; the camera
    is OpenCV's (x right, y down, z forward, metres).
    """
    every_warning = list(warnings)
    if fit is not None:
        every_warning += [text for text in fit.warnings if text not in every_warning]
    report = {
        "schema_version": SCHEMA_VERSION,
        "name": name,
        "photo": photo,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "software": software_versions(),
        "weights_sha256": dict(weights),
        "device": device,
        "head": head,
        "settings": dict(settings),
        "seconds": {key: round(value, 3) for key, value in seconds.items()},
        "peak_memory_mb": peak_memory_mb(),
        "landmarks": _landmarks_report(landmarks),
        "camera": camera_report(fit.camera) if fit is not None else None,
        "fit": _fit_report(fit),
        "warnings": every_warning,
    }
    if same_person is not None:
        report["same_person"] = dict(same_person)
    return to_json(report)


def _landmarks_report(landmarks: Landmarks | None) -> dict[str, Any] | None:
    if landmarks is None:
        return None
    return {
        "detector": landmarks.detector,
        "num_faces": landmarks.num_faces,
        "score": round(float(landmarks.score), 4),
        "points_px": np.round(np.asarray(landmarks.points, np.float64), 2),
    }


def camera_report(camera: Camera) -> dict[str, Any]:
    """The ``camera`` entry of a report."""
    return {
        "width_px": camera.width,
        "height_px": camera.height,
        "focal_px": camera.focal_px,
        "center_px": camera.center_px,
        "rotation_head_to_camera": camera.R,
        "translation_m": camera.t,
    }


def _fit_report(fit: HeadFit | None) -> dict[str, Any] | None:
    if fit is None:
        return None
    return {
        "residual_px": fit.residual_px,
        "residual_interocular": fit.residual_iod,
        "confidence": fit.confidence,
        "identity": np.round(np.asarray(fit.identity, np.float64), 4),
        "expression": np.round(np.asarray(fit.expression, np.float64), 4),
    }


def to_json(value: Any) -> Any:
    """numpy and tuples -> plain JSON values; numbers that JSON cannot hold (nan, inf) -> None."""
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return to_json(value.tolist())
    if isinstance(value, np.generic):
        return to_json(value.item())
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int | bool):
        return value
    return str(value)
