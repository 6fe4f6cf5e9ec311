"""Spherical harmonics against published constants, orthonormality and rotation."""

import numpy as np
import pytest
import torch

from core import environment, sh


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


def test_basis_matches_published_constants():
    x, y, z = unit(np.array([0.3, -0.5, 0.8]))
    expected = [
        0.282095, 0.488603 * y, 0.488603 * z, 0.488603 * x,
        1.092548 * x * y, 1.092548 * y * z, 0.315392 * (3 * z * z - 1), 1.092548 * x * z,
        0.546274 * (x * x - y * y),
    ]  # fmt: skip
    np.testing.assert_allclose(sh.sh_basis(np.array([x, y, z])), expected, atol=1e-6)


def test_basis_is_orthonormal_to_degree_eight():
    basis = sh.sh_basis(environment.equirect_directions(128), 8).reshape(-1, 81)
    weights = environment.equirect_solid_angles(128).reshape(-1, 1)
    np.testing.assert_allclose(basis.T @ (weights * basis), np.eye(81), atol=2e-3)


def test_basis_torch_equals_numpy_and_has_gradients_at_the_pole():
    directions = random_directions(20)
    tensor = torch.tensor(directions)
    np.testing.assert_allclose(
        sh.sh_basis(tensor, 8).numpy(), sh.sh_basis(directions, 8), atol=1e-10
    )
    pole = torch.tensor([0.0, 0.0, 1.0], requires_grad=True)
    sh.sh_basis(pole, 8).sum().backward()
    assert torch.isfinite(pole.grad).all() and pole.grad.abs().sum() > 0


def test_light_with_a_wrong_number_of_coefficients_is_refused():
    with pytest.raises(ValueError, match="SH coefficients"):
        sh.sh_degree(np.zeros((8, 3)))


def test_rotated_light_follows_the_head():
    light = environment.sh_from_environment(soft_sun())
    turn = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
    directions = random_directions(10)
    turned = sh.rotate_light(light, turn)
    np.testing.assert_allclose(
        sh.sh_basis(directions @ turn.T) @ turned,
        sh.sh_basis(directions) @ light,
        atol=1e-8,
    )
