"""Photos of scans through the pipeline against their truth: figures of one photo, error maps, spread between lights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from core.color import decode_normal, ita_deg, ita_group
from core.images import write_map
from core.pipeline import Pipeline
from core.result import write_result
from core.unwrap import unwrap

from . import evaluation
from .scan_truth import Scan, object_normals

ALBEDO_WHITE, NORMAL_WHITE_DEG = 0.2, 20.0


def measure(photo: Path, pipeline: Pipeline, mean: evaluation.Maps, work: Path, size: int) -> dict:
    """Figures of one photo, as plain values; also writes its result folder and compared maps."""
    scan = Scan.read(photo.parent, pipeline.head, size)
    result = pipeline.decompose(photo)
    assert result.fit is not None and result.photo is not None
    write_result(result, work / "result")
    seen = unwrap(result.photo, result.fit, pipeline.head, size)
    predicted = evaluation.resized(result.passes, size)
    weight = seen.visibility * (seen.confidence > 0.5) * scan.mask
    figures = evaluation.figures_of(
        predicted, scan.maps, evaluation.resized(mean, size), seen.texture, seen.normals, weight, scan.mask
    )  # fmt: skip
    shape, extra = object_normals(scan, predicted["normal"], seen.position, pipeline.head)
    figures["object_normal"], figures["shape"] = shape, {"model": extra}
    tone = float(ita_deg(np.median(scan.maps["albedo"][scan.mask], axis=0)))
    np.savez_compressed(
        work / "maps.npz",
        albedo=predicted["albedo"].astype(np.float16),
        texture=seen.texture.astype(np.float16),
        normal=predicted["normal"].astype(np.float16),
    )
    return {
        "figures": figures,
        "group": ita_group(tone),
        "seconds": result.report["seconds"]["total"],
    }


def write_error_map(
    path: Path, photos: list[Path], works: list[Path], head: Any, size: int
) -> None:
    """Mean errors in UV side by side, (S, 2 S, 3): albedo and normal, in a perceptual colour map."""
    albedo, normal = np.zeros((size, size)), np.zeros((size, size))
    count = np.zeros((size, size))
    for photo, work in zip(photos, works, strict=True):
        scan, maps = Scan.read(photo.parent, head, size), np.load(work / "maps.npz")
        difference = maps["albedo"].astype(np.float64) - scan.maps["albedo"]
        albedo += np.sqrt((difference**2).mean(2)) * scan.mask
        if "normal" in scan.maps:
            a = decode_normal(maps["normal"].astype(np.float64))
            b = decode_normal(scan.maps["normal"].astype(np.float64))
            angle = np.arctan2(np.linalg.norm(np.cross(a, b), axis=2), (a * b).sum(2))
            normal += np.degrees(angle) * scan.mask
        count += scan.mask
    panels = []
    for total, white in ((albedo, ALBEDO_WHITE), (normal, NORMAL_WHITE_DEG)):
        level = np.clip(total / np.maximum(count, 1) / white, 0, 1)
        colour = cv2.applyColorMap((level * 255).round().astype(np.uint8), cv2.COLORMAP_INFERNO)
        panels.append(colour[..., ::-1] / np.float32(255) * (count > 0)[..., None])
    write_map(path, np.concatenate(panels, axis=1).astype(np.float32))


def spreads(photos: list[Path], works: list[Path], head: Any, size: int) -> dict[str, list[float]]:
    """Spread between the photos of each head that has several: of the model's albedo and of the input."""
    out: dict[str, list[float]] = {"model": [], "input as albedo": []}
    for folder in dict.fromkeys(p.parent for p in photos):
        maps = [
            np.load(w / "maps.npz")
            for p, w in zip(photos, works, strict=True)
            if p.parent == folder
        ]
        if len(maps) > 1:
            mask = Scan.read(folder, head, size).mask
            for row, key in (("model", "albedo"), ("input as albedo", "texture")):
                out[row].append(evaluation.spread_between_lights([m[key] for m in maps], mask))
    return {row: values for row, values in out.items() if values}
