"""Heads that are not shipped: where the user's copy lies, and the one download, made only when asked for."""

from __future__ import annotations

import hashlib
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from .errors import HeadError, InputError, OutputError


class Asset(NamedTuple):
    """A file of someone else's, pinned to its exact content."""

    file_name: str
    url: str
    sha256: str
    num_bytes: int
    licence: str


ASSETS: dict[str, Asset] = {
    "hifi3d": Asset(
        "hifi3d_head.obj",
        "https://raw.githubusercontent.com/csbhr/FFHQ-UV/6f29d0c193443d00c1f9eb1d6cdfd4f5d4fd1955/"
        "examples/mesh_add_eyeball_examples/mesh_head.obj",
        "82b03e6f4dd04760613903c834f55bd3897ae2a634625927f9c8fc2e383e57a0",
        2_480_706,
        "MIT, (c) 2022 Haoran Bai (FFHQ-UV); the notice stands in NOTICE",
    ),
}
HIFI3D_VARIABLE = "FACEPBR_HIFI3D"


def asset_dir() -> Path:
    """The user's folder for downloaded assets, by the habit of the system; not created here."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "facepbr"


def find_head(head: str | Path | None) -> Path | None:
    """`--head` as given -> OBJ file, or None for the embedded head.

    None and "embedded": the embedded head. "hifi3d": the file that $FACEPBR_HIFI3D names, else the downloaded one.
    Anything else is a path. HeadError when the file is not there.
    """
    if head is None or str(head) == "embedded":
        return None
    if str(head) == "hifi3d":
        named = os.environ.get(HIFI3D_VARIABLE)
        path = Path(named) if named else asset_dir() / ASSETS["hifi3d"].file_name
        hint = f"do run `facepbr assets get hifi3d` or set {HIFI3D_VARIABLE}"
    else:
        path, hint = Path(head), "do check --head"
    if not path.is_file():
        raise HeadError(f"{path}: expected a head OBJ; got nothing there; {hint}")
    return path


def get_asset(
    name: str,
    folder: Path | None = None,
    open_url: Callable[[str], bytes] | None = None,
) -> Path:
    """Download asset `name` unless an intact copy is there; returns its path.

    The content is compared with the pinned SHA-256 before the file gets its name, so a wrong or partial download is
    never left behind. InputError without network or for wrong content, OutputError where it cannot be written.
    """
    asset = ASSETS[name]
    path = (folder or asset_dir()) / asset.file_name
    if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == asset.sha256:
        return path
    try:
        data = (open_url or _download)(asset.url)
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = " ".join(str(getattr(error, "reason", error)).split())
        raise InputError(
            f"{name}: expected to download {asset.url}; got {reason}; do check the network, or fetch it by hand and "
            f"set {HIFI3D_VARIABLE}"
        ) from None
    digest = hashlib.sha256(data).hexdigest()
    if digest != asset.sha256:
        raise InputError(
            f"{name}: expected SHA-256 {asset.sha256[:12]}... from {asset.url}; got {digest[:12]}...; "
            "the file was not kept; do try again later"
        )
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except OSError as error:
        raise OutputError(
            f"{path}: expected to write here; got {error.strerror}; do make the folder writable"
        ) from None
    finally:
        if temporary.parent.is_dir():
            temporary.unlink(missing_ok=True)
    return path


def _download(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.read()
