"""RefinementNet: size, both forms of the paper, and the guide that carries only fine detail."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from core.nets import RefinementNet
from core.nets.blocks import count_parameters


def test_parameters_at_base_64() -> None:
    expected = (3 * 9 * 64 + 64) + (64 * 9 * 64 + 64) + (64 * 3 + 3)
    assert count_parameters(RefinementNet()) == expected == 38_915
    assert count_parameters(RefinementNet(guide=True)) == expected + 3 * 9 * 64


def test_doubles_the_size_and_starts_as_a_bilinear_resize() -> None:
    albedo = torch.rand(2, 3, 32, 48) * 2 - 1
    out = RefinementNet(base=8)(albedo)
    assert out.shape == (2, 3, 64, 96)
    expected = F.interpolate(albedo, scale_factor=2, mode="bilinear", align_corners=False)
    assert (out - expected).abs().max() < 0.02


def test_equation_4_form_leaves_the_upsampled_albedo_out() -> None:
    net = RefinementNet(base=4, residual=False)
    nn.init.zeros_(net.head.weight)
    nn.init.zeros_(net.head.bias)
    assert net(torch.ones(1, 3, 8, 8)).abs().max() == 0


def test_guide_sees_no_smooth_light() -> None:
    net = RefinementNet(base=4, guide=True)
    albedo = torch.full((1, 3, 64, 64), 0.2)
    light = torch.linspace(0.2, 0.9, 64)[None, None, None].expand(1, 3, 64, 64) * 2 - 1
    pores = (torch.rand(1, 3, 64, 64) * 0.2 + 0.4) * 2 - 1
    inner = (slice(None), slice(None), slice(2, -2), slice(2, -2))
    smooth = net.detail(albedo, light)[inner].abs().max()
    assert smooth < 0.02
    assert smooth < 0.1 * net.detail(albedo, pores)[inner].abs().max()


def test_guide_must_be_the_larger_photo() -> None:
    net = RefinementNet(base=4, guide=True)
    with pytest.raises(ValueError, match="guide photo of"):
        net(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8))
    assert net(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 16, 16)).shape == (1, 3, 16, 16)
