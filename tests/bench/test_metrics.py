"""Metrics against values worked out by hand."""

import math

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from bench import metrics

ALL = np.ones((2, 2), bool)


def test_rmse_counts_only_the_mask():
    a, b = np.zeros((2, 2, 3)), np.zeros((2, 2, 3))
    a[0, 0], a[1, 1] = (0.3, 0.0, 0.0), (9.0, 9.0, 9.0)
    mask = ALL.copy()
    mask[1, 1] = False
    assert metrics.rmse(a, b, mask) == pytest.approx(math.sqrt(0.09 / 9))


def test_gain_invariant_rmse_forgives_exposure_only():
    truth = np.arange(12.0).reshape(2, 2, 3) / 12
    assert metrics.gain_invariant_rmse(truth * 0.4, truth, ALL) == pytest.approx(0, abs=1e-12)
    # k = (1*1 + 1*0) / (1 + 1) = 0.5: residuals 0.5 - 1 and 0.5 - 0
    two = np.array([[1.0, 1.0]])
    assert metrics.gain_invariant_rmse(two, np.array([[1.0, 0.0]]), two > 0) == pytest.approx(0.5)


def test_ssim_equals_the_reference_implementation_inside_the_mask():
    rng = np.random.default_rng(0)
    a = rng.uniform(size=(40, 48, 3))
    b = np.clip(a + rng.normal(0, 0.1, a.shape), 0, 1)
    mask = np.ones((40, 48), bool)
    expected = structural_similarity(
        a, b, data_range=1.0, channel_axis=2, gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False,
    )  # fmt: skip
    assert metrics.ssim(a, b, mask) == pytest.approx(expected, abs=1e-6)
    assert metrics.ssim(a, a, mask) == pytest.approx(1.0)


def test_ssim_sees_nothing_outside_the_mask():
    a = np.random.default_rng(0).uniform(size=(40, 40, 3))
    b = a.copy()
    b[:, 30:] = 0
    mask = np.zeros((40, 40), bool)
    mask[:, :30] = True
    assert metrics.ssim(a, b, mask) == pytest.approx(1.0)


def test_normal_angles():
    truth = np.zeros((1, 4, 3)) + (0, 0, 1)
    degrees = np.radians([0.0, 10.0, 20.0, 90.0])
    prediction = np.stack([np.sin(degrees), 0 * degrees, np.cos(degrees)], -1)[None]
    result = metrics.normal_angle_deg(prediction, truth, np.ones((1, 4), bool))
    assert result["mean"] == pytest.approx(30)
    assert result["median"] == pytest.approx(15)
    assert result["rmse"] == pytest.approx(math.sqrt((100 + 400 + 8100) / 4))
    assert (result["under_11.25"], result["under_22.5"], result["under_30"]) == (50, 75, 75)


def test_ita_error_by_hand():
    """Mid grey-brown: L*, b* of sRGB (180, 145, 133) give the 49 degrees that tables list for it."""
    light = np.zeros((2, 2, 3)) + np.array([180, 145, 133]) / 255
    dark = np.zeros((2, 2, 3)) + np.array([114, 84, 73]) / 255
    result = metrics.ita_error_deg(dark, light, ALL)
    assert result["truth"] == pytest.approx(49, abs=1.5) and result["group"] == "light"
    assert result["signed"] == pytest.approx(-45 - 49, abs=3)
    assert result["error"] == -result["signed"]


def test_correlation():
    a = np.array([[0.0, 1.0], [2.0, 3.0]])
    assert metrics.correlation(a, 5 - 2 * a, ALL) == pytest.approx(-1)
    b = np.array([[0.0, 0.0], [1.0, 0.0]])  # deviations (-1.5,-.5,.5,1.5) . (-.25,-.25,.75,-.25)
    assert metrics.correlation(a, b, ALL) == pytest.approx(0.5 / math.sqrt(5 * 0.75))
    assert math.isnan(metrics.correlation(a, a * 0, ALL))


def test_lpips_without_its_weights_is_not_computed(monkeypatch):
    monkeypatch.setattr(metrics, "_lpips_network", lambda: None)
    image = np.zeros((2, 2, 3))
    assert metrics.lpips(image, image, ALL) == "not computed"


def test_evaluate_flattens_and_names_what_it_knows():
    image = np.zeros((2, 2, 3)) + 0.5
    flat = metrics.evaluate(["rmse", "ita_error_deg"], image, image, ALL)
    assert flat["rmse"] == 0 and flat["ita_error_deg.error"] == 0
    with pytest.raises(ValueError, match="gain_invariant_rmse"):
        metrics.evaluate(["psnr"], image, image, ALL)


@pytest.mark.parametrize("mask", [ALL & False, np.ones((3, 2), bool), ALL.astype(float)])
def test_bad_masks_are_refused(mask):
    with pytest.raises(ValueError, match="mask"):
        metrics.rmse(np.zeros((2, 2, 3)), np.zeros((2, 2, 3)), mask)
