"""What is true of a scan in UV: maps, mask, mesh; and photos unwrapped by the true camera."""

import json

import numpy as np
import pytest

from bench import unwrap_views
from bench.cache import file_hash
from bench.scan_truth import Scan, object_normals, read_obj
from core.errors import InputError
from core.export import write_obj
from core.head_model import HEAD_FILE, HeadModel
from core.images import write_map
from core.unwrap import registration_warp

SIZE = 96
CAMERA = {
    "width_px": 400,
    "height_px": 400,
    "focal_px": 900.0,
    "center_px": [200.0, 200.0],
    "rotation_head_to_camera": [[1, 0, 0], [0, -1, 0], [0, 0, -1]],
    "translation_m": [0.0, 0.02, 0.9],
}


@pytest.fixture(scope="module")
def head():
    return HeadModel.load()


@pytest.fixture
def scan(tmp_path, head):
    rng = np.random.default_rng(0)
    meta = {
        "identity": rng.normal(0, 1, head.num_identity).round(3).tolist(),
        "expression": [0.0] * head.num_expression,
        "head": file_hash(HEAD_FILE),
    }
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    shape = [np.array(meta[key], np.float32) for key in ("identity", "expression")]
    write_obj(
        tmp_path / "head.obj", head.embedded_mesh(), head.vertices(head.embedded_mesh(), *shape)
    )
    write_map(tmp_path / "diffuse.png", np.full((32, 32, 3), 0.6))
    write_map(tmp_path / "normal.png", np.full((32, 32, 3), (0.5, 0.5, 1.0)), 16)
    return tmp_path, meta


def test_the_true_shape_has_no_error_wherever_it_stands(scan, head):
    folder, meta = scan
    truth = Scan.read(folder, head, SIZE)
    assert truth.maps["albedo"].shape == (SIZE, SIZE, 3) and 0.1 < truth.mask.mean() < 0.9
    flat = np.zeros((SIZE, SIZE, 3), np.float32) + np.float32((0.5, 0.5, 1.0))
    turn = np.array([[0.98, -0.199, 0], [0.199, 0.98, 0], [0, 0, 1.0]])
    moved = Scan(truth.maps, truth.mask, (10 * truth.position @ turn.T + 5).astype(np.float32))
    shape = [np.array(meta[key], np.float32) for key in ("identity", "expression")]
    fitted = head.position_map(*shape, SIZE)  # what the pipeline would find, from the coefficients
    rows, shape = object_normals(moved, flat, fitted, head)
    assert shape["distance_mm"] < 0.05
    assert rows["model"]["normal_angle_deg.mean"] < 0.5
    assert rows["mean head, flat normal"]["normal_angle_deg.mean"] > 2
    bent = flat.copy()
    bent[..., 0] = 0.6
    worse, _ = object_normals(moved, bent, fitted, head)
    assert 9 < worse["model"]["normal_angle_deg.mean"] < 14


def test_a_mesh_of_quads_is_read_as_triangles(tmp_path):
    path = tmp_path / "any.obj"
    path.write_text(
        "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 2\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nf 1/1 2/2 3/3 4/4\n"
    )
    vertices, uv, faces, uv_faces = read_obj(path)
    assert vertices.shape == (4, 3) and uv.shape == (4, 2) and vertices[3, 2] == 2
    assert faces.tolist() == [[0, 1, 2], [0, 2, 3]] == uv_faces.tolist()
    path.write_text("v 0 0 0\nv 1 0 0\nv 1 1 0\nf 1 2 3\n")
    with pytest.raises(InputError, match="UVs"):
        read_obj(path)


def test_a_scan_needs_an_albedo_and_a_mesh(tmp_path, head):
    with pytest.raises(InputError, match=r"diffuse\.png"):
        Scan.read(tmp_path, head, SIZE)
    write_map(tmp_path / "diffuse.png", np.full((8, 8, 3), 0.5))
    with pytest.raises(InputError, match="mesh as .obj"):
        Scan.read(tmp_path, head, SIZE)


def test_the_true_fit_moves_nothing(scan, head):
    camera = unwrap_views.camera_of(CAMERA)
    fit = unwrap_views.true_fit(head, scan[1], camera)
    assert np.abs(registration_warp(fit, head, 64)).max() < 0.05  # pixels
    assert ((fit.anchors_px > 0) & (fit.anchors_px < 400)).all()
