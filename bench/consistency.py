"""Self-consistency (the paper's 4.5 and harder): one photo -> two stacks of six passes -> two renders -> figures.

Runs in Blender's own Python: the networks, the changed photos and the figures come from processes of
bench/runtime.py. Everything made is kept under ``out/work`` and made again only when its key changes.
"""

from __future__ import annotations

import atexit
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from core.passes import PASSES

from . import scene
from .cache import file_hash, is_fresh, mark, weights_hash
from .record import interval
from .runtime import Worker, run_script

PROTOCOL = "jitter"
"""The variant that is the paper's protocol; the others are ours."""
VARIANTS = (PROTOCOL, "crop", "half", "jpeg60", "mirror")
FIGURES = ("rmse", "ssim", "lpips")


@dataclass(frozen=True)
class Task:
    """One photo and how it is tested; paths, so that another process can take it."""

    photo: Path
    out: Path
    variants: tuple[str, ...] = VARIANTS
    size: int = 512
    """Pixels a side of the renders."""
    samples: int = 64
    map_size: int = 1024
    """Texels a side of the maps."""
    hdri: str = "studio"
    weights: Path | None = None
    own_heads: bool = False
    """Each stack on its own fitted head instead of both on the photo's: the fit is tested too."""
    seed: int = 0
    gpu: bool = False

    @property
    def work(self) -> Path:
        """Where this photo's files are kept."""
        return self.out / "work" / f"{self.photo.stem}-{file_hash(self.photo)[:6]}"


@lru_cache(maxsize=1)
def _worker() -> Worker:
    worker = Worker()
    atexit.register(worker.close)
    return worker


def run_task(task: Task) -> dict[str, Any]:
    """Figures of one photo: variant -> {"rmse", "ssim", "lpips", "frame"}. Failed where the photo fails."""
    work = task.work
    reference = _decompose(task, task.photo, work / "results" / "photo")
    files = _variants(task, reference)
    stacks = {name: _decompose(task, files[name], work / "results") for name in task.variants}
    mask, base = _render(task, "photo", reference, reference)
    pairs = []
    for name, stack in stacks.items():
        _, other = _render(task, name, reference, stack)
        picture = task.out / f"{task.photo.stem}_{name}.png"
        pair = {"reference": base, "other": other, "mask": mask, "picture": picture}
        pairs.append({key: str(path.resolve()) for key, path in pair.items()})
    listed = work / "pairs.json"
    listed.write_text(json.dumps(pairs), encoding="utf-8")
    figures = json.loads(run_script("compare.py", listed.resolve()))
    return dict(zip(stacks, figures, strict=True))


def _decompose(task: Task, photo: Path, folder: Path) -> Path:
    result = folder / photo.stem
    key = {"photo": file_hash(photo), "weights": weights_hash(task.weights), "size": task.map_size}
    if not is_fresh(result, key):
        options: dict[str, Any] = {"size": task.map_size}
        if task.weights:
            options["weights"] = str(task.weights.resolve())
        _worker().decompose(photo, folder, **options)
        mark(result, key)
    return result


def _variants(task: Task, reference: Path) -> dict[str, Path]:
    listed = task.work / "variants.json"
    key = {"names": list(task.variants), "seed": task.seed}
    if not is_fresh(listed, key):
        arguments = ("--names", ",".join(task.variants), "--seed", task.seed)
        where = (task.work / "variants").resolve()
        text = run_script(
            "variants.py", task.photo.resolve(), reference.resolve(), "--out", where, *arguments
        )
        listed.write_text(text, encoding="utf-8")
        mark(listed, key)
    return {k: Path(v) for k, v in json.loads(listed.read_text(encoding="utf-8")).items()}


def _render(task: Task, name: str, reference: Path, stack: Path) -> tuple[Path, Path]:
    """Mask and picture of a stack's passes on a head, in the light and by the camera of all stacks."""
    picture = task.work / "renders" / f"{name}{'_own' if task.own_heads else ''}.png"
    mask = task.work / "renders" / "mask.png"
    key = {
        "stack": (stack.parent / f"{stack.name}.key").read_text(encoding="utf-8"),
        "size": task.size,
        "samples": task.samples,
        "hdri": task.hdri,
        "seed": task.seed,
    }
    if not (is_fresh(picture, key) and mask.is_file()):
        picture.parent.mkdir(parents=True, exist_ok=True)
        scene.reset()
        head = scene.load_result(reference)
        scene.portrait_camera(head)
        if task.own_heads and stack != reference and name != "mirror":
            scene.remove(head)
            head = scene.load_result(stack)
        scene.wear(head, _maps(stack, mirrored=name == "mirror"))
        scene.set_world(scene.hdri_path(task.hdri))
        scene.setup_cycles(task.size, task.samples, seed=task.seed, gpu=task.gpu)
        scene.render(picture)
        if name == "photo":
            scene.render_mask(mask)
        mark(picture, key)
    return mask, picture


def _maps(stack: Path, mirrored: bool) -> dict[str, scene.MapSource]:
    """Pass files; of a mirrored photo the maps mirrored back in UV, where u -> 1 - u and a normal's x turns round."""
    files: dict[str, scene.MapSource] = {
        row.key: stack / "passes" / f"{row.key}.png" for row in PASSES
    }
    if not mirrored:
        return files
    maps: dict[str, scene.MapSource] = {}
    for key, path in files.items():
        pixels = scene.read_png(Path(str(path)))[:, ::-1].copy()
        if key == "normal":
            pixels[..., 0] = 1.0 - pixels[..., 0]
        maps[key] = pixels
    return maps


def summarize(photos: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """``summary`` (means of the paper's protocol) and ``variants``: figure -> mean and interval over photos."""
    variants: dict[str, Any] = {}
    for name in dict.fromkeys(v for rows in photos.values() for v in rows):
        rows = [row[name] for row in photos.values() if name in row]
        variants[name] = {figure: _over([row[figure] for row in rows]) for figure in FIGURES}
        frames = [row["frame"] for row in rows]
        variants[name]["frame"] = {figure: _over([f[figure] for f in frames]) for figure in FIGURES}
    protocol = variants.get(PROTOCOL, {})
    means = {figure: _mean(protocol.get(figure)) for figure in FIGURES}
    return {"summary": means, "variants": variants}


def _over(values: list[Any]) -> Any:
    """Interval over photos; a figure that was not computed stays the words that say so."""
    words = [value for value in values if isinstance(value, str)]
    return words[0] if words else interval([float(np.asarray(v)) for v in values])


def _mean(value: Any) -> Any:
    return value["mean"] if isinstance(value, dict) else value
