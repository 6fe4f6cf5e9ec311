"""Photos of scans -> input textures by the true mesh and camera; run by path with the Python that has core's packages.

    python bench/unwrap_views.py SCAN/photo_VIEW.png...

Writes SCAN/input_VIEW.png beside each photo. A scan whose meta.json has no coefficients of the present head
model is left out and named.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

# Run by path: the checkout's root is not on sys.path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np  # noqa: E402

from bench.cache import file_hash, is_fresh, mark  # noqa: E402
from core.camera import Camera  # noqa: E402
from core.head_fit import HeadFit  # noqa: E402
from core.head_model import HEAD_FILE, HeadModel  # noqa: E402
from core.images import read_photo, write_map  # noqa: E402
from core.unwrap import unwrap  # noqa: E402


def camera_of(entry: dict) -> Camera:
    """A report's or a view's ``camera`` entry as a Camera."""
    return Camera(
        entry["focal_px"],
        np.array(entry["center_px"]),
        entry["width_px"],
        entry["height_px"],
        np.array(entry["rotation_head_to_camera"]),
        np.array(entry["translation_m"]),
    )


def true_fit(head: HeadModel, meta: dict, camera: Camera) -> HeadFit:
    """The fit that made no error: the scan's own coefficients, landmarks where they really are."""
    identity = np.array(meta["identity"], np.float32)
    expression = np.array(meta["expression"], np.float32)
    uv = head.landmarks68_uv
    points = camera.project(head.basis(uv).points(identity, expression))
    return HeadFit(
        camera, identity, expression, 0.0, 0.0, 1.0, (), uv, points, np.ones(len(uv)), None
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="unwrap_views.py", description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--size", type=int, default=1024)
    options = parser.parse_args()
    head, without = HeadModel.load(), set()
    for path in options.photos:
        target = path.with_name(path.name.replace("photo_", "input_"))
        key = {"photo": file_hash(path), "size": options.size}
        if is_fresh(target, key):
            continue
        meta = path.parent / "meta.json"
        known = json.loads(meta.read_text(encoding="utf-8")) if meta.is_file() else {}
        if known.get("head") != file_hash(HEAD_FILE):
            without.add(path.parent.name)
            continue
        note = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        fit = true_fit(head, known, camera_of(note["camera"]))
        write_map(target, unwrap(read_photo(path), fit, head, options.size).texture)
        mark(target, key)
    if without:
        print(f"no input texture, not of this head model: {', '.join(sorted(without))}")


if __name__ == "__main__":
    main()
