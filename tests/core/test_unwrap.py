"""core/unwrap.py, completion.py, skin_segment.py: a rendered known texture comes back where it is seen."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from core import completion, unwrap
from core.head_fit import Camera, HeadFit
from core.head_model import HeadModel
from core.raster import rasterize
from core.skin_segment import face_polygon, inner_face

SIZE = 256
PHOTO = 700


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return HeadModel.load()


def make_fit(head: HeadModel, yaw_deg: float) -> HeadFit:
    """The mean head with a slightly open jaw, turned by yaw, filling most of a PHOTO x PHOTO picture."""
    a = np.deg2rad(yaw_deg)
    turn = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    middle = np.array([0.0, 0.02, 0.03])
    rotation = np.diag([1.0, -1.0, -1.0]) @ turn
    eye = Camera(
        1500.0, np.full(2, PHOTO / 2), PHOTO, PHOTO, rotation, np.array([0, 0, 0.7]) - rotation @ middle
    )  # fmt: skip
    identity, expression = (
        np.zeros(head.num_identity, np.float32),
        np.zeros(head.num_expression, np.float32),
    )
    uv = head.landmarks468_uv.astype(np.float64)
    pixels = eye.project(head.basis(uv).points(identity, expression))
    return HeadFit(eye, identity, expression, 0.5, 0.005, 1.0, (), uv, pixels, np.ones(468), None)


def known_texture(size: int = 1024) -> np.ndarray:
    """(S, S, 3) skin-like waves, asymmetric, sRGB."""
    u, v = np.meshgrid(np.linspace(0, 1, size), np.linspace(1, 0, size))
    wave = 0.05 * np.sin(40 * u + 9 * v) + 0.05 * np.cos(31 * v)
    return (np.array([0.78, 0.58, 0.48]) * (1 + wave[..., None])).astype(np.float32)


def photograph(head: HeadModel, fit: HeadFit, texture: np.ndarray) -> np.ndarray:
    """Render the textured head before a blue wall."""
    mesh = head.embedded_mesh()
    vertices = head.vertices(mesh, fit.identity, fit.expression)
    eye = fit.camera
    raster = rasterize(
        eye.project(vertices), eye.to_camera(vertices)[:, 2], mesh.faces, PHOTO, PHOTO
    )
    image = np.full((PHOTO, PHOTO, 3), (0.25, 0.40, 0.70), np.float32)
    inside, size = raster.mask, len(texture)
    uv = np.zeros((PHOTO, PHOTO, 2), np.float32)
    corners = mesh.uv[mesh.uv_faces[raster.triangle[inside]]]
    uv[inside] = np.einsum("nk,nkd->nd", raster.weights[inside], corners)
    colours = cv2.remap(
        texture, uv[..., 0] * size - 0.5, (1 - uv[..., 1]) * size - 0.5, cv2.INTER_LINEAR
    )
    image[inside] = colours[inside]
    return image


@pytest.fixture(scope="module", params=[0.0, 25.0])
def scene(
    request: pytest.FixtureRequest, head: HeadModel
) -> tuple[HeadFit, np.ndarray, unwrap.UVTexture]:
    fit = make_fit(head, request.param)
    image = photograph(head, fit, known_texture())
    return fit, image, unwrap.unwrap(image, fit, head, SIZE)


def test_known_texture_returns_where_seen(scene, head: HeadModel) -> None:
    _, _, found = scene
    truth = cv2.resize(known_texture(), (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    seen = (found.visibility > 0.9) & (face_polygon(head, SIZE) > 0.5)
    assert seen.mean() > 0.04
    assert np.abs(found.texture - truth)[seen].mean() < 0.008
    assert np.quantile(np.abs(found.texture - truth)[seen], 0.99) < 0.04


def test_nothing_black_nothing_blue(scene) -> None:
    """Every texel gets skin: the wall behind the head must not leak in, and no hole may stay."""
    _, _, found = scene
    assert found.texture.shape == (SIZE, SIZE, 3) and found.texture.dtype == np.float32
    assert found.texture.min() > 0.25 and found.texture.max() <= 1.0
    assert (found.texture[..., 0] > found.texture[..., 2]).all()


def test_invented_skin_is_told_from_seen(scene) -> None:
    _, _, found = scene
    assert 0 <= found.confidence.min() and found.confidence.max() <= 1
    back = found.confidence[: SIZE // 16]
    assert back.max() < 0.05, "the top of the map is the back of the head"
    assert found.confidence[found.visibility > 0.9].mean() > 0.9


def test_hidden_side_is_mirrored(head: HeadModel) -> None:
    """Turned by 35 degrees to image right (its left cheek hidden), u > 0.5 is invented from u < 0.5."""
    fit = make_fit(head, 35.0)
    found = unwrap.unwrap(photograph(head, fit, known_texture()), fit, head, SIZE)
    near, far = found.visibility[140:160, 60:100].mean(), found.visibility[140:160, 156:196].mean()
    assert near > 0.8 > 0.5 > far


def test_residual_of_landmarks_is_warped_away(head: HeadModel) -> None:
    """A fit that lies 6 px beside its landmarks gives the same texture as an exact one."""
    fit = make_fit(head, 0.0)
    image = photograph(head, fit, known_texture())
    beside = replace(fit, camera=replace(fit.camera, center_px=fit.camera.center_px + [6.0, -4.0]))
    exact, warped = (unwrap.unwrap(image, f, head, SIZE) for f in (fit, beside))
    plain = unwrap.unwrap(image, replace(beside, anchors_weight=np.zeros(468)), head, SIZE)
    core = inner_face(head, SIZE) * (exact.visibility > 0.9) > 0.5
    error = np.abs(warped.texture - exact.texture)[core].mean()
    assert error < 0.25 * np.abs(plain.texture - exact.texture)[core].mean()


def test_depth_test_agrees_with_ray_casts(head: HeadModel) -> None:
    fit = make_fit(head, 30.0)
    mesh = head.embedded_mesh()
    vertices = head.vertices(mesh, fit.identity, fit.expression)
    buffer = unwrap.DepthBuffer.of(vertices, mesh.faces, fit.camera)
    uv = np.random.default_rng(0).uniform([0.25, 0.28], [0.75, 0.75], (60, 2))
    points = head.basis(uv).points(fit.identity, fit.expression)
    pixels, depth = fit.camera.project(points), fit.camera.to_camera(points)[:, 2]
    nearest = buffer.lookup(buffer.raster.depth, pixels[None].astype(np.float32), outside=1e9)[0]
    fast = depth <= nearest + unwrap._OCCLUSION_BIAS_M
    slow = unwrap.visibility_reference(points, vertices, mesh.faces, fit.camera.position)
    assert (fast == slow).mean() >= 0.9 and 0.2 < slow.mean() < 1.0


def test_sample_takes_means_where_texels_are_larger_than_pixels() -> None:
    checker = (np.indices((256, 256)).sum(0) % 2).astype(np.float32)[..., None].repeat(3, -1)
    xy = np.stack(np.meshgrid(np.arange(32) * 8 + 4.0, np.arange(32) * 8 + 4.0), -1).astype(
        np.float32
    )
    np.testing.assert_allclose(unwrap.sample(checker, xy), 0.5, atol=0.02)


def test_pull_push_keeps_the_known_and_fills_the_rest() -> None:
    rng = np.random.default_rng(0)
    image = rng.random((64, 48, 3)).astype(np.float32)
    known = np.zeros((64, 48), np.float32)
    known[:, :20] = 1
    filled = completion.pull_push(image, known)
    np.testing.assert_allclose(filled[:, :20], image[:, :20], atol=1e-6)
    assert filled[:, 20:].min() > 0.2 and filled[:, 20:].std() < 0.2
    np.testing.assert_allclose(completion.pull_push(image * 0 + 0.3, known), 0.3, atol=1e-5)


def test_mirror_gain_finds_the_light_of_this_side() -> None:
    """Left half lit twice as strongly: the mirrored left needs half the light on the right."""
    texture = np.full((128, 128, 3), 0.4, np.float32)
    texture[:, :64] = 0.8
    gain = completion.mirror_gain(texture, np.ones((128, 128), np.float32))
    np.testing.assert_allclose(gain[:, 100:], 0.5, rtol=0.08)
    np.testing.assert_allclose(gain[:, :28], 2.0, rtol=0.08)


def test_completion_has_no_step_at_the_border() -> None:
    """Half a face, lit from the side: along any row no neighbouring texels differ more than skin does."""
    size = 256
    u = np.linspace(0, 1, size)
    texture = np.repeat((0.55 + 0.3 * u)[None, :, None], size, 0).repeat(3, -1).astype(np.float32)
    weight = np.zeros((size, size), np.float32)
    weight[60:200, 40:150] = 1
    face = np.zeros_like(weight)
    face[60:200, 40:216] = 1
    out, confidence = completion.complete(texture, weight, face, np.zeros_like(weight))
    assert np.abs(np.diff(out, axis=1)).max() < 0.03 and np.abs(np.diff(out, axis=0)).max() < 0.03
    assert (
        confidence[130, 80] > 0.95
        and 0.2 < confidence[130, 200] < 0.6
        and confidence[10, 10] < 0.01
    )


def test_fill_has_the_grain_of_the_skin_it_continues() -> None:
    """Noisy skin goes on noisy, smooth skin smooth."""
    size = 256
    weight = np.zeros((size, size), np.float32)
    weight[60:200, 60:196] = 1
    rng = np.random.default_rng(0)

    def roughness(noise: float) -> float:
        skin = 0.6 * (1 + noise * rng.normal(size=(size, size, 1)))
        texture = np.clip(skin, 0, 1).astype(np.float32).repeat(3, -1)
        out, _ = completion.complete(texture, weight, weight, np.zeros_like(weight))
        scalp = np.log(out[:30, 40:200].mean(-1))
        return float((scalp - cv2.GaussianBlur(scalp, (0, 0), 2)).std())

    smooth, coarse = roughness(0.0), roughness(0.03)
    assert smooth < 0.002 < 0.004 < coarse < 0.03
