"""MAGINet: shapes, widths, gates, parameter count, and what the untrained ratio net returns."""

import pytest
import torch
from torch import nn

from core.nets import MAGINet
from core.nets.blocks import count_parameters, straight_through_clamp


def hand_count() -> int:
    """Base 64 by hand: weights + biases, layer by layer."""
    stem = 3 * 9 * 64 + 64
    blocks = sum(2 * (9 * c * c + c) for c in (64, 128, 256, 256, 384, 512))
    down_widths = [(64, 128), (128, 256), (256, 256), (256, 384), (384, 512), (512, 512)]
    downs = sum(9 * a * b + b for a, b in down_widths)
    attention = (512 * 64 + 64) + (64 * 512 + 512) + (2 + 1)
    up_widths = [(1024, 384), (768, 256), (512, 256), (512, 128), (256, 64), (128, 64)]
    ups = sum(9 * a * b + b for a, b in up_widths)
    gates, head = 6, 64 * 3 + 3
    return stem + blocks + downs + attention + ups + gates + head


def test_parameters_at_base_64_match_the_hand_count_and_the_paper() -> None:
    with torch.device("meta"):
        count = count_parameters(MAGINet())
    assert count == hand_count() == 23_446_284
    assert abs(count / 1e6 - 23) < 1  # Table 1 as printed


def test_channel_table_at_base_64() -> None:
    with torch.device("meta"):
        net = MAGINet()
    assert [down.out_channels for down in net.downs] == [128, 256, 256, 384, 512, 512]
    assert [up.out_channels for up in net.ups] == [384, 256, 256, 128, 64, 64]
    assert [up.in_channels for up in net.ups] == [1024, 768, 512, 512, 256, 128]
    assert net.bottleneck.down.out_features == 64


def test_every_width_scales_and_stays_positive() -> None:
    assert [d.out_channels for d in MAGINet(base=20).downs] == [40, 80, 80, 120, 160, 160]
    assert MAGINet(base=1)(torch.zeros(1, 3, 64, 64)).shape == (1, 3, 64, 64)


def test_bottleneck_of_a_512_map_is_8_pixels() -> None:
    with torch.device("meta"):
        net = MAGINet(base=64)
        sizes: list[tuple[int, ...]] = []
        net.bottleneck.register_forward_hook(lambda _m, _i, out: sizes.append(tuple(out.shape)))
        out = net(torch.zeros(1, 3, 512, 512, device="meta"))
    assert sizes == [(1, 512, 8, 8)] and out.shape == (1, 3, 512, 512)


def test_gates_start_at_one_half_and_never_turn_negative() -> None:
    net = MAGINet(base=4)
    assert net.gate_values() == pytest.approx([0.5] * 6, abs=1e-6)
    with torch.no_grad():
        net.gates[0].a.fill_(-3.0)
    assert 0.99 < net.gate_values()[0] < 1.0


def test_gates_learn() -> None:
    net = MAGINet(base=4)
    net(torch.rand(1, 3, 64, 64)).square().sum().backward()
    assert all(gate.a.grad is not None and gate.a.grad.abs() > 0 for gate in net.gates)


@pytest.mark.parametrize("size", [(64, 64), (256, 256), (192, 320)])
def test_fully_convolutional_and_in_range(size: tuple[int, int]) -> None:
    out = MAGINet(base=4, uv_octaves=2)(torch.rand(2, 3, *size) * 2 - 1)
    assert out.shape == (2, 3, *size) and out.abs().max() <= 1.0


def test_untrained_ratio_net_returns_the_photo() -> None:
    torch.manual_seed(0)
    photo = torch.rand(2, 3, 64, 64) * 2 - 1
    assert (MAGINet(base=8, output="ratio")(photo) - photo).abs().max() < 0.05
    assert (MAGINet(base=8, output="direct")(photo) - photo).abs().mean() > 0.1


def test_ratio_reaches_the_albedo_under_a_deep_shadow_and_a_highlight() -> None:
    net = MAGINet(base=4, output="ratio")
    photo = torch.tensor([0.15, 1.0, 0.5]).mul(2).sub(1)[None, :, None, None].expand(1, 3, 4, 4)
    for sign, expected in ((1.0, (1.0, 1.0, 1.0)), (-1.0, (0.003, 0.118, 0.05))):
        out = net.divide_light(photo, torch.full((1, 3, 4, 4), sign * net.log_range)) / 2 + 0.5
        assert out[0, :, 0, 0].tolist() == pytest.approx(expected, abs=2e-3)


def test_small_log_ratio_applies_to_a_larger_photo() -> None:
    net = MAGINet(base=4, output="ratio")
    nn.init.normal_(net.head.weight, std=0.3)
    photo = torch.rand(1, 3, 128, 128) * 2 - 1
    ratio = net.log_ratio(photo[..., ::2, ::2])
    assert ratio.shape[-1] == 64
    assert net.divide_light(photo, ratio).shape == photo.shape
    with pytest.raises(ValueError, match="ratio"):
        MAGINet(base=4, output="direct").log_ratio(photo)


def test_clamp_has_no_dead_gradient() -> None:
    x = torch.tensor([-0.5, 0.5, 1.5], requires_grad=True)
    y = straight_through_clamp(x)
    y.sum().backward()
    assert y.tolist() == [0.0, 0.5, 1.0] and x.grad is not None and x.grad.tolist() == [1, 1, 1]


def test_config_rebuilds_the_same_net() -> None:
    net = MAGINet(base=6, output="ratio", log_range=1.6, uv_octaves=1)
    twin = MAGINet(**net.config)
    twin.load_state_dict(net.state_dict())
    photo = torch.rand(1, 3, 64, 64)
    assert torch.equal(net(photo), twin(photo))
    with pytest.raises(ValueError, match="direct"):
        MAGINet(output="log")
