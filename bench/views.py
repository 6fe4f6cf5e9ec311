"""Photographs of scan heads in Cycles: which views, and the files they become. Runs in Blender's own Python.

A scan is a folder in the data set's layout (core.passes' file names) with ``head.glb`` or an ``.obj`` in
the HiFi3D layout. Beside its maps each view adds ``photo_<view>.png`` and ``photo_<view>.json`` (camera,
light, how it was rendered); what is there with the same settings is not rendered again.
"""

from __future__ import annotations

import json
import random
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from core.passes import PASSES

from . import scene
from .cache import file_hash, is_fresh, mark

INDOOR, OUTDOOR = ("interior", "studio"), ("forest", "city", "sunset")
"""The five unseen environments of the full test: Blender's own, never trained on."""
FULL_YAWS = tuple(round(-60 + 120 * i / 14, 1) for i in range(15))
FULL_ELEVATIONS = (0.0, 30.0)


@dataclass(frozen=True)
class View:
    """A camera round the head, degrees to its left and up, and a light turned by degrees."""

    yaw_deg: float
    elevation_deg: float
    hdri: str
    turn_deg: float = 0.0

    @property
    def name(self) -> str:
        """What the view's files are called after."""
        turn = f"@{self.turn_deg:g}" if self.turn_deg else ""
        return f"{self.hdri}{turn}_y{self.yaw_deg:+g}_e{self.elevation_deg:+g}"


@dataclass(frozen=True)
class Shoot:
    """All views of one scan; paths, so that another process can take it."""

    scan: Path
    views: tuple[View, ...]
    size: int = 512
    samples: int = 128
    seed: int = 0
    gpu: bool = False


def grid(yaws: list[float], elevations: list[float], lights: list[str]) -> list[View]:
    """Every yaw with every elevation and light; a light may be turned: ``forest@90``."""
    views = []
    for light in lights:
        name, _, turn = light.partition("@")
        views += [View(y, e, name, float(turn or 0)) for e in elevations for y in yaws]
    return views


def some_of(views: list[View], count: int, scan: str) -> tuple[View, ...]:
    """``count`` views for one scan, lights in turn and as many different ones as there are; all for 0."""
    if not 0 < count < len(views):
        return tuple(views)
    dice = random.Random(scan)
    by_light: dict[str, list[View]] = {}
    for view in dice.sample(views, len(views)):
        by_light.setdefault(view.hdri, []).append(view)
    columns = [rows[i % len(rows)] for i in range(count) for rows in by_light.values()]
    return tuple(dict.fromkeys(columns))[:count]


def find_scans(root: Path) -> list[Path]:
    """Folders of ``root`` that hold a head and an albedo; ValueError where there is none."""
    found = [p for p in sorted(root.iterdir()) if p.is_dir() and (p / "diffuse.png").is_file()]
    found = [path for path in found if head_file(path)]
    if not found:
        raise ValueError(
            f"expected <ID>/diffuse.png with head.glb or an .obj in {root}; got none; "
            "make some with python -m train.lightstage.scans"
        )
    return found


def head_file(scan: Path) -> Path | None:
    """head.glb, else the first .obj of a scan."""
    glb = scan / "head.glb"
    return glb if glb.is_file() else next(iter(sorted(scan.glob("*.obj"))), None)


def scan_maps(scan: Path) -> dict[str, scene.MapSource]:
    """Pass key -> file, of the passes that are there."""
    return {r.key: scan / r.dataset_file for r in PASSES if (scan / r.dataset_file).is_file()}


def shoot(task: Shoot) -> list[str]:
    """Render what is missing of a scan's views; returns the photos' paths."""
    how = {"size": task.size, "samples": task.samples, "seed": task.seed}
    how["skin"] = file_hash(task.scan / "diffuse.png")
    photos = [task.scan / f"photo_{view.name}.png" for view in task.views]
    keys = [how | asdict(view) for view in task.views]
    missing = [i for i, path in enumerate(photos) if not is_fresh(path, keys[i])]
    if missing:
        found = head_file(task.scan)
        assert found is not None
        scene.reset()
        head = scene.load_head(found)
        scene.wear(head, scan_maps(task.scan))
        denoised = scene.setup_cycles(task.size, task.samples, seed=task.seed, gpu=task.gpu)
        for i in missing:
            note = _photograph(head, task.views[i], task.size, photos[i])
            note |= {"samples": task.samples, "denoised": denoised, "seed": task.seed}
            text = json.dumps(note, indent=1) + "\n"
            photos[i].with_suffix(".json").write_text(text, encoding="utf-8")
            mark(photos[i], keys[i])
    return [str(path) for path in photos]


def _photograph(head: scene.Head, view: View, size: int, path: Path) -> dict[str, Any]:
    camera = scene.portrait_camera(head, view.yaw_deg, elevation_deg=view.elevation_deg)
    strength = scene.set_world(scene.hdri_path(view.hdri), view.turn_deg)
    scene.render(path)
    return asdict(view) | {"strength": strength, "camera": scene.camera_entry(camera, size)}


def rerender(photo: Path, result: Path, out: Path, samples: int, seed: int = 0) -> dict[str, str]:
    """The decomposed head by the fitted camera in the photo's own light: files for bench/compare.py.

    photo: ``photo_<view>.png`` with its .json; result: its result folder; out: folder for the renders.
    """
    note = json.loads(photo.with_suffix(".json").read_text(encoding="utf-8"))
    report = json.loads((result / "report.json").read_text(encoding="utf-8"))
    picture, mask = out / "rerender.png", out / "mask.png"
    key = {"photo": file_hash(photo), "weights": report["weights_sha256"], "samples": samples}
    if not is_fresh(picture, key):
        scene.reset()
        scene.load_result(result)
        scene.photo_camera(report["camera"])
        light = scene.hdri_path(note["hdri"])
        scene.set_world(light, note["turn_deg"], strength=note["strength"])
        size = (report["camera"]["height_px"], report["camera"]["width_px"])
        scene.setup_cycles(size, samples, seed=seed)
        scene.render(picture)
        scene.render_mask(mask)
        mark(picture, key)
    files = {"reference": photo, "other": picture, "mask": mask, "picture": out / "comparison.png"}
    return {key: str(path.resolve()) for key, path in files.items()}
