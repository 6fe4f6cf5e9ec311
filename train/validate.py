"""Figures of a set of weights on held-out samples, beside the trivial rows that they must beat.

Everything on the face mask, colours sRGB-encoded in [0, 1] unless said; no figure stands alone
(a constant has no spread between lights, a blur has a fine RMSE).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.color import ita_deg, ita_group, srgb_to_linear
from core.nets.blocks import to_signed
from core.networks import Networks
from core.passes import PASS_BY_KEY, stage3_slice

from .data import Batch
from .losses import best_gain, ssim_map

Predict = Callable[[Batch], "Row"]
"""(B, C, S, S) batch -> the passes a model makes of its `input`, stored values in [0, 1]."""
DATA_KEYS = ("ambient_occlusion", "specular", "translucency")
Row = dict[str, Tensor]
Figures = dict[str, dict[str, dict[str, list[Any]]]]


def through_stages(nets: dict[str, nn.Module]) -> Predict:
    """The stages that are there, at the batch's own size; Stage III alone is given the true albedo."""

    def predict(batch: Batch) -> Row:
        photo = to_signed(batch["input"])
        out: Row = {}
        with torch.no_grad():
            albedo = nets["maginet"](photo) if "maginet" in nets else to_signed(batch["albedo"])
            if "maginet" in nets:
                out["albedo"] = albedo * 0.5 + 0.5
            if "pix2pixhd" in nets:
                guide = (photo,) if nets["pix2pixhd"].config.get("guide") else ()  # type: ignore[union-attr]
                y = nets["pix2pixhd"](albedo, *guide) * 0.5 + 0.5
                for key in (*DATA_KEYS, "normal", "raw_diffuse"):
                    x = y[:, stage3_slice(key)]
                    out[key] = x if PASS_BY_KEY[key].channels == 3 else x.mean(dim=1, keepdim=True)
        return {k: v.clamp(0, 1) for k, v in out.items()}

    return predict


def through_product(networks: Networks) -> Predict:
    """All three stages and the tone anchor, exactly as a photo's texture goes through them."""

    def predict(batch: Batch) -> Row:
        samples = zip(batch["input"], batch["mask"], strict=True)
        made = [
            networks.predict(x.permute(1, 2, 0).numpy(), mask[0].numpy() > 0.9)
            for x, mask in samples
        ]
        return {
            k: torch.stack([torch.from_numpy(m[k]).permute(2, 0, 1) for m in made]) for k in made[0]
        }

    return predict


def log_high_pass(photo: Tensor, mask: Tensor) -> Tensor:
    """exp(log x - blurred log x + mean log x), sigma 1/20 of the map, blur within the mask."""
    sigma = photo.shape[-1] / 20
    radius = int(3 * sigma)
    steps = torch.arange(-radius, radius + 1, dtype=photo.dtype)
    kernel = torch.exp(-0.5 * (steps / sigma).square())
    kernel = kernel / kernel.sum()

    def blur(x: Tensor) -> Tensor:
        k = kernel.repeat(x.shape[1], 1)
        x = F.conv2d(x, k[:, None, :, None], padding=(radius, 0), groups=x.shape[1])
        return F.conv2d(x, k[:, None, None, :], padding=(0, radius), groups=x.shape[1])

    log = (photo + 0.02).log()
    low = blur(log * mask) / blur(mask).clamp_min(1e-4)
    mean = (log * mask).sum((2, 3), keepdim=True) / mask.sum((2, 3), keepdim=True).clamp_min(1)
    return ((log - low + mean).exp() - 0.02).clamp(0, 1)


def albedo_rows(batch: Batch, model: Row, means: Row) -> dict[str, Tensor]:
    """Every candidate for the albedo."""
    constant = means["albedo_constant"].expand_as(batch["albedo"])
    rows = {
        "input as albedo": batch["input"],
        "constant": constant,
        "mean map": means["albedo"].expand_as(batch["albedo"]),
        "log high-pass sigma 1/20": log_high_pass(batch["input"], batch["mask"]),
    }
    return ({"model": model["albedo"]} if "albedo" in model else {}) | rows


