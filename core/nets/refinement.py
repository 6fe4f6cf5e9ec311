"""Stage II: RefinementNet, from the 512 albedo to the 1024 albedo."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import (
    init_conv,
    resize_bilinear,
    scaled_width,
    straight_through_clamp,
    to_signed,
    to_unit,
)


class RefinementNet(nn.Module):
    """(B, 3, H, W) albedo -> (B, 3, 2H, 2W) albedo, both sRGB-encoded in [-1, 1].

    Bilinear x2, 3x3 3->64, ReLU, 3x3 64->64, ReLU, 1x1 64->3. `base` 64 is the paper.

    residual: True (the paper's text) adds the result to the upsampled albedo, and the last layer
        starts at about zero so the untrained net is a bilinear resize; False (its Eq. 4) does not.
    guide: our departure, off in the paper's form. An x2 resize cannot know what was lost between
        512 and 1024. With guide=True the 1024 photo texture is given too, and the stem sees
        (6 channels) the fine detail that the photo has and its half-size version lacks, as a ratio
        carried over to the albedo's level. Only that band is shown, so no light comes back.
    """

    def __init__(
        self, base: int = 64, residual: bool = True, guide: bool = False, eps: float = 0.02
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "base": base,
            "residual": residual,
            "guide": guide,
            "eps": eps,
        }
        self.residual, self.guide, self.eps = residual, guide, eps
        width = scaled_width(64, base)
        self.conv1 = nn.Conv2d(6 if guide else 3, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.head = nn.Conv2d(width, 3, 1)
        init_conv(self.conv1)
        init_conv(self.conv2)
        if residual:
            nn.init.normal_(self.head.weight, std=1e-3)
            nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def detail(self, upsampled: Tensor, photo: Tensor) -> Tensor:
        """Fine detail of the photo at the level of the albedo, both (B, 3, 2H, 2W) in [-1, 1]."""
        size = (photo.shape[-2], photo.shape[-1])
        unit = to_unit(photo)
        coarse = resize_bilinear(F.avg_pool2d(unit, 2), size)
        ratio = (unit + self.eps) / (coarse + self.eps)
        return (to_unit(upsampled) + self.eps) * (ratio.clamp(0.25, 4.0) - 1.0) * 2.0

    def forward(self, albedo: Tensor, photo: Tensor | None = None) -> Tensor:
        """albedo (B, 3, H, W); photo (B, 3, 2H, 2W), with guide=True only. Returns 2H x 2W."""
        size = (2 * albedo.shape[-2], 2 * albedo.shape[-1])
        upsampled = resize_bilinear(albedo, size)
        x = upsampled
        if self.guide:
            if photo is None or tuple(photo.shape[-2:]) != size:
                got = None if photo is None else tuple(photo.shape[-2:])
                raise ValueError(f"expected a guide photo of {size}; got {got}")
            x = torch.cat([upsampled, self.detail(upsampled, photo)], dim=1)
        y = F.relu(self.conv1(x))
        y = self.head(F.relu(self.conv2(y))).float()
        if self.residual:
            y = y + upsampled
        return to_signed(straight_through_clamp(to_unit(y)))
