"""The contact sheet shows every part of a result, and says which parts it does not have."""

from types import SimpleNamespace

import numpy as np
import pytest

from core.passes import PASS_BY_KEY, PASS_KEYS
from core.sheet import TILE_PX, contact_sheet


def fake_result(size=64, **changes):
    passes = {
        key: np.full((size, size, PASS_BY_KEY[key].channels), 0.5, np.float32) for key in PASS_KEYS
    }
    passes["albedo"] = np.broadcast_to(np.array([1.0, 0.0, 0.0], np.float32), (size, size, 3))
    values = {
        "name": "someone", "passes": passes, "confidence": np.ones((size, size), np.float32),
        "mesh": SimpleNamespace(name="facepbr", num_vertices=1234),
        "environment": np.ones((16, 32, 3), np.float32), "photo": np.full((80, 120, 3), 0.3),
        "overlay": np.full((80, 120, 3), 0.6), "rerender": None,
        "fit": SimpleNamespace(
            residual_px=2.0, residual_iod=0.02, camera=SimpleNamespace(focal_px=1500.0)
        ),
        "landmarks": SimpleNamespace(points=np.array([[40, 20], [80, 60.0]]), detector="mediapipe"),
        "report": {"warnings": ["2 faces found, the largest is used"]},
        "warnings": [],
    }  # fmt: skip
    return SimpleNamespace(**(values | changes))


def count_close(sheet, color):
    return int((np.abs(sheet - np.asarray(color, np.float32)).max(-1) < 0.02).sum())


def test_sheet_shows_the_maps_on_dark_grey():
    sheet = contact_sheet(fake_result())
    assert sheet.dtype == np.float32 and sheet.min() >= 0 and sheet.max() <= 1
    assert count_close(sheet, (1, 0, 0)) >= 0.98 * TILE_PX**2  # albedo fills its tile
    assert count_close(sheet, np.array((28, 28, 30)) / 255) > 0.05 * sheet.shape[0] * sheet.shape[1]


def test_landscape_photo_keeps_its_aspect():
    sheet = contact_sheet(
        fake_result(photo=np.broadcast_to([0.0, 1.0, 0.0], (60, 120, 3)), landmarks=None)
    )
    assert count_close(sheet, (0, 1, 0)) == pytest.approx(TILE_PX * TILE_PX / 2, rel=0.02)


def test_a_uv_texture_has_no_fit_and_still_has_a_sheet():
    full = contact_sheet(fake_result())
    bare = contact_sheet(
        fake_result(
            photo=None,
            overlay=None,
            fit=None,
            landmarks=None,
            mesh=None,
            environment=None,
            report={},
        )
    )
    assert bare.shape == full.shape and not np.array_equal(bare, full)


def test_warnings_are_shown():
    quiet = contact_sheet(fake_result(report={"warnings": []}))
    loud = contact_sheet(fake_result(report={"warnings": ["glasses " * 60]}))
    orange = np.array((235, 180, 90)) / 255
    assert count_close(quiet, orange) == 0 < count_close(loud, orange)