def mean_colour(x: Tensor, mask: Tensor) -> Tensor:
    """(B, 3) mean over the mask."""
    return (x * mask).sum((2, 3)) / mask.sum((2, 3)).clamp_min(1)


def albedo_figures(prediction: Tensor, truth: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """Per sample (B,): gain-invariant and absolute RMSE, SSIM, ITA error in degrees."""

    def rmse(x: Tensor) -> Tensor:
        area = 3 * mask.sum((1, 2, 3)).clamp_min(1)
        return ((x - truth).square() * mask).sum((1, 2, 3)).div(area).sqrt()

    inner = -F.max_pool2d(-mask, 11, stride=1)  # windows that lie wholly on the face
    ssim = (ssim_map(prediction, truth).mean(1, keepdim=True) * inner).sum((1, 2, 3))
    angle = ita_deg(mean_colour(prediction, mask), 1) - ita_deg(mean_colour(truth, mask), 1)
    return {
        "gain_invariant_rmse": rmse(prediction * best_gain(prediction, truth, mask)),
        "rmse": rmse(prediction),
        "ssim": ssim / inner.sum((1, 2, 3)).clamp_min(1),
        "ita_error_deg": angle,
    }


def normal_error_deg(prediction: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """Per sample (B,): mean angle between stored tangent-space normals."""
    p, t = prediction * 2 - 1, truth * 2 - 1
    cross = torch.linalg.cross(p, t, dim=1).norm(dim=1, keepdim=True)
    angle = torch.rad2deg(torch.atan2(cross, (p * t).sum(1, keepdim=True)))
    return (angle * mask).sum((1, 2, 3)) / mask.sum((1, 2, 3)).clamp_min(1)


def map_figures(prediction: Tensor, truth: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """Per sample (B,): MAE and the correlation over the face."""
    area = mask.sum((1, 2, 3)).clamp_min(1)

    def centred(x: Tensor) -> Tensor:
        return (x - (x * mask).sum((1, 2, 3)).div(area).view(-1, 1, 1, 1)) * mask

    p, t = centred(prediction), centred(truth)
    norm = (p.square().sum((1, 2, 3)) * t.square().sum((1, 2, 3))).sqrt().clamp_min(1e-9)
    mae = ((prediction - truth).abs() * mask).sum((1, 2, 3)) / area
    return {"mae": mae, "correlation": (p * t).sum((1, 2, 3)) / norm}


def spread_between_lights(albedos: list[Tensor], mask: Tensor) -> float:
    """Deviation of one face's albedo over its lights, relative: std / mean of linear values."""
    linear = torch.stack([srgb_to_linear(x) for x in albedos])
    relative = linear.std(dim=0, unbiased=False) / linear.mean(dim=0).clamp_min(0.01)
    return float((relative * mask).sum() / (mask.sum() * 3).clamp_min(1))


def mean_maps(batches: Iterable[Batch]) -> Row:
    """Per-texel means over training samples (the "mean map" rows), and the mean face colour."""
    total: Row = defaultdict(lambda: torch.zeros(()))
    colour, count = torch.zeros(3), 0
    for batch in batches:
        count += len(batch["albedo"])
        for key in ("albedo", "normal", "raw_diffuse", *DATA_KEYS):
            total[key] = total[key] + batch[key].sum(0, keepdim=True)
        colour = colour + mean_colour(batch["albedo"], batch["mask"]).sum(0)
    means = {k: v / count for k, v in total.items()}
    means["albedo_constant"] = (colour / count).view(1, 3, 1, 1)
    return means


def validate(
    faces: Iterable[list[Batch]],
    means: Row,
    predict: Predict,
    progress: Callable[[str], None] = print,
) -> dict[str, Any]:
    """All figures as nested dicts: table -> row -> figure. A face is its batches, one per light."""
    figures: Figures = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    count = 0
    for lights in faces:
        candidates = []
        for batch in lights:
            model = predict(batch)
            rows = albedo_rows(batch, model, means)
            candidates.append(rows)
            _score_albedo(figures["albedo"], rows, batch)
            _score_maps(figures, model, means, batch)
            count += len(batch["input"])
        if len(lights) > 1:
            for row in candidates[0]:
                spread = spread_between_lights([c[row] for c in candidates], lights[0]["mask"])
                figures["albedo"][row]["spread_between_lights"].append(spread)
        progress(f"validated {count} samples")
    return {"samples": count} | {t: _summary(rows) for t, rows in figures.items()}


def _score_albedo(figures: dict[str, dict[str, list[Any]]], rows: Row, batch: Batch) -> None:
    truth, mask = batch["albedo"], batch["mask"]
    groups = [ita_group(float(t)) for t in ita_deg(mean_colour(truth, mask), 1)]
    for row, x in rows.items():
        for name, values in albedo_figures(x, truth, mask).items():
            figures[row][name] += values.tolist()
        figures[row]["group"] += groups


def _score_maps(figures: Figures, model: Row, means: Row, batch: Batch) -> None:
    mask = batch["mask"]
    flat = torch.tensor([0.5, 0.5, 1.0]).view(1, 3, 1, 1).expand_as(batch["normal"])
    normals = {"flat normal": flat, "mean map": means["normal"].expand_as(flat)}
    if "normal" in model:
        normals = {"model": model["normal"]} | normals
    for row, x in normals.items():
        error = normal_error_deg(x, batch["normal"], mask)
        figures["normal"][row]["mean_error_deg"] += error.tolist()
    for key in DATA_KEYS:
        rows = {"mean map": means[key].expand_as(batch[key])}
        if key in model:
            rows = {"model": model[key]} | rows
        for row, x in rows.items():
            for name, values in map_figures(x, batch[key], mask).items():
                figures[key][row][name] += values.tolist()
            beyond = map_figures(x - means[key], batch[key] - means[key], mask)
            figures[key][row]["correlation_beyond_mean"] += beyond["correlation"].tolist()
    if "raw_diffuse" in model:
        for row, x in (("model", model["raw_diffuse"]), ("mean map", means["raw_diffuse"])):
            error = (x - batch["raw_diffuse"]).abs() * mask
            mae = error.sum((1, 2, 3)) / (3 * mask.sum((1, 2, 3))).clamp_min(1)
            figures["raw_diffuse"][row]["mae"] += mae.tolist()


def _summary(rows: dict[str, dict[str, list[Any]]]) -> dict[str, Any]:
    """Means of every figure; ITA error as mean absolute, bias, and per group."""
    result: dict[str, Any] = {}
    for row, figures in rows.items():
        groups = figures.get("group", [])
        out: dict[str, Any] = {}
        for name, values in figures.items():
            if name == "group":
                continue
            if name != "ita_error_deg":
                out[name] = sum(values) / len(values)
                continue
            out["ita_error_deg"] = sum(map(abs, values)) / len(values)
            out["ita_bias_deg"] = sum(values) / len(values)
            of_group = {
                g: [v for v, h in zip(values, groups, strict=True) if h == g] for g in groups
            }
            by_group = {g: sum(map(abs, v)) / len(v) for g, v in of_group.items()}
            out["ita_error_by_group_deg"] = by_group
            out["ita_bias_by_group_deg"] = {g: sum(v) / len(v) for g, v in of_group.items()}
            out["ita_error_group_spread_deg"] = max(by_group.values()) - min(by_group.values())
        result[row] = out
    return result


def table(result: dict[str, Any]) -> str:
    """The figures as plain text, one block per pass."""
    lines = [f"{result['samples']} held-out samples, face mask"]
    for name, rows in result.items():
        if not isinstance(rows, dict):
            continue
        keys = [k for k, v in next(iter(rows.values())).items() if isinstance(v, float)]
        lines.append(f"\n{name:26s}" + "".join(f"{k:>28s}" for k in keys))
        for row, figures in rows.items():
            cells = [f"{figures[k]:28.4f}" if k in figures else f"{'-':>28s}" for k in keys]
            lines.append(f"  {row:24s}" + "".join(cells))
    return "\n".join(lines)


def write(result: dict[str, Any], path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return path
