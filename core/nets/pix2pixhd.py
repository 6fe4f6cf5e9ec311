"""Stage III: Pix2PixHD's global generator and multi-scale discriminator (Wang et al. 2018)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import apply_log_ratio, resize_bilinear, to_signed, to_unit, uv_encoding

NUM_OUTPUTS = 15  # five passes as RGB triples: AO, normal, specular, translucency, raw diffuse
RAW_DIFFUSE = slice(12, 15)
LOCAL_SCALES = (4, 16, 64)
LIGHT_CELLS = 8


class GeneratorBlock(nn.Module):
    """Residual block of the released generator: reflection pad, conv, InstanceNorm, ReLU, twice."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3)
        self.conv2 = nn.Conv2d(channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(_instance_norm(self.conv1(F.pad(x, (1, 1, 1, 1), mode="reflect"))))
        return x + _instance_norm(self.conv2(F.pad(y, (1, 1, 1, 1), mode="reflect")))


class Pix2PixHD(nn.Module):
    """(B, 3, H, W) albedo -> (B, 15, H, W) passes, all in [-1, 1]; H and W multiples of 2^num_down
    (with local_width, of twice that).

    The global generator as released: 7x7 stem, `num_down` stride-2 convolutions, `num_blocks`
    residual blocks, transposed convolutions back, 7x7 head, tanh; InstanceNorm without affine,
    reflection padding, N(0, 0.02) weights. ngf 64, 4 down, 9 blocks: about 182 M parameters.

    level_skip: InstanceNorm divides the absolute level away, and with it the skin tone. True (ours)
        brings it back twice: the raw diffuse triple is a log ratio applied to the albedo,
        raw01 = (albedo01 + eps) * exp(log_range * tanh) - eps; and a small MLP of the albedo's mean
        colour scales and shifts every normalised layer of the decoder (zero at the start).
    guide: True (ours) joins the photo texture (B, 3, H, W) to the input, so wrinkles that show as
        shading, not as colour, can reach the normals. False is the paper.
    uv_octaves: Fourier features of the UV position joined to the stem (0: the paper).
    prior_size: side of a learned map per channel, in UV, added before the tanh (0: the paper).
        Every face is aligned in UV, so the mean of each pass can sit there (`set_prior`) and the
        network has only this face's departure to learn.
    local_width: channels of a branch at full and quarter resolution beside the generator, added
        before the tanh (0: the paper). Whatever the generator knows passes a bottleneck
        2^num_down times smaller; a hair or a crease is seen at once where it lies. As in the
        released coarse-to-fine generator, the global one then works at half the side.
    """

    def __init__(
        self,
        ngf: int = 64,
        num_down: int = 4,
        num_blocks: int = 9,
        level_skip: bool = True,
        guide: bool = False,
        uv_octaves: int = 0,
        prior_size: int = 0,
        local_width: int = 0,
        log_range: float = 1.0,
        eps: float = 0.02,
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "ngf": ngf,
            "num_down": num_down,
            "num_blocks": num_blocks,
            "level_skip": level_skip,
            "guide": guide,
            "uv_octaves": uv_octaves,
            "prior_size": prior_size,
            "local_width": local_width,
            "log_range": log_range,
            "eps": eps,
        }
        self.level_skip, self.guide, self.uv_octaves = level_skip, guide, uv_octaves
        self.log_range, self.eps = log_range, eps
        widths = [ngf * 2**i for i in range(num_down + 1)]
        inputs = (6 if guide else 3) + 4 * uv_octaves
        self.stem = nn.Conv2d(inputs, widths[0], 7)
        self.downs = nn.ModuleList(nn.Conv2d(c, 2 * c, 3, stride=2, padding=1) for c in widths[:-1])
        self.blocks = nn.ModuleList(GeneratorBlock(widths[-1]) for _ in range(num_blocks))
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(2 * c, c, 3, stride=2, padding=1, output_padding=1)
            for c in widths[-2::-1]
        )
        self.head = nn.Conv2d(ngf, NUM_OUTPUTS, 7)
        init_pix2pixhd(self)
        self.local: LocalBranch | None = None
        if local_width:
            self.local = LocalBranch(inputs, local_width, 2 if guide else 1)
        self.prior: nn.Parameter | None = None
        if prior_size:
            self.prior = nn.Parameter(torch.zeros(1, NUM_OUTPUTS, prior_size, prior_size))
            with torch.no_grad():
                self.head.weight.mul_(0.1)
        if level_skip:
            self.level_hidden = nn.Linear(3, 64)
            self.level_out = nn.Linear(64, 2 * sum(widths[:-1]))
            nn.init.zeros_(self.level_out.weight)
            nn.init.zeros_(self.level_out.bias)
            with torch.no_grad():
                self.head.weight[RAW_DIFFUSE].mul_(0.05)

    @torch.no_grad()
    def set_prior(self, mean: Tensor) -> None:
        """Start from mean passes, (1, 15, H, W) in [-1, 1]; the level skip keeps its own ratio."""
        if self.prior is None:
            raise ValueError("expected a Pix2PixHD with prior_size > 0; got prior_size=0")
        size = (self.prior.shape[-2], self.prior.shape[-1])
        start = torch.atanh(F.interpolate(mean, size=size, mode="area").clamp(-0.98, 0.98))
        if self.level_skip:
            start[:, RAW_DIFFUSE] = 0.0
        self.prior.copy_(start)

    def _level(self, albedo: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Scale and shift, each (B, C, 1, 1), for every decoder layer, from the mean colour."""
        face = (albedo.amax(dim=1, keepdim=True) > -0.96).to(albedo.dtype)  # not the black surround
        mean = (albedo * face).sum(dim=(2, 3)) / face.sum(dim=(2, 3)).clamp_min(1.0)
        values = self.level_out(F.relu(self.level_hidden(mean)))[:, :, None, None]
        widths = [up.out_channels for up in self.ups for _ in range(2)]  # type: ignore[misc]
        parts = values.split(widths, dim=1)  # type: ignore[arg-type]
        return list(zip(parts[0::2], parts[1::2], strict=True))

    def joined(self, albedo: Tensor, photo: Tensor | None = None) -> Tensor:
        """What the first layers see: albedo, with guide the photo, with uv_octaves the UV features."""
        x = albedo
        if self.guide:
            if photo is None or photo.shape != albedo.shape:
                got = None if photo is None else tuple(photo.shape)
                raise ValueError(f"expected a guide photo of {tuple(albedo.shape)}; got {got}")
            x = torch.cat([x, photo], dim=1)
        if self.uv_octaves:
            x = torch.cat([x, uv_encoding(x, self.uv_octaves)], dim=1)
        return x

    def forward(self, albedo: Tensor, photo: Tensor | None = None) -> Tensor:
        """albedo and, with guide=True, photo: (B, 3, H, W) in [-1, 1]. Returns (B, 15, H, W)."""
        x = self.joined(albedo, photo)
        here = self.local(x).float() if self.local is not None else None
        if here is not None:
            x = F.avg_pool2d(x, 2)
        y = F.relu(_instance_norm(self.stem(F.pad(x, (3, 3, 3, 3), mode="reflect"))))
        for down in self.downs:
            y = F.relu(_instance_norm(down(y)))
        for block in self.blocks:
            y = block(y)
        levels = self._level(albedo) if self.level_skip else [None] * len(self.ups)
        for up, level in zip(self.ups, levels, strict=True):
            y = _instance_norm(up(y))
            if level is not None:
                y = y * (1.0 + level[0]) + level[1]
            y = F.relu(y)
        y = self.head(F.pad(y, (3, 3, 3, 3), mode="reflect")).float()
        if here is not None:
            y = resize_bilinear(y, (here.shape[-2], here.shape[-1])) + here
        if self.prior is not None:
            y = y + resize_bilinear(self.prior, (y.shape[-2], y.shape[-1]))
        y = torch.tanh(y)
        if not self.level_skip:
            return y
        raw = apply_log_ratio(to_unit(albedo), self.log_range * y[:, RAW_DIFFUSE], self.eps)
        return torch.cat([y[:, : RAW_DIFFUSE.start], to_signed(raw)], dim=1)


def _leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.1)


class LocalBranch(nn.Module):
    """(B, inputs, H, W) -> (B, 15, H, W) at full and quarter resolution; the last layer starts at zero.

    Looks only at what departs from the surroundings: the log of each picture's mean channel less its mean over
    4, 16 and 64 texels, so neither tone nor broad light is seen; the other inputs (UV) are passed on. Which way
    a tilt darkens depends on where the light comes from: the pictures' 8 x 8 cell means, less their mean,
    scale and shift the features (FiLM, Perez et al. 2018; none at the start).
    """

    def __init__(self, inputs: int, width: int, num_pictures: int) -> None:
        super().__init__()
        self.num_pictures = num_pictures
        channels = len(LOCAL_SCALES) * num_pictures
        features = 2 * width + channels
        self.fine = nn.Conv2d(channels, 2 * width, 3, padding=1)
        self.coarse1 = nn.Conv2d(inputs - 3 * num_pictures + channels, 2 * width, 3, padding=1)
        self.coarse2 = nn.Conv2d(2 * width, width, 3, padding=1)
        self.join = nn.Conv2d(3 * width, 2 * width, 3, padding=1)
        self.deep = nn.Conv2d(2 * width, 2 * width, 3, padding=1)
        self.light_hidden = nn.Linear(num_pictures * LIGHT_CELLS**2, 64)
        self.light_out = nn.Linear(64, 2 * features)
        self.last = nn.Conv2d(features, NUM_OUTPUTS, 1)
        for conv in (self.fine, self.coarse1, self.coarse2, self.join, self.deep):
            nn.init.kaiming_normal_(conv.weight, a=0.1)
        for layer in (self.last, self.light_out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def tones(self, x: Tensor) -> Tensor:
        """(B, 3 * num_pictures + ..., H, W) in [-1, 1] -> logs of the mean channels, (B, num_pictures, H, W)."""
        pictures = x[:, : 3 * self.num_pictures].float().unflatten(1, (self.num_pictures, 3))
        return torch.log(to_unit(pictures).mean(2).clamp_min(0) + 0.03)

    def departures(self, tone: Tensor) -> Tensor:
        """(B, num_pictures, H, W) -> (B, scales * num_pictures, H, W), about [-2, 2]."""
        size = (tone.shape[-2], tone.shape[-1])
        around = [resize_bilinear(F.avg_pool2d(tone, min(k, *size)), size) for k in LOCAL_SCALES]
        return (2.0 * (tone.repeat(1, len(around), 1, 1) - torch.cat(around, 1))).clamp(-2, 2)

    def light(self, tone: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and shift of every feature, each (B, features, 1, 1), from the broad pattern of light."""
        cells = F.adaptive_avg_pool2d(tone, LIGHT_CELLS)
        cells = (cells - cells.mean((2, 3), keepdim=True)).flatten(1)
        values = self.light_out(_leaky(self.light_hidden(cells)))[:, :, None, None]
        scale, shift = values.chunk(2, dim=1)
        return 1.0 + scale, shift

    def features(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, 2 * width + scales * num_pictures, H, W), before the last layer."""
        tone = self.tones(x)
        detail = self.departures(tone)
        rest = x[:, 3 * self.num_pictures :]
        fine = _leaky(self.fine(detail))
        coarse = F.avg_pool2d(torch.cat([detail, rest], dim=1), 4)
        coarse = _leaky(self.coarse2(_leaky(self.coarse1(coarse))))
        coarse = resize_bilinear(coarse, (x.shape[-2], x.shape[-1]))
        joined = _leaky(self.join(torch.cat([fine, coarse], dim=1)))
        joined = joined + _leaky(self.deep(joined))
        scale, shift = (v.to(joined.dtype) for v in self.light(tone))
        return torch.cat([joined, detail.to(joined.dtype)], dim=1) * scale + shift

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.features(x))


class MultiscaleDiscriminator(nn.Module):
    """`num_scales` 70x70 PatchGANs on albedo and passes together, (B, 18, H, W) in [-1, 1].

    Scale s sees the input average-pooled s times. Returns per scale the list of features of all
    layers, the last being the (B, 1, h, w) patch scores (no sigmoid: LSGAN).
    """

    def __init__(
        self, in_channels: int = 18, ndf: int = 64, num_layers: int = 3, num_scales: int = 2
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "in_channels": in_channels,
            "ndf": ndf,
            "num_layers": num_layers,
            "num_scales": num_scales,
        }
        self.scales = nn.ModuleList(
            _patch_gan(in_channels, ndf, num_layers) for _ in range(num_scales)
        )
        init_pix2pixhd(self)

    def forward(self, x: Tensor) -> list[list[Tensor]]:
        results = []
        for i, layers in enumerate(self.scales):
            if i:
                x = F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
            y, features = x, []
            for layer in layers:  # type: ignore[union-attr]
                y = layer(y)
                features.append(y)
            results.append(features)
        return results


def _patch_gan(in_channels: int, ndf: int, num_layers: int) -> nn.ModuleList:
    """Kernel 4, padding 2 as released; stride 2 but for the last two; InstanceNorm from layer 2."""
    layers = [nn.Sequential(nn.Conv2d(in_channels, ndf, 4, 2, 2), nn.LeakyReLU(0.2))]
    width = ndf
    for i in range(1, num_layers + 1):
        wider = min(2 * width, 512)
        stride = 2 if i < num_layers else 1
        layers.append(
            nn.Sequential(
                nn.Conv2d(width, wider, 4, stride, 2), nn.InstanceNorm2d(wider), nn.LeakyReLU(0.2)
            )
        )
        width = wider
    layers.append(nn.Sequential(nn.Conv2d(width, 1, 4, 1, 2)))
    return nn.ModuleList(layers)


def _instance_norm(x: Tensor) -> Tensor:
    return F.instance_norm(x)


def init_pix2pixhd(module: nn.Module) -> None:
    """N(0, 0.02) convolution weights, zero bias (the release leaves torch's default bias)."""
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(layer.weight, std=0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
