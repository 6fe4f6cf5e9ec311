"""Pix2PixHD: parameter counts, 15 channels, skin tone kept; the discriminator's features."""

import pytest
import torch
from torch import nn

from core.nets import MultiscaleDiscriminator, Pix2PixHD
from core.nets.blocks import count_parameters


def hand_count(inputs: int = 3, outputs: int = 15) -> int:
    """ngf 64, 4 down, 9 blocks by hand; InstanceNorm has no parameters."""
    stem = inputs * 49 * 64 + 64
    widths = (64, 128, 256, 512, 1024)
    downs = sum(9 * a * b + b for a, b in zip(widths[:-1], widths[1:], strict=True))
    blocks = 9 * 2 * (9 * 1024 * 1024 + 1024)
    ups = sum(9 * a * b + a for a, b in zip(widths[:-1], widths[1:], strict=True))
    return stem + downs + blocks + ups + 64 * 49 * outputs + outputs


def test_parameters_as_released() -> None:
    with torch.device("meta"):
        count = count_parameters(Pix2PixHD(level_skip=False))
        with_level = count_parameters(Pix2PixHD())
    assert count == hand_count() == 182_480_911
    assert with_level - count == (3 * 64 + 64) + (64 * 2 * 960 + 2 * 960)


def test_discriminator_parameters() -> None:
    def layer(a: int, b: int) -> int:
        return a * 16 * b + b

    widths = ((18, 64), (64, 128), (128, 256), (256, 512), (512, 1))
    with torch.device("meta"):
        assert count_parameters(MultiscaleDiscriminator()) == 2 * sum(layer(*w) for w in widths)


def test_fifteen_channels_in_range_at_any_multiple_of_16() -> None:
    net = Pix2PixHD(ngf=4, num_blocks=2, uv_octaves=1).eval()
    for size in ((64, 64), (256, 256), (64, 96)):
        out = net(torch.rand(1, 3, *size) * 2 - 1)
        assert out.shape == (1, 15, *size) and out.abs().max() <= 1.0


@pytest.mark.parametrize("seed", range(3))
def test_brighter_albedo_gives_brighter_raw_diffuse(seed: int) -> None:
    torch.manual_seed(seed)
    net = Pix2PixHD(ngf=8, num_blocks=2).eval()
    nn.init.normal_(net.level_out.weight, std=0.05)  # as after training
    texture = 0.1 * torch.rand(1, 3, 64, 64)
    levels = []
    with torch.no_grad():
        for tone in (0.2, 0.4, 0.6, 0.8):
            out = net((texture + tone) * 2 - 1)
            levels.append(float(out[:, 12:].mean() / 2 + 0.5))
    assert levels == sorted(levels) and levels[-1] - levels[0] > 0.4


def test_without_the_skip_instance_norm_forgets_the_tone() -> None:
    """Why the skip is there: two tones of one face give one and the same output."""
    torch.manual_seed(0)
    net = Pix2PixHD(ngf=8, num_blocks=2, level_skip=False).eval()
    texture = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        dark, light = net(texture * 0.4 - 0.9), net(texture * 0.4 + 0.3)
    assert (dark - light).abs().max() < 1e-2


def test_mean_colour_reaches_the_other_passes() -> None:
    net = Pix2PixHD(ngf=4, num_blocks=1).eval()
    nn.init.normal_(net.level_out.weight, std=0.5)
    texture = torch.rand(1, 3, 64, 64) * 0.2
    with torch.no_grad():
        assert (net(texture - 0.6) - net(texture + 0.5))[:, :12].abs().mean() > 0.005


def test_prior_starts_the_net_at_the_mean_maps() -> None:
    torch.manual_seed(0)
    net = Pix2PixHD(ngf=4, num_blocks=1, prior_size=16)
    mean = torch.rand(1, 15, 1, 1).expand(1, 15, 64, 64) * 1.6 - 0.8
    net.set_prior(mean)
    albedo = torch.rand(2, 3, 32, 32)
    out = net(albedo)
    assert (out[:, :12] - mean[:, :12, :1, :1]).abs().mean() < 0.05
    assert (out[:, 12:] - albedo).abs().mean() < 0.1
    with pytest.raises(ValueError, match="prior_size"):
        Pix2PixHD(ngf=4, num_blocks=1).set_prior(mean)


def test_guide_is_checked_and_used() -> None:
    net = Pix2PixHD(ngf=4, num_blocks=1, guide=True).eval()
    albedo = torch.rand(1, 3, 32, 32)
    with pytest.raises(ValueError, match="guide photo"):
        net(albedo)
    with torch.no_grad():
        assert not torch.equal(net(albedo, albedo), net(albedo, albedo.flip(-1)))


def test_discriminator_returns_features_of_both_scales() -> None:
    net = MultiscaleDiscriminator(ndf=4)
    results = net(torch.rand(2, 18, 64, 64))
    assert [len(scale) for scale in results] == [5, 5]
    assert results[0][-1].shape[:2] == (2, 1)
    assert [scale[0].shape[-1] for scale in results] == [33, 17]  # half the size, padding 2


def test_patch_score_sees_70_pixels() -> None:
    """Receptive field: the pixels whose change moves one patch score (norms left out)."""
    net = MultiscaleDiscriminator(ndf=2, num_scales=1)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 1.0)
    x = torch.rand(1, 18, 160, 160, requires_grad=True)
    y = x
    for layer in net.scales[0]:
        y = layer[0](y)
    y[0, 0, y.shape[2] // 2, y.shape[3] // 2].backward()
    assert x.grad is not None
    rows = x.grad.abs().sum(dim=(0, 1, 3)).nonzero()
    assert int(rows.max() - rows.min()) + 1 == 70


def test_local_branch_starts_silent_and_sees_single_texels() -> None:
    torch.manual_seed(0)
    net = Pix2PixHD(ngf=4, num_down=2, num_blocks=1, local_width=4).eval()
    x = torch.rand(1, 3, 64, 64) * 2 - 1
    assert net.local is not None
    assert net.local(x).abs().max() == 0
    with torch.no_grad():
        net.local.last.weight.normal_()
        y = x.clone()
        y[..., 32, 32] += 0.5
        moved = (net.local(y) - net.local(x)).abs().amax(1)[0]
    assert moved[31:34, 31:34].max() > 10 * moved[:2, :2].max()
