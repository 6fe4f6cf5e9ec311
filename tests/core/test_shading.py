"""Lighting: closed forms, Monte Carlo, and a light that is put in and found again."""

import math

import numpy as np
import pytest
import torch

from core import shading
from core.color import linear_to_srgb
from core.errors import FitError


def unit(values):
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def random_directions(count, seed=0):
    return unit(np.random.default_rng(seed).normal(size=(count, 3)))


def soft_sun(height=32, direction=(0.5, 0.6, 0.6), tint=(1.2, 1.0, 0.8)):
    """An equirect environment: dim sky plus one broad warm lobe towards ``direction``."""
    cosine = np.clip(shading.equirect_directions(height) @ unit(np.asarray(direction)), 0.0, 1.0)
    return 0.2 + 2.5 * cosine[..., None] ** 6 * np.asarray(tint)


def test_basis_matches_published_constants():
    x, y, z = unit(np.array([0.3, -0.5, 0.8]))
    expected = [
        0.282095, 0.488603 * y, 0.488603 * z, 0.488603 * x,
        1.092548 * x * y, 1.092548 * y * z, 0.315392 * (3 * z * z - 1), 1.092548 * x * z,
        0.546274 * (x * x - y * y),
    ]  # fmt: skip
    np.testing.assert_allclose(shading.sh_basis(np.array([x, y, z])), expected, atol=1e-6)


def test_basis_is_orthonormal_to_degree_eight():
    basis = shading.sh_basis(shading.equirect_directions(128), 8).reshape(-1, 81)
    weights = shading.equirect_solid_angles(128).reshape(-1, 1)
    np.testing.assert_allclose(basis.T @ (weights * basis), np.eye(81), atol=2e-3)


def test_basis_torch_equals_numpy_and_has_gradients_at_the_pole():
    directions = random_directions(20)
    tensor = torch.tensor(directions)
    np.testing.assert_allclose(
        shading.sh_basis(tensor, 8).numpy(), shading.sh_basis(directions, 8), atol=1e-10
    )
    pole = torch.tensor([0.0, 0.0, 1.0], requires_grad=True)
    shading.sh_basis(pole, 8).sum().backward()
    assert torch.isfinite(pole.grad).all() and pole.grad.abs().sum() > 0


def test_diffuse_matches_monte_carlo():
    image = soft_sun(64)
    light = shading.sh_from_environment(image)
    normals = random_directions(6, seed=3)
    ours = shading.shade_diffuse(np.full((6, 3), 0.5), normals, np.ones(6), light)
    directions = random_directions(400_000, seed=4)
    cosine = np.clip(directions @ unit(np.array([0.5, 0.6, 0.6])), 0.0, 1.0)
    radiance = 0.2 + 2.5 * cosine[:, None] ** 6 * np.array([1.2, 1.0, 0.8])
    for normal, value in zip(normals, ours, strict=True):
        truth = (
            0.5
            / math.pi
            * (radiance * np.clip(directions @ normal, 0, None)[:, None]).mean(0)
            * 4
            * math.pi
        )
        np.testing.assert_allclose(value, truth, atol=0.02)


def test_constant_light_returns_the_albedo_and_printed_form_times_pi():
    normals = random_directions(5)
    albedo = np.linspace(0.1, 0.9, 15).reshape(5, 3)
    light = np.zeros((81, 3))
    light[0] = math.sqrt(4.0 * math.pi)
    np.testing.assert_allclose(
        shading.shade_diffuse(albedo, normals, np.ones(5), light), albedo, rtol=1e-6
    )
    matt = {"ambient_occlusion": np.ones(5), "specular": np.zeros(5), "translucency": np.zeros(5)}
    np.testing.assert_allclose(
        shading.shade_mosar(albedo, normals, normals, light, **matt), albedo, rtol=1e-6
    )
    printed = shading.shade_mosar(albedo, normals, normals, light, **matt, radiometric=False)
    np.testing.assert_allclose(printed, albedo * math.pi, rtol=1e-6)


