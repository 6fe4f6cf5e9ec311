"""Shading: closed forms, Monte Carlo, gradients."""

import math

import numpy as np
import torch

from core import environment, shading


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


def test_diffuse_matches_monte_carlo():
    image = soft_sun(64)
    light = environment.sh_from_environment(image)
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


def test_roughness_is_regional_symmetric_and_follows_pores():
    rough = shading.skin_roughness(256)
    assert rough.shape == (256, 256) and 0.3 <= rough.min() and rough.max() <= 0.55
    np.testing.assert_allclose(rough, rough[:, ::-1], atol=1e-5)
    lips, cheek, neck = rough[int(256 * 0.58), 128], rough[128, 84], rough[250, 128]
    assert lips < cheek < neck
    specular = np.full((256, 256), 0.6, np.float32)
    specular[128, 84] = 0.2  # a pore
    assert shading.skin_roughness(256, specular)[128, 84] > cheek + 0.02
