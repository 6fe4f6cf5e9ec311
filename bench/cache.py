"""What is made once: a file beside its key, so that a run goes on where it stopped. Standard library only."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from .record import ROOT


def is_fresh(path: Path, key: dict[str, Any]) -> bool:
    """Whether ``path`` is there and was made with this very key."""
    note = _note(path)
    return path.exists() and note.is_file() and note.read_text(encoding="utf-8") == _text(key)


def mark(path: Path, key: dict[str, Any]) -> None:
    """Note what ``path``, now finished, was made with."""
    _note(path).write_text(_text(key), encoding="utf-8")


def file_hash(path: Path) -> str:
    """First 16 digits of a file's SHA-256."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def weights_hash(folder: Path | None = None) -> str:
    """One hash of all weights of a set; None is the embedded one."""
    files = sorted((folder or ROOT / "core" / "weights").glob("*.safetensors"))
    return hashlib.sha256("".join(map(file_hash, files)).encode()).hexdigest()[:16]


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.key")


def _text(key: dict[str, Any]) -> str:
    return json.dumps(key, sort_keys=True)
