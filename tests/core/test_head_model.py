"""The statistical head: layout, modes, position maps, meshes dressed in it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.errors import HeadError
from core.head_model import HeadModel, load_head_obj, read_head_obj


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return HeadModel.load()


def zeros(head: HeadModel) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(head.num_identity, np.float32), np.zeros(head.num_expression, np.float32)


def test_mean_head_has_human_size_and_is_symmetric(head: HeadModel) -> None:
    outer_eyes = head.basis(head.landmarks68_uv[[36, 45]]).mean
    assert 0.080 < np.linalg.norm(outer_eyes[1] - outer_eyes[0]) < 0.105
    assert outer_eyes[0, 0] < 0 < outer_eyes[1, 0], "the subject's right is -x"
    np.testing.assert_allclose(outer_eyes[0] * [-1, 1, 1], outer_eyes[1], atol=5e-4)
    nose, chin = head.basis(head.landmarks68_uv[[30, 8]]).mean
    assert nose[2] > chin[2] and nose[1] > chin[1], "+Z out of the face, +Y up"


def test_embedded_mesh_is_closed_but_for_the_neck(head: HeadModel) -> None:
    mesh = head.embedded_mesh()
    assert mesh.num_vertices <= 25_000
    assert len(np.unique(mesh.faces)) == mesh.num_vertices
    directed = mesh.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    assert len(np.unique(directed, axis=0)) == len(directed), "every edge once in each direction"
    unique, count = np.unique(np.sort(directed, axis=1), axis=0, return_counts=True)
    assert count.max() == 2, "manifold, in the mouth too"
    rim, degree = np.unique(unique[count == 1], return_counts=True)
    assert len(rim) > 50 and (degree == 2).all(), "one open rim"
    assert (head.mean[rim, 1] < -0.13).all(), "at the neck and nowhere else"


def test_no_uv_triangle_is_flipped(head: HeadModel) -> None:
    mesh = head.embedded_mesh()
    a, b, c = (mesh.uv[mesh.uv_faces[:, k]].astype(np.float64) for k in range(3))
    assert (np.cross(b - a, c - a) > 0).all()


def test_faces_point_outwards(head: HeadModel) -> None:
    mesh = head.embedded_mesh()
    a, b, c = (head.mean[mesh.faces[:, k]] for k in range(3))
    assert (np.cross(b - a, c - a) * a).sum() > 0, "signed volume about the inside is positive"


def test_modes_are_whitened_and_ordered(head: HeadModel) -> None:
    energy = np.linalg.norm(head.identity.reshape(head.num_identity, -1), axis=1)
    assert (energy[:10] > energy[-10:].max()).all()
    rng = np.random.default_rng(0)
    face = head.mean[:, 2] > 0.05
    moves = [
        np.linalg.norm(
            np.tensordot(rng.normal(size=head.num_identity), head.identity, 1)[face], axis=1
        ).mean()
        for _ in range(20)
    ]
    assert 0.002 < np.mean(moves) < 0.012, "a unit-variance person departs by some millimetres"


def test_jaw_opens_and_eye_closes(head: HeadModel) -> None:
    identity, expression = zeros(head)
    lips = head.basis(head.landmarks68_uv[[62, 66]])
    expression[head.expression_names.index("jawOpen")] = 1.0
    opened = lips.points(identity, expression)
    closed = lips.mean
    assert opened[0, 1] - opened[1, 1] > (closed[0, 1] - closed[1, 1]) + 0.015
    expression[:] = 0
    expression[head.expression_names.index("eyeBlinkLeft")] = 1.0
    lids = head.basis(head.landmarks68_uv[[43, 47, 38, 40]]).points(identity, expression)
    assert abs(lids[0, 1] - lids[1, 1]) < 0.5 * abs(lids[2, 1] - lids[3, 1]), (
        "the left (+x) eye closes alone"
    )


def test_position_map_agrees_with_basis(head: HeadModel) -> None:
    rng = np.random.default_rng(1)
    identity = rng.normal(size=head.num_identity).astype(np.float32)
    expression = np.zeros(head.num_expression, np.float32)
    size = 256
    position = head.position_map(identity, expression, size)
    inside = np.argwhere(head.raster(size).mask)[::500]
    uv = np.stack([(inside[:, 1] + 0.5) / size, 1 - (inside[:, 0] + 0.5) / size], 1)
    points = head.basis(uv).points(identity, expression)
    np.testing.assert_allclose(position[inside[:, 0], inside[:, 1]], points, atol=2e-5)
    assert np.isfinite(position).all() and np.abs(position).max() < 0.5


def test_torch_position_map_matches_numpy(head: HeadModel) -> None:
    rng = np.random.default_rng(2)
    identity = rng.normal(size=head.num_identity).astype(np.float32)
    expression = rng.uniform(0, 0.5, head.num_expression).astype(np.float32)
    expected = head.position_map(identity, expression, 128)
    got = head.position_map_torch(
        torch.from_numpy(identity)[None], torch.from_numpy(expression)[None], 128
    )
    inside = head.raster(128).mask
    np.testing.assert_allclose(got[0].permute(1, 2, 0).numpy()[inside], expected[inside], atol=1e-5)


def test_dense_landmarks_lie_on_the_face(head: HeadModel) -> None:
    known = head.landmarks468_uv[np.isfinite(head.landmarks468_uv).all(1)]
    assert len(known) > 400
    assert (known > 0.1).all() and (known < 0.9).all()


def test_hifi3d_obj_keeps_its_order(shared_data, head: HeadModel) -> None:
    mesh, own = read_head_obj(shared_data / "hifi3d" / "head.obj")
    assert (mesh.num_vertices, len(mesh.uv), len(mesh.faces)) == (20481, 20792, 40832)
    dressed = head.vertices(mesh, *zeros(head))
    # the mean is another person, in metres: after scale the two must still be the same head, vertex by vertex
    scaled = own * 0.1
    shift = (dressed - scaled).mean(0)
    assert np.linalg.norm(dressed - scaled - shift, axis=1).mean() < 0.012


def test_wrong_obj_is_refused_in_one_line(tmp_path, head: HeadModel) -> None:
    path = tmp_path / "cube.obj"
    path.write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 0 1\nf 1/1 2/2 3/3\n")
    with pytest.raises(HeadError, match="expected HiFi3D topology.*got 3, 3, 1"):
        load_head_obj(path)


def test_damaged_head_file_is_refused(tmp_path) -> None:
    path = tmp_path / "head.safetensors"
    path.write_bytes(b"not a tensor file")
    with pytest.raises(HeadError, match="expected a head model"):
        HeadModel.load(path)


def test_the_file_says_how_well_it_was_registered(head: HeadModel) -> None:
    parts = dict(part.split(": ", 1) for part in head.metadata["registration_mm"].split("; "))
    assert set(parts) == {"face", "ears"}
    for text in parts.values():
        median, most, largest = (float(entry.split()[-1]) for entry in text.split(", "))
        assert 0 < median < 0.1 and median < most < 1.0 and most < largest < 5.0
