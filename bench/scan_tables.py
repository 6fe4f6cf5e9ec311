"""Figures of many photos of scans -> Tables 5 and 6 and the rest, with intervals over heads. numpy only."""

from __future__ import annotations

from typing import Any

from .record import interval
from .tabulate import tabulate


def tabulate_scans(found: dict[str, Any]) -> dict[str, Any]:
    """What scan_figures.py printed -> the tables of result.json; ``summary`` is the model's main figures.

    Photos in which no face was found are named under ``failed`` and count in no mean.
    """
    photos = found["photos"]
    samples = [(name.split("/")[0], row["group"], row["figures"]) for name, row in photos.items()]
    out = tabulate(samples)
    albedo, tables = out["tables"]["albedo"]["model"], out["tables"]
    out["spread_between_lights"] = {
        row: interval(values) for row, values in found["spread_between_lights"].items()
    }
    out["failed"] = found["failed"]
    out["summary"] = {
        "albedo_rmse": albedo["rmse"]["mean"],
        "albedo_gain_invariant_rmse": albedo["gain_invariant_rmse"]["mean"],
        "albedo_ssim": albedo["ssim"]["mean"],
        "albedo_lpips": albedo["lpips"]["mean"]
        if isinstance(albedo["lpips"], dict)
        else albedo["lpips"],
        "ita_error_deg": albedo["ita_error_deg.error"]["mean"],
        "normal_mean_deg": tables["normal"]["model"]["normal_angle_deg.mean"]["mean"],
        "object_normal_mean_deg": tables["object_normal"]["model"]["normal_angle_deg.mean"]["mean"],
        "shape_mm": tables["shape"]["model"]["distance_mm"]["mean"],
        "photos": len(photos),
        "heads": len({name.split("/")[0] for name in photos}),
        "failed": len(found["failed"]),
    }
    return out
