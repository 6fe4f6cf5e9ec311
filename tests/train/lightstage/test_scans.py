"""Synthetic scan heads: all skin tones, people of their own, files the bench reads."""

import json

import numpy as np
import pytest

from core.head_model import HeadModel
from core.images import read_map
from core.passes import PASSES
from train.lightstage import scans
from train.lightstage.bank import build_bank
from train.lightstage.generate import LightStage


@pytest.fixture(scope="module")
def model():
    return HeadModel.load()


def test_skin_tones_go_from_end_to_end_without_a_gap():
    steps = [scans.scan_config(i, 10).ita_range_deg for i in range(10)]
    assert steps[0][0] == -72.0 and steps[-1][1] == pytest.approx(68.0)
    assert all(a[1] == pytest.approx(b[0]) for a, b in zip(steps, steps[1:], strict=False))
    assert sum(high <= -30 + 1e-9 for _, high in steps) >= 3  # dark skins
    assert scans.scan_config(0, 10).portrait_bands == 0


def test_a_shape_is_repeatable_and_nobody_elses(model):
    (one, smile), (again, _), (other, _) = (scans.scan_shape(model, i) for i in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 0.5 and np.abs(one).max() <= scans.IDENTITY_LIMIT
    assert 0 < smile.max() <= scans.EXPRESSION_LIMIT and scans.scan_shape(model, 0)[1].max() == 0


def test_a_scan_is_written_whole_in_the_data_sets_layout(model, shared_data, tmp_path):
    shapes = [scans.scan_shape(model, i) for i in range(3)]
    positions = [model.position_map(*shape, 256) for shape in shapes]
    bank = build_bank(
        shared_data, tmp_path / "bank", positions, model.skin_mask(256), model.landmarks68_uv,
        portraits=("005", "041", "056"),
    )  # fmt: skip
    stage = LightStage(bank, 128, split="test")
    light, dark = (scans.make_scan(stage, index, 3) for index in (2, 0))
    assert light.skin.ita_deg > 20 > -10 > dark.skin.ita_deg
    folder = tmp_path / "set" / "scan00"
    scans.write_scan(folder, dark, model, shapes[0], {"seed": 1})
    assert [p.name for p in folder.parent.iterdir()] == ["scan00"]
    for row in PASSES:
        assert read_map(folder / row.dataset_file).shape == (128, 128, row.channels)
    assert json.loads((folder / "meta.json").read_text()) == {"seed": 1}
    vertices = [x for x in (folder / "head.obj").read_text().splitlines() if x.startswith("v ")]
    assert len(vertices) == model.embedded_mesh().num_vertices and (folder / "head.glb").is_file()
