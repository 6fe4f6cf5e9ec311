"""Loss terms: zero at the truth, blind outside the mask, and right on cases done by hand."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from train import losses
from train.config import LossWeights
from train.perceptual import VGG19_FILE, Perceptual, trunk_path
from train.presets import OFFLINE_ALBEDO, OFFLINE_PASSES, PAPER_ALBEDO

ALL_ALBEDO = LossWeights(l1=1, gradient=1, gain=1, ssim=1)


def images(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    p, t = (torch.rand(2, 3, 48, 48, generator=g) * 1.6 - 0.8 for _ in range(2))
    mask = torch.zeros(2, 1, 48, 48)
    mask[..., 8:40, 8:40] = 1
    return p, t, mask


@pytest.mark.parametrize("name", ["mse", "l1", "edge", "gradient", "gain", "ssim"])
def test_albedo_terms_vanish_at_the_truth_only(name: str) -> None:
    p, t, mask = images()
    assert float(losses.albedo_terms(t, t, mask, ALL_ALBEDO)[name]) == pytest.approx(0, abs=1e-5)
    assert float(losses.albedo_terms(p, t, mask, ALL_ALBEDO)[name]) > 1e-3


@pytest.mark.parametrize("name", ["mse", "l1", "gain"])
def test_texels_outside_the_mask_do_not_count(name: str) -> None:
    p, t, mask = images()
    broken = torch.where(mask > 0, p, torch.full_like(p, 9.0))
    same = losses.albedo_terms(p, t, mask, ALL_ALBEDO)[name]
    assert losses.albedo_terms(broken, t, mask, ALL_ALBEDO)[name] == pytest.approx(float(same))


def test_masked_mse_by_hand() -> None:
    p, t = torch.zeros(1, 3, 2, 2), torch.ones(1, 3, 2, 2)
    t[..., 0] = 2.0
    weight = torch.tensor([[[[1.0, 0.5], [0.0, 0.5]]]])
    assert float(losses.masked_mse(p, t, weight)) == pytest.approx((4 + 0.5 + 0.5) / 2)


def test_sobel_of_a_ramp_is_its_slope() -> None:
    ramp = torch.arange(8.0)[None, None, None].expand(1, 1, 8, 8)
    along_cols, along_rows = losses.sobel(ramp)
    assert torch.allclose(along_cols, torch.ones_like(along_cols)) and along_rows.abs().max() == 0


def test_gain_invariant_forgives_exposure_and_nothing_else() -> None:
    _, t, mask = images()
    dimmer = (t * 0.5 + 0.5) * 0.6 * 2 - 1
    assert losses.gain_invariant(dimmer, t, mask) < 1e-10
    tinted = dimmer.clone()
    tinted[:, 0] += 0.3
    assert losses.gain_invariant(tinted, t, mask) > 1e-3


def test_ssim_matches_scikit_image() -> None:
    p, t, _ = images()
    ours = losses.ssim_map(p * 0.5 + 0.5, t * 0.5 + 0.5)[0]
    pair = [(x[0] * 0.5 + 0.5).permute(1, 2, 0).numpy() for x in (p, t)]
    theirs: Any = structural_similarity(
        *pair, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        channel_axis=2, full=True,
    )[1]  # fmt: skip
    assert np.allclose(ours.permute(1, 2, 0).numpy(), theirs[5:-5, 5:-5], atol=1e-4)


def test_normal_loss_of_a_known_angle() -> None:
    tilt = math.radians(10)
    t = torch.tensor([0.0, 0.0, 1.0]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    p = torch.tensor([math.sin(tilt), 0.0, math.cos(tilt)]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    expected = (1 - math.cos(tilt)) + losses.TILT_GAIN * math.sin(tilt) / 2
    assert float(losses.normal_loss(p, t, torch.ones(1, 1, 4, 4))) == pytest.approx(expected, 1e-4)


def test_pass_terms_look_at_their_own_channels() -> None:
    t = torch.zeros(1, 15, 16, 16)
    t[:, 5] = 1  # flat normals
    mask = torch.ones(1, 1, 16, 16)
    base = losses.pass_terms(t, t, mask, OFFLINE_PASSES)
    assert all(float(v) < 1e-5 for v in base.values())
    for name, channel in (("ambient_occlusion", 0), ("specular", 6), ("translucency", 9)):
        p = t.clone()
        p[:, channel : channel + 3] = 0.5
        terms = losses.pass_terms(p, t, mask, OFFLINE_PASSES)
        assert [k for k, v in terms.items() if float(v) > 1e-4] == [name, "mse"]
        assert float(terms[name]) == pytest.approx(0.5)


def test_lsgan_and_feature_matching_by_hand() -> None:
    real = [[torch.ones(1, 2, 4, 4), torch.ones(1, 1, 2, 2)]]
    fake = [[torch.zeros(1, 2, 4, 4), torch.zeros(1, 1, 2, 2)]]
    assert float(losses.lsgan(real, True)) == 0 and float(losses.lsgan(fake, True)) == 1
    assert float(losses.feature_matching(fake, real)) == pytest.approx(4.0)


def test_run_without_trunks_says_so_and_uses_the_offline_terms(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    assert trunk_path(VGG19_FILE) is None
    perceptual = Perceptual(PAPER_ALBEDO, torch.device("cpu"))
    assert "offline" in perceptual.recipe and VGG19_FILE in perceptual.recipe
    assert perceptual.effective.features > 0 and perceptual.effective.ssim > 0
    p, t, mask = images()
    assert perceptual.terms(p, t, mask, torch.Generator()) == {}
    assert Perceptual(OFFLINE_ALBEDO, torch.device("cpu")).effective == OFFLINE_ALBEDO


def test_trunks_are_used_where_they_are(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:  # noqa: ANN001
    """Random weights under torchvision's file and tensor names: loaded, zero at the truth."""
    from train import perceptual as module

    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for name, widths, taps in (
        (module.VGG19_FILE, module.VGG19_WIDTHS, module.VGG19_TAPS),
        (module.VGG16_FILE, module.VGG16_WIDTHS, module.VGG16_TAPS),
    ):
        torch.save(module.Trunk(widths, taps).state_dict(), folder / name)
    if module.lpips_heads() is None:
        pytest.skip("the lpips wheel is not installed")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    perceptual = Perceptual(PAPER_ALBEDO, torch.device("cpu"))
    p, t, mask = images()
    terms = perceptual.terms(p, t, mask, torch.Generator().manual_seed(0))
    assert set(terms) == {"vgg", "lpips"} and all(float(v) > 0 for v in terms.values())
    same = perceptual.terms(t, t, mask, torch.Generator().manual_seed(0))
    assert all(float(v) < 1e-6 for v in same.values())
    assert perceptual.effective == PAPER_ALBEDO


def test_tone_sees_the_mean_colour_of_the_face_only() -> None:
    t = torch.zeros(1, 3, 16, 16)
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., :8] = 1
    textured = t.clone()
    textured[..., ::2, :] += 0.4
    textured[..., 1::2, :] -= 0.4
    textured[..., 8:] += 0.7  # outside the face
    assert float(losses.tone(textured, t, mask)) == pytest.approx(0, abs=1e-6)
    assert float(losses.tone(t + 0.2, t, mask)) == pytest.approx(0.1)
