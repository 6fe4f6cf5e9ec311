"""What every bench script says of a run: where it comes from, its figures with their doubt, one result.json.

Standard library and numpy only: runs in Blender's own Python.
"""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
RESULT_NAME = "result.json"
BOOTSTRAP_ROUNDS = 2000


def provenance(script: str, seed: int, **settings: Any) -> dict[str, Any]:
    """Commit, date, seed, hardware, load of the machine, and the settings that shaped the figures."""
    return {
        "script": script,
        "commit": commit(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),  # noqa: UP017 (3.10)
        "seed": seed,
        "hardware": hardware(),
        "load_average": load_average(),
        "settings": settings,
    }


def commit() -> str | None:
    """Short hash of the checkout, with "+" where bench, core or train differ from it; None outside one."""
    git = ["git", "-C", str(ROOT)]
    try:
        found = subprocess.run(
            [*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
        state = [*git, "status", "--porcelain", "--", "bench", "core", "train"]
        dirty = subprocess.run(state, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
    return found + ("+" if dirty else "")


def hardware() -> str:
    """Processor and the cores this process may use, in words."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [
            x.split(":")[1].strip() for x in info.read_text().splitlines() if "model name" in x
        ]
        name = names[0] if names else name
    affinity = getattr(os, "sched_getaffinity", None)
    return f"{name}, {len(affinity(0)) if affinity else os.cpu_count()} cores"


def load_average() -> float | None:
    """Processes that wanted a core in the last minute: above the cores, timings mean little."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def interval(values: Sequence[float], clusters: Sequence[str] | None = None) -> dict[str, Any]:
    """Mean and its 95 % bootstrap interval, resampled over identities.

    clusters: the identity of each value; without, each value is its own. {"mean", "low", "high", "n"},
    n counting identities; no interval for fewer than three. Not finite values are an error.
    """
    array = np.asarray(values, np.float64)
    if not len(array) or not np.isfinite(array).all():
        raise ValueError(f"expected finite values; got {array.tolist()}")
    names = list(clusters) if clusters is not None else [str(i) for i in range(len(array))]
    if len(names) != len(array):
        raise ValueError(f"expected an identity per value; got {len(names)} for {len(array)}")
    groups = [array[[n == name for n in names]] for name in dict.fromkeys(names)]
    result: dict[str, Any] = {"mean": float(array.mean()), "n": len(groups)}
    if len(groups) > 2:
        sums = np.array([g.sum() for g in groups])
        counts = np.array([len(g) for g in groups])
        rng = np.random.default_rng(0)
        pick = rng.integers(0, len(groups), (BOOTSTRAP_ROUNDS, len(groups)))
        means = sums[pick].sum(1) / counts[pick].sum(1)
        result["low"], result["high"] = (float(x) for x in np.percentile(means, (2.5, 97.5)))
    return result


def rounded(value: Any, digits: int = 5) -> Any:
    """Floats of nested JSON values to so many significant digits; what is not finite becomes None."""
    if isinstance(value, Mapping):
        return {str(key): rounded(item, digits) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item, digits) for item in value]
    if isinstance(value, (float, np.floating)):
        return float(f"{float(value):.{digits}g}") if math.isfinite(value) else None
    if isinstance(value, np.integer):
        return int(value)
    return value


def write_record(out: Path, record: Mapping[str, Any]) -> Path:
    """``out/result.json``, whole or not at all; returns its path."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / RESULT_NAME
    partial = path.with_suffix(".partial")
    text = json.dumps(rounded(record), indent=1, ensure_ascii=False, allow_nan=False)
    partial.write_text(text + "\n", encoding="utf-8")
    os.replace(partial, path)
    return path
