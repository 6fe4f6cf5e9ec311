"""Teeth: where they sit, that they follow the jaw, that closed skin hides them."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from core.head_model import HeadModel
from core.teeth import build_teeth, line_mouth, posed, teeth_texture


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return HeadModel.load()


def zeros(head: HeadModel) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(head.num_identity, np.float32), np.zeros(head.num_expression, np.float32)


def test_two_rows_meet_behind_the_lips_and_face_outwards(head: HeadModel) -> None:
    upper, lower = build_teeth(head, *zeros(head))
    lips = head.basis(head.landmarks68_uv[[51, 57]]).mean
    for part in (upper, lower):
        assert part.vertices[:, 2].max() < lips[:, 2].min(), "behind both lips"
        a, b, c = (part.vertices[part.faces[:, k]] for k in range(3))
        normal, middle = np.cross(b - a, c - a), (a + b + c) / 3
        front = (np.abs(middle[:, 0]) < 0.01) & (middle[:, 2] > part.vertices[:, 2].max() - 0.002)
        assert np.median(normal[front, 2]) > 0
        assert np.ptp(part.vertices[:, 0]) == pytest.approx(0.067, abs=0.008), (
            "an arch of human width"
        )
    edges = upper.vertices[:, 1].min(), lower.vertices[:, 1].max()
    assert edges[0] < edges[1] < edges[0] + 0.006, "the upper row bites a little over the lower"


def test_only_the_lower_row_follows_the_jaw(head: HeadModel) -> None:
    identity, expression = zeros(head)
    expression[head.expression_names.index("jawOpen")] = 1.0
    upper, lower = build_teeth(head, identity, expression)
    assert set(upper.shapes) == {"mouthRollUpper"}, "which gives the rolled lip room"
    assert set(lower.shapes) == {"jawForward", "jawLeft", "jawOpen", "jawRight"}
    drop = (posed(lower) - lower.vertices)[:, 1]
    assert (drop < -0.005).all()
    chin = head.basis(head.landmarks68_uv[8:9])
    sink = chin.points(identity, expression)[0, 1] - chin.mean[0, 1]
    assert drop.min() == pytest.approx(sink, abs=0.012), "with the chin"
    lengths = [
        np.linalg.norm(points[lower.faces[:, 0]] - points[lower.faces[:, 1]], axis=1)
        for points in (lower.vertices, posed(lower))
    ]
    assert np.median(np.abs(lengths[1] / lengths[0] - 1)) < 0.12, "almost rigidly"


def test_teeth_move_with_the_person(head: HeadModel) -> None:
    rng = np.random.default_rng(0)
    lips = head.basis(head.landmarks68_uv[[51, 57]])
    for _ in range(12):
        identity = rng.normal(size=head.num_identity).astype(np.float32)
        front = lips.points(identity, zeros(head)[1])[:, 2].min()
        for part in build_teeth(head, identity, zeros(head)[1]):
            assert 0.002 < front - part.vertices[:, 2].max() < 0.02


def in_the_mouth(head: HeadModel, uv: np.ndarray) -> np.ndarray:
    """(N,) whether UV points lie behind the line where the lips meet."""
    upper, lower = (
        head.landmarks68_uv[[60, 61, 62, 63, 64]],
        head.landmarks68_uv[[60, 67, 66, 65, 64]],
    )
    below = uv[:, 1] < np.interp(uv[:, 0], *upper.T, left=0, right=0)
    return below & (uv[:, 1] > np.interp(uv[:, 0], *lower.T, left=1, right=1))


def poking(head: HeadModel, identity: np.ndarray, expression: np.ndarray) -> int:
    """Tooth points seen from the front with skin of the lips' outside right behind them: they have come through."""
    mesh = head.embedded_mesh()
    skin = head._skin_triangles & ~in_the_mouth(head, mesh.uv[mesh.uv_faces].mean(1))
    solid = trimesh.Trimesh(head.vertices(mesh, identity, expression), mesh.faces, process=False)
    found = 0
    for part in build_teeth(head, identity, expression):
        points = posed(part).astype(np.float64)
        for yaw in np.deg2rad([-30, 0, 30]):
            towards = np.tile([np.sin(yaw), 0.0, np.cos(yaw)], (len(points), 1))
            seen = ~solid.ray.intersects_any(points + 1e-6 * towards, towards)
            if seen.any():
                place, ray, face = solid.ray.intersects_location(
                    points[seen], -towards[seen], multiple_hits=False
                )
                close = np.linalg.norm(place - points[seen][ray], axis=1) < 0.0025
                found += int(
                    (close & skin[face] & (solid.face_normals[face] @ towards[0] > 0)).sum()
                )
    return found


def test_no_tooth_comes_through_the_lips(head: HeadModel) -> None:
    pytest.importorskip("embreex", reason="needs ray casts")
    identity, expression = zeros(head)
    for index, name in enumerate(head.expression_names):
        if name.startswith(("jaw", "mouth", "cheek", "noseSneer")):
            expression[:] = 0
            expression[index] = 1.0
            assert poking(head, identity, expression) <= 12, name


def test_texture_and_lining(head: HeadModel) -> None:
    gum = np.zeros((20, 10), np.float32)
    gum[:, :4] = 1
    image = teeth_texture(gum)
    assert image.shape == (60, 120, 3)
    assert image[-1].min() > 0.6, "enamel at the edge"
    assert (image[0, :, 0] > image[0, :, 1] + 0.15).all(), "gum above"
    albedo = np.full((256, 256, 3), 0.7, np.float32)
    lined = line_mouth(albedo, head)
    changed = (lined != albedo).any(-1)
    assert changed.any() and not (changed & head.skin_mask(256)).any()
    assert (changed | ~head.mouth_mask(256)).all()
