"""Passes against their truth: every figure of one sample, for a model and the trivial rows.

A figure belongs to a table ("albedo", "normal", "object_normal", "ambient_occlusion", ...), a row ("model",
"mean map", ...) and a sample; bench/tabulate.py makes means of many.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from core.color import decode_normal, srgb_to_linear
from core.passes import PASS_BY_KEY

from .baselines import FLAT_NORMAL, albedo_rows
from .metrics import evaluate
from .tabulate import Figures

COLOR_FIGURES = ["rmse", "gain_invariant_rmse", "ssim", "lpips"]
ALBEDO_FIGURES = [*COLOR_FIGURES, "ita_error_deg"]
DATA_FIGURES = ["mae", "rmse", "correlation"]
DATA_KEYS = ("ambient_occlusion", "specular", "translucency")
Maps = dict[str, np.ndarray]


def resized(maps: Mapping[str, np.ndarray], size: int) -> Maps:
    """Maps (H, H[, C]) as (size, size, C) float32, by area when smaller."""
    out = {}
    for key, x in maps.items():
        x = np.asarray(x, np.float32)
        mode = cv2.INTER_AREA if size < len(x) else cv2.INTER_LINEAR
        x = x if len(x) == size else cv2.resize(x, (size, size), interpolation=mode)
        out[key] = x.reshape(size, size, -1)
    return out


def as_channels(x: np.ndarray, key: str) -> np.ndarray:
    """A stored map with the channels of its pass."""
    channels = PASS_BY_KEY[key].channels
    if x.shape[2] == channels:
        return x
    return x.mean(2, keepdims=True) if channels == 1 else np.repeat(x[..., :1], 3, axis=2)


def figures_of(
    predicted: Mapping[str, np.ndarray],
    truth: Mapping[str, np.ndarray],
    mean: Mapping[str, np.ndarray],
    texture: np.ndarray,
    normals: np.ndarray,
    weight: np.ndarray,
    mask: np.ndarray,
    name: str = "model",
) -> Figures:
    """All figures of one sample in UV, maps (S, S, C) as stored; passes the truth lacks are left out."""
    out: Figures = {}
    candidates = albedo_rows(texture, normals, weight, mask, mean["albedo"])
    if "albedo" in predicted:
        candidates = {name: predicted["albedo"]} | candidates
    out["albedo"] = {
        row: evaluate(ALBEDO_FIGURES, x, truth["albedo"], mask) for row, x in candidates.items()
    }
    if "normal" in truth:
        flat = np.broadcast_to(np.float32(FLAT_NORMAL), truth["normal"].shape)
        rows = {"flat normal": flat, "mean map": mean["normal"]}
        rows = ({name: predicted["normal"]} if "normal" in predicted else {}) | rows
        true = decode_normal(np.asarray(truth["normal"], np.float64))
        out["normal"] = {
            row: evaluate(
                ["normal_angle_deg"], decode_normal(np.asarray(x, np.float64)), true, mask
            )
            for row, x in rows.items()
        }
    for key in (*DATA_KEYS, "raw_diffuse"):
        if key in truth:
            rows = ({name: predicted[key]} if key in predicted else {}) | {"mean map": mean[key]}
            wanted = COLOR_FIGURES if PASS_BY_KEY[key].is_color else DATA_FIGURES
            out[key] = {row: evaluate(wanted, x, truth[key], mask) for row, x in rows.items()}
    return out


def spread_between_lights(albedos: list[np.ndarray], mask: np.ndarray) -> float:
    """Deviation of one head's albedo between its photos over its mean, linear light, on the mask."""
    linear = srgb_to_linear(np.stack(albedos).astype(np.float64))
    relative = linear.std(axis=0) / np.maximum(linear.mean(axis=0), 0.01)
    return float(relative[mask].mean())
