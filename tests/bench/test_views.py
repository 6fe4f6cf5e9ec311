"""Photographing scans: which views, what is written, and that the camera is told rightly."""

import json
import shutil

import numpy as np
import pytest

pytest.importorskip("bpy", reason="bpy is not installed")

from bench import scene, views
from bench.scan_truth import similarity
from core.images import read_map, write_map


@pytest.fixture
def scan(result, tmp_path):
    folder = tmp_path / "scan00"
    folder.mkdir()
    shutil.copy(result / "head.glb", folder)
    write_map(folder / "diffuse.png", np.full((16, 16, 3), (0.2, 0.6, 0.2)))
    return folder


def test_the_papers_grid_is_thirty_views():
    lights = [*views.INDOOR, *views.OUTDOOR]
    every = views.grid(list(views.FULL_YAWS), list(views.FULL_ELEVATIONS), lights)
    assert len(every) == 30 * 5 and len({v.name for v in every}) == 150
    assert {abs(v.yaw_deg) for v in every} >= {0.0, 60.0}


def test_a_subset_differs_in_light_and_between_scans():
    every = views.grid([-30, 0, 30], [0], ["studio", "forest@90", "city"])
    one, other = (views.some_of(every, 3, name) for name in ("scan00", "scan01"))
    assert len(one) == 3 and {v.hdri for v in one} == {"studio", "forest", "city"}
    assert one == views.some_of(every, 3, "scan00") and one != other
    assert views.some_of(every, 0, "x") == tuple(every)
    assert next(v for v in every if v.hdri == "forest").turn_deg == 90


def test_a_scan_is_photographed_once_and_its_camera_told(scan):
    task = views.Shoot(scan, (views.View(30.0, 10.0, "studio"),), size=48, samples=2)
    (photo,) = views.shoot(task)
    note = json.loads((scan / "photo_studio_y+30_e+10.json").read_text())
    picture = read_map(photo)
    middle = picture[20:28, 20:28]
    assert picture.shape == (48, 48, 3) and middle[..., 1].mean() > 1.2 * middle[..., 0].mean()
    made = (scan / "photo_studio_y+30_e+10.png").stat().st_mtime_ns
    assert views.shoot(task) == [photo]
    assert (scan / "photo_studio_y+30_e+10.png").stat().st_mtime_ns == made

    scene.reset()
    head = scene.load_head(scan / "head.glb")
    told = scene.camera_entry(scene.portrait_camera(head, 30.0, elevation_deg=10.0), 48)
    again = scene.camera_entry(scene.photo_camera(note["camera"]), 48)
    for key, value in note["camera"].items():
        np.testing.assert_allclose(told[key], value, atol=1e-6)
        np.testing.assert_allclose(again[key], value, atol=1e-5)
    rotation = np.array(note["camera"]["rotation_head_to_camera"])
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-6)
    assert np.linalg.det(rotation) == pytest.approx(1)
    eye = -rotation.T @ np.array(note["camera"]["translation_m"])
    assert eye[0] > 0.3 and eye[2] > 0.5  # to the head's left, before the face


def test_a_head_of_another_unit_comes_in_metres(tmp_path):
    """+Y up and +Z out of the face, in centimetres: Blender's -Y, metres."""
    lines = ["v -8 -12 9", "v 8 -12 9", "v 8 12 9", "v -8 12 9", "v 0 0 -9"]
    lines += ["vt 0 0", "vt 1 0", "vt 1 1", "vt 0 1", "f 1/1 2/2 3/3 4/4", "f 1/1 5/2 2/3"]
    (tmp_path / "head.obj").write_text("\n".join(lines) + "\n")
    scene.reset()
    head = scene.load_head(tmp_path / "head.obj")
    points = np.array([head.object.matrix_world @ v.co for v in head.object.data.vertices])
    assert np.ptp(points[:, 2]) == pytest.approx(0.24) and points[:, 1].min() == pytest.approx(
        -0.09
    )
    (tmp_path / "huge.obj").write_text("\n".join(lines).replace("12", "1200000") + "\n")
    with pytest.raises(ValueError, match="m, dm, cm or mm"):
        scene.load_head(tmp_path / "huge.obj")


def test_a_folder_without_scans_says_how_to_make_some(tmp_path):
    with pytest.raises(ValueError, match="lightstage.scans"):
        views.find_scans(tmp_path)


def test_a_similarity_is_found_again():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(50, 3))
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    turn *= np.sign(np.linalg.det(turn))
    moved = 0.1 * points @ turn.T + (1, 2, 3)
    scale, rotation, shift = similarity(points, moved)
    assert scale == pytest.approx(0.1)
    np.testing.assert_allclose(rotation, turn, atol=1e-9)
    np.testing.assert_allclose(shift, (1, 2, 3), atol=1e-9)
