"""Figures of many photos of scans become the paper's tables, and the README's text."""

import pytest

from bench import result_text
from bench.record import provenance
from bench.scan_tables import tabulate_scans


def angles(mean):
    names = ("mean", "median", "rmse", "under_11.25", "under_22.5", "under_30")
    return {f"normal_angle_deg.{name}": mean for name in names}


def photo(rmse, group):
    albedo = {
        "rmse": rmse, "gain_invariant_rmse": rmse, "ssim": 1 - rmse, "lpips": "not computed",
        "ita_error_deg.error": 100 * rmse, "ita_error_deg.group": group,
    }  # fmt: skip
    figures = {
        "albedo": {"model": albedo, "input as albedo": albedo | {"rmse": 2 * rmse}},
        "normal": {"model": angles(3.0), "flat normal": angles(4.0)},
        "object_normal": {"model": angles(8.0)},
        "specular": {"model": {"mae": 0.1, "rmse": 0.2, "correlation": 0.5}},
        "shape": {"model": {"distance_mm": 1.5}},
    }
    return {"figures": figures, "group": group, "seconds": 1.0}


@pytest.fixture
def found():
    photos = {
        f"scan0{i}/v{k}": photo(0.1 * (i + 1), "dark" if i else "light")
        for i in range(3)
        for k in "ab"
    }
    lights = {"model": [0.1, 0.2, 0.3], "input as albedo": [0.4, 0.4, 0.4]}
    return {"photos": photos, "failed": {"scan03/a": "no face"}, "spread_between_lights": lights}


def test_means_are_over_photos_and_doubt_over_heads(found):
    out = tabulate_scans(found)
    assert out["summary"]["albedo_rmse"] == pytest.approx(0.2) and out["summary"]["heads"] == 3
    assert out["summary"]["photos"] == 6 and out["summary"]["failed"] == 1
    assert out["tables"]["albedo"]["model"]["rmse"]["n"] == 3
    assert out["summary"]["albedo_lpips"] == "not computed"
    assert out["by_group"]["dark"]["photos"] == 4
    assert out["ita_error_spread_between_groups_deg"]["model"] == pytest.approx(15)


def test_the_text_shows_every_row_and_what_is_missing(found):
    record = provenance("synthetic_scan", 0, size=8) | tabulate_scans(found) | {"rerender": {}}
    text = result_text.results_text({"synthetic_scan": record})
    for words in (
        "input as albedo",
        "flat normal",
        "not computed",
        "| dark | 4 |",
        "no face found in 1",
    ):
        assert words in text, words
    assert "0.200 (" in text
    assert "Not run yet: held_out, self_consistency, tables, speed" in text