def test_mosar_terms_by_hand():
    """One texel, n = v = +Z, light only in Y_10: every term has one summand."""
    normal = np.array([[0.0, 0.0, 1.0]])
    light = np.zeros((9, 3))
    light[2] = 1.0
    out = shading.shade_mosar(
        np.array([[0.4, 0.5, 0.6]]), normal, normal, light,
        ambient_occlusion=np.array([0.5]), specular=np.array([0.04]), translucency=np.array([0.9]),
        roughness=0.5, radiometric=False,
    )  # fmt: skip
    y10 = 0.488603
    diffuse = np.array([0.4, 0.5, 0.6]) * 0.5 * (2 * math.pi / 3) * y10
    subsurface = np.array([0.4, 0.5, 0.6]) * math.exp(-1 / 0.9**4) * y10
    gloss = 0.04 * math.exp(-(0.25**2)) * y10
    np.testing.assert_allclose(out[0], diffuse + subsurface + gloss, rtol=1e-5)


def test_mosar_torch_equals_numpy_and_is_differentiable_in_every_pass():
    rng = np.random.default_rng(1)
    arrays = {
        "albedo": rng.uniform(0.1, 0.9, (4, 7, 3)), "normals": random_directions(28, 5).reshape(4, 7, 3),
        "view": random_directions(28, 6).reshape(4, 7, 3), "light": rng.normal(size=(81, 3)),
        "ambient_occlusion": rng.uniform(size=(4, 7, 1)), "specular": rng.uniform(size=(4, 7)) * 0.1,
        "translucency": rng.uniform(size=(4, 7, 1)),
    }  # fmt: skip
    tensors = {key: torch.tensor(value, requires_grad=True) for key, value in arrays.items()}
    ours = shading.shade_mosar(**tensors)
    np.testing.assert_allclose(
        ours.detach().numpy(), shading.shade_mosar(**arrays), rtol=1e-6, atol=1e-9
    )
    ours.square().sum().backward()
    for key, tensor in tensors.items():
        assert torch.isfinite(tensor.grad).all() and tensor.grad.abs().sum() > 0, key


def test_no_translucency_means_no_subsurface_and_no_nan():
    tensor = torch.zeros(1, 1, requires_grad=True)
    normal = torch.tensor([[0.0, 0.0, 1.0]])
    out = shading.shade_mosar(
        torch.full((1, 3), 0.5), normal, normal, torch.ones(9, 3),
        ambient_occlusion=torch.zeros(1, 1), specular=torch.zeros(1, 1), translucency=tensor,
    )  # fmt: skip
    out.sum().backward()
    assert out.abs().max() < 1e-6 and torch.isfinite(tensor.grad).all()


def test_one_light_per_texel_equals_one_light():
    normals = random_directions(3)
    light = np.random.default_rng(2).normal(size=(9, 3))
    one = shading.shade_diffuse(np.ones((3, 3)), normals, np.ones(3), light)
    many = shading.shade_diffuse(np.ones((3, 3)), normals, np.ones(3), np.stack([light] * 3))
    np.testing.assert_allclose(one, many)


def test_light_with_a_wrong_number_of_coefficients_is_refused():
    with pytest.raises(ValueError, match="SH coefficients"):
        shading.sh_degree(np.zeros((8, 3)))


def test_rotated_light_follows_the_head():
    light = shading.sh_from_environment(soft_sun())
    turn = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
    directions = random_directions(10)
    turned = shading.rotate_light(light, turn)
    np.testing.assert_allclose(
        shading.sh_basis(directions @ turn.T) @ turned,
        shading.sh_basis(directions) @ light,
        atol=1e-8,
    )


def test_equirect_directions_and_uv_are_inverse_and_in_blenders_convention():
    directions = shading.equirect_directions(8)
    uv = shading.equirect_uv(directions)
    np.testing.assert_allclose(uv[0, :, 0], (np.arange(16) + 0.5) / 16, atol=1e-9)
    np.testing.assert_allclose(uv[:, 0, 1], 1 - (np.arange(8) + 0.5) / 8, atol=1e-9)
    # Where tests/bench/test_scene.py sees them in a Cycles render:
    np.testing.assert_allclose(
        shading.equirect_uv([1, 0, 0]), [0.5, 0.5]
    )  # head's left: centre column
    np.testing.assert_allclose(shading.equirect_uv([0, 0, 1]), [0.75, 0.5])  # in front of the face
    np.testing.assert_allclose(shading.equirect_uv([0, 1, 0])[1], 1.0)  # above


def test_axes_to_blender_and_back():
    np.testing.assert_allclose(shading.head_to_blender(np.array([1.0, 2.0, 3.0])), [1, -3, 2])
    points = random_directions(5)
    np.testing.assert_allclose(shading.blender_to_head(shading.head_to_blender(points)), points)


