"""Parts shared by the networks. Shape legend: B batch, C channels, H, W rows and columns of a map.

Colour images go in and out sRGB-encoded and scaled to [-1, 1] ("signed"); `to_unit` / `to_signed`
name the two directions.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def scaled_width(paper_width: int, base: int, paper_base: int = 64) -> int:
    """The paper's channel count at `paper_base`, scaled to `base`; rounded, at least 1."""
    return max(1, round(paper_width * base / paper_base))


def to_unit(signed: Tensor) -> Tensor:
    """[-1, 1] -> [0, 1]."""
    return signed * 0.5 + 0.5


def to_signed(unit: Tensor) -> Tensor:
    """[0, 1] -> [-1, 1]."""
    return unit * 2.0 - 1.0


def straight_through_clamp(x: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Clamp whose gradient is 1 everywhere, so a value beyond the range can be pulled back."""
    return x + (x.clamp(low, high) - x).detach()


def apply_log_ratio(unit: Tensor, log_ratio: Tensor, eps: float) -> Tensor:
    """`(unit + eps) * exp(log_ratio) - eps`, clamped to [0, 1]; a zero ratio returns `unit`.

    unit: (B, 3, H, W) sRGB-encoded [0, 1]; log_ratio: same shape. Computed in float32.
    """
    unit, log_ratio = unit.float(), log_ratio.float()
    return straight_through_clamp((unit + eps) * log_ratio.exp() - eps)


def resize_bilinear(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear resize to (H, W), pixel centres at +0.5, in x's own precision under autocast too."""
    if x.is_meta:
        return x.new_empty((*x.shape[:2], *size))  # autocast knows no meta device
    with torch.autocast(device_type=x.device.type, enabled=False):
        return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


def uv_encoding(x: Tensor, octaves: int) -> Tensor:
    """Fourier features of the UV position: (B, 4 * octaves, H, W) for x (B, C, H, W).

    Octave i holds sin and cos of pi * 2^i * (u, v), u right and v up in (0, 1). Depends on the
    position in the layout only, not on the resolution. Not in the paper; every face is aligned in
    UV, so the net need not spend capacity on finding out where it is.
    """
    height, width = x.shape[-2:]
    u = (torch.arange(width, device=x.device, dtype=torch.float32) + 0.5) / width
    v = 1.0 - (torch.arange(height, device=x.device, dtype=torch.float32) + 0.5) / height
    features = []
    for i in range(octaves):
        scale = math.pi * 2.0**i
        for wave in (torch.sin, torch.cos):
            features.append(wave(scale * u)[None, :].expand(height, width))
            features.append(wave(scale * v)[:, None].expand(height, width))
    return torch.stack(features).to(x.dtype)[None].expand(x.shape[0], -1, -1, -1)


class ResBlock(nn.Module):
    """x + conv3x3(act(conv3x3(act(x)))), widths unchanged.

    No normalisation: Instance- and GroupNorm divide the absolute level away, and the level is the
    skin tone. The second convolution starts small instead, so the block starts near the identity.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        init_conv(self.conv1)
        init_conv(self.conv2, gain=0.2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.leaky_relu(x, 0.1))
        return x + self.conv2(F.leaky_relu(y, 0.1))


class ChannelSpatialGate(nn.Module):
    """CBAM-like attention (Woo et al. 2018, as the paper trims it), both gates multiplied onto x.

    Channel gate: global average, MLP with reduction 8, sigmoid. Spatial gate: channel average and
    maximum, 1x1 convolution, sigmoid.
    """

    def __init__(self, channels: int, reduction: int = 8) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.down = nn.Linear(channels, hidden)
        self.up = nn.Linear(hidden, channels)
        self.spatial = nn.Conv2d(2, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        channel = torch.sigmoid(self.up(F.relu(self.down(x.mean(dim=(2, 3))))))[:, :, None, None]
        pooled = torch.cat([x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)], dim=1)
        return x * channel * torch.sigmoid(self.spatial(pooled))


def init_conv(conv: nn.Conv2d, gain: float = 1.0) -> None:
    """He initialisation for leaky ReLU 0.1, scaled by `gain`; bias zero."""
    nn.init.kaiming_normal_(conv.weight, a=0.1, nonlinearity="leaky_relu")
    with torch.no_grad():
        conv.weight.mul_(gain)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)


def count_parameters(module: nn.Module) -> int:
    """Number of trainable values."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
