"""Methods over samples of a data set -> figures, in the order of the paper's tables. torch for our networks only."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.color import ita_deg, ita_group
from core.head_model import HeadModel
from core.networks import Networks
from core.rerender import tangent_frames

from .dataset import Sample, read_passes
from .evaluation import Maps, figures_of, resized
from .tabulate import Figures, tabulate

SHIPPED = "shipped model"
FULL_IDENTITIES = 200
"""Fewer test identities than this: the tables are labelled small."""
INPUT_SIZE = 1024

Method = Callable[[Sample], Maps]
"""Sample -> the passes it predicts, stored [0, 1]; any subset, albedo among them."""

NOT_COMPUTED = {
    "fid": "not computed: the Inception trunk is a public download that is not on this machine, and FID needs "
    "thousands of images",
    "table_2_missing_rows": "not computed: methods of others whose code or weights are not free to use here",
    "no_ablation": "not computed: no --ablation NAME=DIR was given; see train/run.py and train.baselines",
}
PUBLISHED = {
    "albedo": {"mse": 2.93, "ssim": 0.881, "lpips": 0.137, "fid": 33.4},
    "all_passes": {"mse": 3.60, "lpips": 0.173, "fid": 38.2},
    "ambient_occlusion": {"mse": 2.61, "lpips": 0.134, "fid": 34.5},
    "ambient_occlusion_rgb2ao": {"mse": 2.98, "lpips": 0.158, "fid": 41.2},
}
"""The paper's own figures on FFHQ-UV-Intrinsics; the scale of its MSE is not said."""


def network_method(weights: Path | None) -> Method:
    """Our three stages on the input texture as it is."""
    networks = Networks(torch.device("cuda" if torch.cuda.is_available() else "cpu"), weights)

    def predict(sample: Sample) -> Maps:
        texture = sample.input(INPUT_SIZE)
        return networks.predict(texture, sample.truth(INPUT_SIZE)[1])

    return predict


def folder_method(root: Path) -> Method:
    """Maps somebody else has written, ``root/<sample's name>/diffuse.png`` and so on."""
    return lambda sample: read_passes(root / sample.name, INPUT_SIZE)


def methods(ours: list[tuple[str, Path]], folders: list[tuple[str, Path]]) -> dict[str, Method]:
    """Row name -> method, the shipped model first."""
    rows: dict[str, Method] = {SHIPPED: network_method(None)}
    rows |= {name: network_method(path) for name, path in ours}
    return rows | {name: folder_method(path) for name, path in folders}


def score(samples: list[Sample], rows: dict[str, Method], mean: Maps, size: int) -> dict[str, Any]:
    """Every method and trivial row on every sample -> tables with intervals over identities.

    The normals that spherical-harmonic de-lighting needs are the mean head's: a data set has no meshes.
    """
    head = HeadModel.load()
    zero = np.zeros(head.num_identity), np.zeros(head.num_expression)
    normals = tangent_frames(head.position_map(*zero, size))[2]
    measured: list[tuple[str, str, Figures]] = []
    for number, sample in enumerate(samples, start=1):
        truth, mask = sample.truth(size)
        texture, figures = sample.input(size), {}
        for name, method in rows.items():
            predicted = resized(method(sample), size)
            one = figures_of(
                predicted, truth, mean, texture, normals, mask.astype(np.float64), mask, name
            )
            for table, values in one.items():
                figures[table] = figures.get(table, {}) | values
        tone = ita_group(float(ita_deg(np.median(truth["albedo"][mask], axis=0))))
        measured.append((sample.identity, sample.skin_tone() or tone, figures))
        print(f"{sample.name} scored, {number} of {len(samples)}", file=sys.stderr, flush=True)
    return tabulate(measured)


def as_paper_tables(found: dict[str, Any], ablations: list[str]) -> dict[str, Any]:
    """The same figures under the paper's table numbers, beside what it published; ablations apart."""

    def without(table: str) -> dict[str, Any]:
        return {k: v for k, v in found["tables"].get(table, {}).items() if k not in ablations}

    passes = ("normal", "specular", "translucency", "raw_diffuse")
    tables = {name: rows for name, rows in found["tables"].items()}
    return {
        "table_2_albedo": {"rows": without("albedo"), "paper_reported": PUBLISHED["albedo"]},
        "table_3_all_passes": {
            "rows": {"albedo": without("albedo"), "ambient_occlusion": without("ambient_occlusion")}
            | {key: without(key) for key in passes},
            "paper_reported": PUBLISHED["all_passes"],
        },
        "table_4_ambient_occlusion": {
            "rows": without("ambient_occlusion"),
            "paper_reported": PUBLISHED["ambient_occlusion"],
            "rgb2ao_as_the_paper_reports": PUBLISHED["ambient_occlusion_rgb2ao"],
        },
        "tables_7_to_10_ablations": {
            table: {name: rows[name] for name in (SHIPPED, *ablations) if name in rows}
            for table, rows in tables.items()
        }
        if ablations
        else NOT_COMPUTED["no_ablation"],
        "by_group": found["by_group"],
        "fid": NOT_COMPUTED["fid"],
        "missing_rows": NOT_COMPUTED["table_2_missing_rows"],
        **{k: v for k, v in found.items() if k.startswith("ita_error_spread")},
    }