def test_solid_angles_cover_the_sphere():
    assert shading.equirect_solid_angles(16).sum() == pytest.approx(4 * math.pi)


@pytest.mark.parametrize("power", [2, 200])
def test_environment_from_sh_is_non_negative_and_lights_the_same(power):
    cosine = np.clip(shading.equirect_directions(64) @ unit(np.array([0.2, 0.5, 0.8])), 0, 1)
    light = shading.sh_from_environment(np.repeat(cosine[..., None] ** power, 3, axis=-1) * power)
    image = shading.environment_from_sh(light, 32)
    assert image.shape == (32, 64, 3) and image.dtype == np.float32 and image.min() >= 0
    error = np.abs(shading.sh_from_environment(image) - light).max() / np.abs(light).max()
    assert error < 0.02


def light_scene(seed=0, size=48):
    """A sphere's front as texture: known albedo, AO, normals, and the light that shaded it."""
    rng = np.random.default_rng(seed)
    y, x = np.meshgrid(np.linspace(1, -1, size), np.linspace(-1, 1, size), indexing="ij")
    inside = x * x + y * y < 0.95
    normals = np.stack([x, y, np.sqrt(np.clip(1 - x * x - y * y, 0.05, 1))], -1)
    normals = unit(normals)
    albedo = np.array([0.45, 0.28, 0.2]) * rng.uniform(0.8, 1.2, (size, size, 1))
    occlusion = rng.uniform(0.7, 1.0, (size, size))
    light = shading.sh_from_environment(soft_sun())
    return albedo, normals, occlusion, inside.astype(float), light


def test_estimated_light_is_the_light_and_reshades_the_photo():
    albedo, normals, occlusion, weight, light = light_scene()
    shaded = np.clip(shading.shade_diffuse(albedo, normals, occlusion, light), 0, 1)
    found = shading.estimate_light(
        linear_to_srgb(shaded), linear_to_srgb(albedo), normals, occlusion, weight
    )
    assert found.shape == (9, 3) and found.dtype == np.float32
    again = shading.shade_diffuse(albedo, normals, occlusion, found)
    assert np.abs(again - shaded)[weight > 0].mean() < 0.03 * shaded[weight > 0].mean()


def test_estimated_light_ignores_highlights_and_shadow_patches():
    albedo, normals, occlusion, weight, light = light_scene()
    clean = np.clip(shading.shade_diffuse(albedo, normals, occlusion, light), 0, 1)
    faulty = clean.copy()
    faulty[8:14, 8:40] *= 0.3  # a hat's shadow
    faulty[20:26, 20:26] = 0.9  # a highlight
    found = shading.estimate_light(
        linear_to_srgb(faulty), linear_to_srgb(albedo), normals, occlusion, weight
    )
    again = shading.shade_diffuse(albedo, normals, occlusion, found)
    assert np.abs(again - clean)[weight > 0].mean() < 0.05 * clean[weight > 0].mean()


def test_estimated_light_belongs_to_a_real_environment():
    albedo, normals, occlusion, weight, light = light_scene(seed=4)
    texture = linear_to_srgb(
        np.clip(shading.shade_diffuse(albedo, normals, occlusion, light), 0, 1)
    )
    noise = np.random.default_rng(0).normal(0, 0.05, texture.shape)
    found = shading.estimate_light(
        np.clip(texture + noise, 0, 1), linear_to_srgb(albedo), normals, occlusion, weight
    )
    image = shading.environment_from_sh(found)
    assert image.min() >= 0
    np.testing.assert_allclose(
        shading.sh_from_environment(image), found, atol=0.03 * np.abs(found).max()
    )


def test_nothing_visible_is_said_so():
    albedo, normals, occlusion, weight, _ = light_scene()
    with pytest.raises(FitError, match="64"):
        shading.estimate_light(albedo, albedo, normals, occlusion, weight * 0)


def test_roughness_is_regional_symmetric_and_follows_pores():
    rough = shading.skin_roughness(256)
    assert rough.shape == (256, 256) and 0.3 <= rough.min() and rough.max() <= 0.55
    np.testing.assert_allclose(rough, rough[:, ::-1], atol=1e-5)
    lips, cheek, neck = rough[int(256 * 0.58), 128], rough[128, 84], rough[250, 128]
    assert lips < cheek < neck
    specular = np.full((256, 256), 0.6, np.float32)
    specular[128, 84] = 0.2  # a pore
    assert shading.skin_roughness(256, specular)[128, 84] > cheek + 0.02
