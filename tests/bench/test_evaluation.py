"""Figures of predictions, the trivial rows beside them, and their means."""

import numpy as np
import pytest

from bench import baselines, evaluation
from bench.tabulate import tabulate
from core.color import linear_to_srgb
from core.environment import sh_from_environment
from core.passes import PASSES
from core.shading import shade_diffuse

SIZE = 64


def smooth(seed, channels=3):
    rng = np.random.default_rng(seed)
    coarse = rng.random((8, 8, channels))
    return np.kron(coarse, np.ones((SIZE // 8, SIZE // 8, 1))).astype(np.float32)


@pytest.fixture
def sphere():
    """Normals of a dome over the map, (S, S, 3), and a mask inside it."""
    axis = (np.arange(SIZE) + 0.5) / SIZE * 2 - 1
    x, y = np.meshgrid(axis, -axis)
    z = np.sqrt(np.maximum(1 - 0.9 * (x**2 + y**2) / 2, 0.05))
    normals = np.stack([0.67 * x, 0.67 * y, z], -1)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    return normals, np.ones((SIZE, SIZE), bool)


def truth():
    maps = {row.key: smooth(i, row.channels) for i, row in enumerate(PASSES)}
    maps["albedo"] = 0.4 + 0.3 * maps["albedo"]
    normal = smooth(9) * 0.2 + np.float32((-0.1, -0.1, 1.0))
    maps["normal"] = normal / np.linalg.norm(normal, axis=-1, keepdims=True) * 0.5 + 0.5
    return maps


def figures(predicted, sphere, maps=None, mean=None):
    maps = maps or truth()
    mean = mean or {key: np.full_like(x, x.mean()) for key, x in maps.items()}
    normals, mask = sphere
    return evaluation.figures_of(
        predicted, maps, mean, maps["albedo"], normals, mask.astype(float), mask
    )


def test_the_truth_itself_has_no_error(sphere):
    found = figures(truth(), sphere)
    model = found["albedo"]["model"]
    assert (
        model["rmse"] == 0
        and model["ssim"] == pytest.approx(1)
        and model["ita_error_deg.error"] == 0
    )
    assert found["normal"]["model"]["normal_angle_deg.mean"] == pytest.approx(0, abs=1e-4)
    for key in evaluation.DATA_KEYS:
        assert found[key]["model"]["mae"] == 0
        assert found[key]["model"]["correlation"] == pytest.approx(1)


def test_every_table_carries_its_trivial_rows(sphere):
    found = figures({}, sphere)
    assert set(found["albedo"]) == {
        "input as albedo", "SH de-lighting", "log high-pass", "constant", "mean map",
    }  # fmt: skip
    assert set(found["normal"]) == {"flat normal", "mean map"}
    assert all(set(found[key]) == {"mean map"} for key in evaluation.DATA_KEYS)
    assert "model" not in found["albedo"]


def test_harmonics_take_harmonic_light_off(sphere):
    """Skin of one colour under a soft side light: the rebuilt albedo is flat again."""
    normals, mask = sphere
    sky = np.full((16, 32, 3), 0.5)
    sky[3:8, 16:26] = 4.0
    skin = np.array([0.5, 0.35, 0.28])
    lit = shade_diffuse(
        np.broadcast_to(skin, normals.shape), normals, np.ones(mask.shape), sh_from_environment(sky)
    )
    photo = linear_to_srgb(np.clip(lit, 0, 1))
    made = baselines.harmonic_delighting(photo, normals, mask.astype(float), linear_to_srgb(skin))
    assert made[mask].std(0).max() < 0.25 * photo[mask].std(0).max()


def test_the_high_pass_removes_a_slope_and_keeps_a_mole(sphere):
    slope = np.repeat(np.linspace(0.3, 0.8, SIZE)[None, :, None], SIZE, 0).repeat(3, 2)
    photo = slope.copy()
    photo[30:33, 30:33] *= 0.6
    made = baselines.log_high_pass(photo, sphere[1])
    inner = made[10:20, 10:-10]
    assert np.ptp(inner) < 0.4 * np.ptp(photo[10:20, 10:-10])
    assert made[31, 31, 0] < 0.8 * made[31, 40, 0]


def test_spread_is_relative_and_zero_for_a_constant():
    mask = np.ones((4, 4), bool)
    same = np.full((4, 4, 3), 0.5)
    assert evaluation.spread_between_lights([same, same], mask) == 0
    assert evaluation.spread_between_lights([same, same * 0.8], mask) > 0.1


def test_tables_have_means_over_people_and_groups(sphere):
    good = figures(truth(), sphere)
    worse = truth()
    worse["albedo"] = worse["albedo"] * 0.8
    bad = figures(worse, sphere)
    samples = [("a", "dark", good), ("b", "dark", bad), ("c", "light", bad), ("c", "light", bad)]
    found = tabulate(samples)
    rmse = found["tables"]["albedo"]["model"]["rmse"]
    one = bad["albedo"]["model"]["rmse"]
    assert rmse["mean"] == pytest.approx(0.75 * one) and rmse["n"] == 3
    assert found["by_group"]["dark"]["albedo"]["model"]["rmse"] == pytest.approx(one / 2)
    assert found["by_group"]["light"]["photos"] == 2
    assert found["tables"]["albedo"]["model"]["lpips"] == "not computed" or isinstance(
        found["tables"]["albedo"]["model"]["lpips"], dict
    )
    assert found["ita_error_spread_between_groups_deg"]["model"] > 0
