"""Loss terms, each a small function. Shapes: images (B, C, H, W), weight maps (B, 1, H, W).

Colours are sRGB-encoded and signed, [-1, 1]; so are data maps (a normal is its unit vector).
A weight map is 1 on the face and `outside` elsewhere; every mean is weighted by it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .config import LossWeights

AO, NORMAL, SPECULAR, TRANSLUCENCY, RAW = (slice(3 * i, 3 * i + 3) for i in range(5))
PASS_WEIGHTS = {"ambient_occlusion": 1.0, "specular": 1.0, "translucency": 1.0, "raw_diffuse": 1.0}
TILT_GAIN = 4.0  # skin normals tilt by 2-4 degrees only: their x and y carry everything


def weighted_mean(x: Tensor, weight: Tensor) -> Tensor:
    """Mean over texels and channels, weighted, then over the samples."""
    area = weight.sum((1, 2, 3)) * x.shape[1]
    return ((x * weight).sum((1, 2, 3)) / area.clamp_min(1e-6)).mean()


def masked_mse(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    return weighted_mean((prediction - target).square(), weight)


def masked_l1(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    return weighted_mean((prediction - target).abs(), weight)


def sobel(x: Tensor) -> tuple[Tensor, Tensor]:
    """Sobel gradients along columns and rows, each (B, C, H-2, W-2), divided by 8."""
    smooth_rows = x[..., :-2, :] + 2 * x[..., 1:-1, :] + x[..., 2:, :]
    smooth_cols = x[..., :-2] + 2 * x[..., 1:-1] + x[..., 2:]
    along_cols = smooth_rows[..., 2:] - smooth_rows[..., :-2]
    along_rows = smooth_cols[..., 2:, :] - smooth_cols[..., :-2, :]
    return along_cols / 8, along_rows / 8


def sobel_edge(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """L1 between Sobel gradients."""
    inner = weight[..., 1:-1, 1:-1]
    pairs = zip(sobel(prediction), sobel(target), strict=True)
    return torch.stack([masked_l1(p, t, inner) for p, t in pairs]).sum()


def multiscale_gradient(
    prediction: Tensor, target: Tensor, weight: Tensor, scales: int = 4
) -> Tensor:
    """L1 between forward differences at `scales` octaves (differences of the error, so linear)."""
    error, total = prediction - target, prediction.new_zeros(())
    for scale in range(scales):
        if scale:
            error, weight = F.avg_pool2d(error, 2), F.avg_pool2d(weight, 2)
        w_cols = torch.minimum(weight[..., 1:], weight[..., :-1])
        w_rows = torch.minimum(weight[..., 1:, :], weight[..., :-1, :])
        total = total + weighted_mean((error[..., 1:] - error[..., :-1]).abs(), w_cols)
        total = total + weighted_mean((error[..., 1:, :] - error[..., :-1, :]).abs(), w_rows)
    return total / scales


def best_gain(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Least-squares gain per image, (B, 1, 1, 1), for maps in [0, 1]."""
    dims = (1, 2, 3)
    top = (weight * prediction * target).sum(dims, keepdim=True)
    return top / (weight * prediction.square()).sum(dims, keepdim=True).clamp_min(1e-6)


