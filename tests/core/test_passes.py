"""The pass table: six rows, and the 15 channels of the third network."""

import re

import pytest

from core import passes


def test_six_passes_in_the_published_order() -> None:
    assert passes.PASS_KEYS == (
        "albedo",
        "ambient_occlusion",
        "normal",
        "specular",
        "translucency",
        "raw_diffuse",
    )
    files = [row.dataset_file for row in passes.PASSES]
    assert files == [
        "diffuse.png",
        "ambient_occlusion.png",
        "normal.png",
        "specular.png",
        "translucency.png",
        "light_normalized.png",
    ]
    assert {row.key for row in passes.PASSES if row.is_color} == {"albedo", "raw_diffuse"}


def test_rows_are_consistent() -> None:
    for row in passes.PASSES:
        assert re.fullmatch(r"[a-z_]+", row.key)
        assert len(row.neutral) == row.channels
        assert all(0 <= value <= 1 for value in row.neutral)
        assert not row.is_color or row.channels == 3


def test_stage3_slices_tile_the_15_channels() -> None:
    slices = [passes.stage3_slice(row.key) for row in passes.STAGE3_PASSES]
    assert [(s.start, s.stop) for s in slices] == [(0, 3), (3, 6), (6, 9), (9, 12), (12, 15)]
    assert passes.STAGE3_CHANNELS == 15
    with pytest.raises(KeyError, match="albedo"):
        passes.stage3_slice("albedo")
