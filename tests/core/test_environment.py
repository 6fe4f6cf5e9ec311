"""Environments and back, and a light that is put in and found again."""

import math

import numpy as np
import pytest

from core import environment, shading
from core.color import linear_to_srgb
from core.errors import FitError


def unit(values):
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def random_directions(count, seed=0):
    return unit(np.random.default_rng(seed).normal(size=(count, 3)))


def soft_sun(height=32, direction=(0.5, 0.6, 0.6), tint=(1.2, 1.0, 0.8)):
    """An equirect environment: dim sky plus one broad warm lobe towards ``direction``."""
    cosine = np.clip(
        environment.equirect_directions(height) @ unit(np.asarray(direction)), 0.0, 1.0
    )
    return 0.2 + 2.5 * cosine[..., None] ** 6 * np.asarray(tint)


def test_equirect_directions_and_uv_are_inverse_and_in_blenders_convention():
    directions = environment.equirect_directions(8)
    uv = environment.equirect_uv(directions)
    np.testing.assert_allclose(uv[0, :, 0], (np.arange(16) + 0.5) / 16, atol=1e-9)
    np.testing.assert_allclose(uv[:, 0, 1], 1 - (np.arange(8) + 0.5) / 8, atol=1e-9)
    # Where tests/bench/test_scene.py sees them in a Cycles render:
    np.testing.assert_allclose(
        environment.equirect_uv([1, 0, 0]), [0.5, 0.5]
    )  # head's left: centre column
    np.testing.assert_allclose(
        environment.equirect_uv([0, 0, 1]), [0.75, 0.5]
    )  # in front of the face
    np.testing.assert_allclose(environment.equirect_uv([0, 1, 0])[1], 1.0)  # above


def test_axes_to_blender_and_back():
    np.testing.assert_allclose(environment.head_to_blender(np.array([1.0, 2.0, 3.0])), [1, -3, 2])
    points = random_directions(5)
    np.testing.assert_allclose(
        environment.blender_to_head(environment.head_to_blender(points)), points
    )


def test_solid_angles_cover_the_sphere():
    assert environment.equirect_solid_angles(16).sum() == pytest.approx(4 * math.pi)


@pytest.mark.parametrize("power", [2, 200])
def test_environment_from_sh_is_non_negative_and_lights_the_same(power):
    cosine = np.clip(environment.equirect_directions(64) @ unit(np.array([0.2, 0.5, 0.8])), 0, 1)
    light = environment.sh_from_environment(
        np.repeat(cosine[..., None] ** power, 3, axis=-1) * power
    )
    image = environment.environment_from_sh(light, 32)
    assert image.shape == (32, 64, 3) and image.dtype == np.float32 and image.min() >= 0
    error = np.abs(environment.sh_from_environment(image) - light).max() / np.abs(light).max()
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
    light = environment.sh_from_environment(soft_sun())
    return albedo, normals, occlusion, inside.astype(float), light


def test_estimated_light_is_the_light_and_reshades_the_photo():
    albedo, normals, occlusion, weight, light = light_scene()
    shaded = np.clip(shading.shade_diffuse(albedo, normals, occlusion, light), 0, 1)
    found = environment.estimate_light(
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
    found = environment.estimate_light(
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
    found = environment.estimate_light(
        np.clip(texture + noise, 0, 1), linear_to_srgb(albedo), normals, occlusion, weight
    )
    image = environment.environment_from_sh(found)
    assert image.min() >= 0
    np.testing.assert_allclose(
        environment.sh_from_environment(image), found, atol=0.03 * np.abs(found).max()
    )


def test_nothing_visible_is_said_so():
    albedo, normals, occlusion, weight, _ = light_scene()
    with pytest.raises(FitError, match="64"):
        environment.estimate_light(albedo, albedo, normals, occlusion, weight * 0)


def test_two_coloured_lamps_keep_most_of_their_colour():
    albedo, normals, occlusion, weight, _ = light_scene()
    directions = environment.equirect_directions(32)
    red = np.clip(directions @ unit(np.array([-1, 0.2, 0.5])), 0, 1)[..., None] ** 4
    blue = np.clip(directions @ unit(np.array([1, 0.2, 0.5])), 0, 1)[..., None] ** 4
    image = 0.1 + red * (2.0, 1.0, 0.6) + blue * (0.6, 1.0, 2.0)
    light = environment.sh_from_environment(image)
    texture = linear_to_srgb(
        np.clip(shading.shade_diffuse(albedo, normals, occlusion, light), 0, 1)
    )
    found = environment.estimate_light(texture, linear_to_srgb(albedo), normals, occlusion, weight)
    across = found[3, 2] - found[3, 0], light[3, 2] - light[3, 0]  # blue minus red along x
    assert 0.6 * across[1] < across[0] < 1.1 * across[1]