def gain_invariant(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Squared error in [0, 1] after the best gain per image (limited to a factor of 3)."""
    p, t = prediction * 0.5 + 0.5, target * 0.5 + 0.5
    gain = best_gain(p, t, weight).clamp(1 / 3, 3.0)
    return weighted_mean((gain * p - t).square(), weight)


def tone(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """L1 between the mean colours of the face, maps in [0, 1]: the skin tone, whatever the detail."""
    face = (weight > 0.5).to(weight.dtype)
    area = face.sum((2, 3)).clamp_min(1.0)
    departure = ((prediction - target) * face).sum((2, 3)) / area
    return 0.5 * departure.abs().mean()


def _gauss(x: Tensor, radius: int = 5, sigma: float = 1.5) -> Tensor:
    """Separable 11x11 Gaussian without padding, (B, C, H, W) -> (B, C, H-10, W-10)."""
    steps = torch.arange(-radius, radius + 1, device=x.device, dtype=x.dtype)
    kernel = torch.exp(-0.5 * (steps / sigma).square())
    kernel = (kernel / kernel.sum()).repeat(x.shape[1], 1)
    x = F.conv2d(x, kernel[:, None, :, None], groups=x.shape[1])
    return F.conv2d(x, kernel[:, None, None, :], groups=x.shape[1])


def ssim_map(prediction: Tensor, target: Tensor, data_range: float = 1.0) -> Tensor:
    """SSIM (Wang et al. 2004), 11x11 Gaussian of 1.5, per texel: (B, C, H-10, W-10)."""
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    channels = prediction.shape[1]
    p, t = prediction, target
    mp, mt, pp, tt, pt = _gauss(torch.cat([p, t, p * p, t * t, p * t], dim=1)).split(channels, 1)
    contrast = (2 * (pt - mp * mt) + c2) / (pp - mp * mp + tt - mt * mt + c2)
    return (2 * mp * mt + c1) / (mp * mp + mt * mt + c1) * contrast


def ssim_loss(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """1 - SSIM of the channel mean of signed images."""
    p, t = (x.mean(dim=1, keepdim=True) * 0.5 + 0.5 for x in (prediction, target))
    return weighted_mean(1 - ssim_map(p, t), weight[..., 5:-5, 5:-5])


def normal_loss(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Cosine plus L1 on the tilt (x and y, amplified) of tangent-space normals in [-1, 1]."""
    p, t = F.normalize(prediction, dim=1), F.normalize(target, dim=1)
    cosine = weighted_mean(1 - (p * t).sum(dim=1, keepdim=True), weight)
    tilt = masked_l1(p[:, :2], t[:, :2], weight)
    length = weighted_mean((prediction.norm(dim=1, keepdim=True) - 1).square(), weight)
    return cosine + TILT_GAIN * tilt + 0.1 * length


def lsgan(results: list[list[Tensor]], real: bool) -> Tensor:
    """Least-squares GAN loss of the patch scores against 1 (real) or 0, summed over scales."""
    goal = 1.0 if real else 0.0
    return torch.stack([(scale[-1].float() - goal).square().mean() for scale in results]).sum()


def feature_matching(fake: list[list[Tensor]], real: list[list[Tensor]]) -> Tensor:
    """L1 between discriminator features, weighted 1/num_scales * 4/num_layers as released."""
    total = []
    for fake_scale, real_scale in zip(fake, real, strict=True):
        share = 4.0 / (len(fake_scale) - 1) / len(fake)
        pairs = zip(fake_scale[:-1], real_scale[:-1], strict=True)
        total += [share * F.l1_loss(f.float(), r.detach().float()) for f, r in pairs]
    return torch.stack(total).sum()


def albedo_terms(
    prediction: Tensor, target: Tensor, weight: Tensor, weights: LossWeights
) -> dict[str, Tensor]:
    """The weighted terms of stages I and II that need no trunk."""
    functions = {
        "mse": masked_mse,
        "l1": masked_l1,
        "edge": sobel_edge,
        "gradient": multiscale_gradient,
        "gain": gain_invariant,
        "ssim": ssim_loss,
        "tone": tone,
    }
    return {
        name: getattr(weights, name) * fn(prediction, target, weight)
        for name, fn in functions.items()
        if getattr(weights, name) > 0
    }


def pass_terms(
    prediction: Tensor, target: Tensor, weight: Tensor, weights: LossWeights
) -> dict[str, Tensor]:
    """The weighted terms of Stage III, one per pass, on (B, 15, H, W)."""
    terms: dict[str, Tensor] = {}
    if weights.l1 > 0:
        channels = (AO, SPECULAR, TRANSLUCENCY, RAW)
        for (name, gain), channel in zip(PASS_WEIGHTS.items(), channels, strict=True):
            error = masked_l1(prediction[:, channel], target[:, channel], weight)
            terms[name] = weights.l1 * gain * error
        terms["normal"] = weights.l1 * normal_loss(prediction[:, NORMAL], target[:, NORMAL], weight)
    gain = prediction.new_ones(15)
    gain[NORMAL] = TILT_GAIN
    p, t = (x * gain[None, :, None, None] for x in (prediction, target))
    if weights.mse > 0:
        terms["mse"] = weights.mse * masked_mse(p, t, weight)
    if weights.gradient > 0:
        terms["gradient"] = 5.0 * weights.gradient * multiscale_gradient(p, t, weight)
    return terms
