"""Stage I: MAGINet, the attention-gated U-Net that takes the light out of an unwrapped photo."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import (
    ChannelSpatialGate,
    ResBlock,
    apply_log_ratio,
    init_conv,
    resize_bilinear,
    scaled_width,
    to_signed,
    to_unit,
    uv_encoding,
)

ENCODER_WIDTHS = (64, 128, 256, 256, 384, 512, 512)  # at base 64: E0..E5 and the bottleneck
DECODER_WIDTHS = (384, 256, 256, 128, 64, 64)  # at base 64: D5..D0
INITIAL_GATE = 0.5


class SkipGate(nn.Module):
    """alpha = tanh(a), one learned a >= 0 per skip, alpha starting at 0.5.

    a is kept non-negative as |a|, whose gradient never dies (a clamp's does at zero).
    """

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.atanh(torch.tensor(INITIAL_GATE)))

    @property
    def alpha(self) -> Tensor:
        return torch.tanh(self.a.abs())

    def forward(self, x: Tensor) -> Tensor:
        return x * self.alpha.to(x.dtype)


class MAGINet(nn.Module):
    """(B, 3, H, W) unwrapped photo -> (B, 3, H, W) albedo, both sRGB-encoded in [-1, 1].

    Six levels of ResBlock + stride-2 convolution, gated bottleneck, decoder with learned skip
    gates, 1x1 convolution and tanh. Fully convolutional; the paper's size is 512, whose
    bottleneck is 8 x 8. `base` 64 is the paper (about 23 M parameters).

    output: "direct" (the paper): tanh is the albedo. "ratio": tanh times `log_range` is a
        per-channel log ratio between albedo and photo in the sRGB-encoded domain:
        albedo01 = (photo01 + eps) * exp(log_range * tanh) - eps. The head starts at about zero, so
        the untrained net returns the photo; texture and skin tone come from the photo itself.
    uv_octaves: Fourier features of the UV position joined to the stem (0: the paper).
    """

    def __init__(
        self,
        base: int = 64,
        output: str = "direct",
        log_range: float = 2.0,
        eps: float = 0.02,
        uv_octaves: int = 0,
    ) -> None:
        super().__init__()
        if output not in ("direct", "ratio"):
            raise ValueError(f"expected output 'direct' or 'ratio'; got {output!r}")
        self.config: dict[str, Any] = {
            "base": base,
            "output": output,
            "log_range": log_range,
            "eps": eps,
            "uv_octaves": uv_octaves,
        }
        self.output, self.log_range, self.eps, self.uv_octaves = output, log_range, eps, uv_octaves
        enc = [scaled_width(w, base) for w in ENCODER_WIDTHS]
        dec = [scaled_width(w, base) for w in DECODER_WIDTHS]
        self.stem = nn.Conv2d(3 + 4 * uv_octaves, enc[0], 3, padding=1)
        self.blocks = nn.ModuleList(ResBlock(c) for c in enc[:-1])
        self.downs = nn.ModuleList(
            nn.Conv2d(c_in, c_out, 3, stride=2, padding=1)
            for c_in, c_out in zip(enc[:-1], enc[1:], strict=True)
        )
        self.bottleneck = ChannelSpatialGate(enc[-1])
        skips = enc[-2::-1]  # E5 .. E0
        inputs = [enc[-1], *dec[:-1]]
        self.gates = nn.ModuleList(SkipGate() for _ in skips)
        self.ups = nn.ModuleList(
            nn.Conv2d(c_in + c_skip, c_out, 3, padding=1)
            for c_in, c_skip, c_out in zip(inputs, skips, dec, strict=True)
        )
        self.head = nn.Conv2d(dec[-1], 3, 1)
        for conv in (self.stem, *self.downs, *self.ups):
            init_conv(conv)  # type: ignore[arg-type]
        if output == "ratio":
            nn.init.normal_(self.head.weight, std=1e-3)
        if self.head.bias is not None:
            nn.init.zeros_(self.head.bias)

    def gate_values(self) -> list[float]:
        """alpha of the six skips, D5 .. D0."""
        return [float(gate.alpha.detach()) for gate in self.gates]  # type: ignore[arg-type]

    def _tanh_head(self, x: Tensor) -> Tensor:
        if self.uv_octaves:
            x = torch.cat([x, uv_encoding(x, self.uv_octaves)], dim=1)
        y = self.stem(x)
        skips = []
        for block, down in zip(self.blocks, self.downs, strict=True):
            y = block(y)
            skips.append(y)
            y = F.leaky_relu(down(y), 0.1)
        y = self.bottleneck(y)
        for gate, up in zip(self.gates, self.ups, strict=True):
            skip = skips.pop()
            y = torch.cat([resize_bilinear(y, skip.shape[-2:]), gate(skip)], dim=1)
            y = F.leaky_relu(up(y), 0.1)
        return torch.tanh(self.head(y).float())

    def log_ratio(self, x: Tensor) -> Tensor:
        """The log ratio albedo / photo, (B, 3, H, W), "ratio" output only.

        Smooth, so a net trained at a small size may be asked for it there and the result be
        resized and handed to `divide_light` with a larger photo.
        """
        if self.output != "ratio":
            raise ValueError("expected a MAGINet with output='ratio'; got output='direct'")
        return self.log_range * self._tanh_head(x)

    def forward(self, x: Tensor) -> Tensor:
        if self.output == "direct":
            return self._tanh_head(x)
        return self.divide_light(x, self.log_ratio(x))

    def divide_light(self, x: Tensor, log_ratio: Tensor) -> Tensor:
        """Photo (B, 3, H, W) in [-1, 1] and log ratio of any size -> albedo in [-1, 1]."""
        if log_ratio.shape[-2:] != x.shape[-2:]:
            log_ratio = resize_bilinear(log_ratio, (x.shape[-2], x.shape[-1]))
        return to_signed(apply_log_ratio(to_unit(x), log_ratio, self.eps))
