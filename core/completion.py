"""Unseen texels -> plausible skin: mirrored and gain-matched skin first, then a smooth fill; no seams, no black.

S: map size. Textures are (S, S, 3) float32, sRGB-encoded [0, 1]; weights (S, S) float32 [0, 1].
"""

from __future__ import annotations

import cv2
import numpy as np

MIRROR_TRUST = 0.4
"""Confidence of a texel that was only seen on the other side of the face."""
_GAIN_SIGMA = 0.05
_GAIN_LIMIT = 2.5
_FEATHER = 0.008
_RIM = 0.03
_TONE_PULL = 3e-5
"""Weight of the plain tone against skin that spreads: it takes over some 200 texels of 1024 from the face."""
_GRAIN_SIGMA = 0.0012
_ODD_COLOUR = 0.001


def pull_push(image: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Fill texels of low weight smoothly from those of high weight (Gortler et al., "The Lumigraph", 1996).

    image: (H, W, C) float32; weight: (H, W) [0, 1]; at weight 1 the image is kept. Returns (H, W, C).
    """
    values = [image * weight[..., None]]
    weights = [weight.astype(np.float32)]
    while min(weights[-1].shape) > 2:
        height, width = ((n + 1) // 2 for n in weights[-1].shape)
        values.append(cv2.resize(values[-1], (width, height), interpolation=cv2.INTER_AREA))
        weights.append(cv2.resize(weights[-1], (width, height), interpolation=cv2.INTER_AREA))
        # a coarse texel with a quarter of its area known counts as known
        full = np.minimum(weights[-1] * 4.0, 1.0)
        ratio = full / np.maximum(weights[-1], 1e-12)
        values[-1] = values[-1].reshape(height, width, -1) * ratio[..., None]
        weights[-1] = full
    out = values[-1] / np.maximum(weights[-1], 1e-12)[..., None]
    for value, known in zip(values[-2::-1], weights[-2::-1], strict=True):
        up = cv2.resize(out, known.shape[::-1], interpolation=cv2.INTER_LINEAR)
        out = value.reshape(up.shape) + up.reshape(*known.shape, -1) * (1.0 - known[..., None])
    return out.reshape(image.shape).astype(np.float32)


def _blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur; wide kernels run on a reduced copy."""
    step = max(int(sigma / 4), 1)
    if step == 1:
        return cv2.GaussianBlur(image, (0, 0), sigma)
    height, width = image.shape[:2]
    small = cv2.resize(image, (width // step, height // step), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma / step)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def mirror_gain(texture: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Per-channel gain (S, S, 3) that brings the mirrored texture to the light of this side.

    Low-frequency log-ratio where both sides are seen, carried smoothly to where only the mirror is.
    """
    mirrored, both = texture[:, ::-1], weight * weight[:, ::-1]
    size = len(texture)
    small = (max(size // 8, 16),) * 2
    sums = [
        cv2.resize(np.ascontiguousarray(x * both[..., None]), small, interpolation=cv2.INTER_AREA)
        for x in (texture, mirrored)
    ]
    count = cv2.resize(both, small, interpolation=cv2.INTER_AREA)
    sigma = _GAIN_SIGMA * small[0]
    here, there = (cv2.GaussianBlur(x, (0, 0), sigma) for x in sums)
    known = cv2.GaussianBlur(count, (0, 0), sigma)
    floor = 0.02 * known[..., None] + 1e-6
    ratio = np.log((here + floor) / (there + floor))
    ratio = np.clip(ratio, -np.log(_GAIN_LIMIT), np.log(_GAIN_LIMIT))
    trust = np.clip(known / 0.3, 0, 1) * (count > 0.01)
    filled = pull_push(ratio.astype(np.float32), np.maximum(trust, 1e-4).astype(np.float32))
    return np.exp(
        cv2.resize(
            cv2.GaussianBlur(filled, (0, 0), 1.5), (size, size), interpolation=cv2.INTER_CUBIC
        )
    )


def _pyramid_over(
    top: np.ndarray, bottom: np.ndarray, weight: np.ndarray, levels: int = 6
) -> np.ndarray:
    """Multi-band blend (Burt & Adelson 1983) of two full (S, S, 3) images; weight 1 shows ``top``."""
    difference, mask = top - bottom, weight
    bands, masks = [], []
    for _ in range(levels):
        smaller = cv2.pyrDown(difference)
        bands.append(difference - cv2.pyrUp(smaller, dstsize=difference.shape[1::-1]))
        masks.append(mask)
        difference, mask = smaller, cv2.pyrDown(mask)
    out = difference * mask[..., None]
    for band, mask in zip(bands[::-1], masks[::-1], strict=True):
        out = cv2.pyrUp(out, dstsize=band.shape[1::-1]) + band * mask[..., None]
    return bottom + out


def skin_tone(texture: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(3,) median sRGB of the well-seen texels."""
    seen = weight > 0.6
    if seen.sum() < 64:
        seen = weight >= np.quantile(weight, 0.999)
    return np.median(texture[seen], axis=0)


def _feather(weight: np.ndarray, feather_px: float) -> np.ndarray:
    """Feather a weight inwards only: it falls to 0 at its own border and never reaches past it."""
    seen = (weight > 0.3).astype(np.uint8)
    inside_px = cv2.distanceTransform(seen, cv2.DIST_L2, 3)
    return np.clip(inside_px / feather_px - 0.2, 0, 1).astype(np.float32)


def _soft_rim(weight: np.ndarray, face: np.ndarray) -> np.ndarray:
    """(S, S) [0, 1]: falls softly towards the outline of all that was seen on either side, where skin is grazed and
    hair begins and a narrow feather leaves a step. Holes inside the face keep theirs."""
    small = len(weight) // 4
    seen, oval = (
        cv2.resize(x.astype(np.float32), (small, small), interpolation=cv2.INTER_AREA)
        for x in (weight, face)
    )
    outline = (seen > 0.3) | ((oval > 0.99) & (seen[:, ::-1] > 0.3))
    reach = max(round(_RIM * small), 1)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1,) * 2)
    whole = cv2.morphologyEx(outline.astype(np.uint8), cv2.MORPH_CLOSE, kernel)
    ramp = np.clip(cv2.distanceTransform(whole, cv2.DIST_L2, 3) / (_RIM * small), 0, 1)
    ramp = ramp * ramp * (3 - 2 * ramp)
    return cv2.resize(ramp, weight.shape[::-1], interpolation=cv2.INTER_LINEAR)


def tone_likeness(texture: np.ndarray, tone: np.ndarray) -> np.ndarray:
    """(S, S) [_ODD_COLOUR, 1]: low for hair, brows, lips, highlights, which should not spread into a fill."""
    away = np.log(texture + 0.05) - np.log(tone + 0.05)
    shade = away.mean(-1)
    colour = np.abs(away - shade[..., None]).max(-1)
    like = np.exp(-((shade / 0.5) ** 2) - (colour / 0.12) ** 2)
    return np.maximum(like, _ODD_COLOUR).astype(np.float32)


def grain(texture: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(S, S) factor around 1: noise as fine and as strong as the skin's own where weight (S, S) is high."""
    size = len(texture)
    log = np.log(texture.mean(-1) + 0.05)
    sigma = max(_GRAIN_SIGMA * size, 0.6)

    def band(image: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(image, (0, 0), sigma) - cv2.GaussianBlur(image, (0, 0), 3 * sigma)

    skin = band(log.astype(np.float32))[weight > 0.5 * weight.max()]
    noise = band(np.random.default_rng(0).normal(size=(size, size)).astype(np.float32))
    strength = 1.48 * float(np.median(np.abs(skin - np.median(skin))))
    return np.exp(noise * (min(strength, 0.03) / float(noise.std()))).astype(np.float32)


def complete(
    texture: np.ndarray,
    weight: np.ndarray,
    face: np.ndarray,
    aperture: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Complete a half-seen texture: (texture (S, S, 3), confidence (S, S)).

    weight: how far each texel was seen; face: (S, S) [0, 1] the face oval, whose medians give the skin tone;
    aperture: (S, S) [0, 1] slits of lids and lips, filled from both of their rims without a wide feather.
    Layers from the back: smooth fill around the tone, mirrored skin with its gain, the seen skin; each is
    extended beyond its border before the multi-band blend, so nothing of a lower layer's edge shows.
    """
    size = len(texture)
    tone = skin_tone(texture, weight * face * (1 - aperture))
    seen = _feather(np.maximum(weight, (aperture > 0.5) * 1.0), _FEATHER * size)
    seen = seen * _soft_rim(weight, face)
    shut = 1 - cv2.GaussianBlur(aperture, (0, 0), 0.0015 * size)
    seen = seen * np.clip(2 * shut - 1, 0, 1)
    mirrored = np.clip(texture[:, ::-1] * mirror_gain(texture, seen), 0, 1)
    mirror_seen = np.ascontiguousarray(seen[:, ::-1])

    known = np.maximum(seen, mirror_seen)
    base = np.where((seen >= mirror_seen)[..., None], texture, mirrored)
    # only low frequencies of what looks like skin may spread, and they fade into the skin tone
    spread = known * tone_likeness(base, tone)
    pull = np.maximum(spread, _TONE_PULL)
    tinted = (base * spread[..., None] + tone * (pull - spread)[..., None]) / pull[..., None]
    fill = _blur(pull_push(tinted.astype(np.float32), pull), 0.012 * size)
    fill = fill * grain(texture, spread * face * (seen > 0.9))[..., None]

    top_mirror = pull_push(
        np.ascontiguousarray(mirrored.astype(np.float32)), np.maximum(mirror_seen, 1e-5)
    )
    out = _pyramid_over(top_mirror, fill, mirror_seen)
    top_seen = pull_push(texture, np.maximum(seen, 1e-5))
    out = _pyramid_over(top_seen, out, seen)
    confidence = seen + (1 - seen) * MIRROR_TRUST * mirror_seen
    return np.clip(out, 0, 1).astype(np.float32), confidence.astype(np.float32)
