"""Textures of one person from several photos -> one: levelled to what they agree on, each place from its best photo.

Every photo's light-free texture still has its own exposure and a remainder of its light. On small copies of all of
them a consensus is found; each photo's smooth departure from it is taken off, places where it departs sharply (hair, a
hand, a highlight) lose their weight, and each region is given to the photo that shows it best. The full-size textures
are then joined by those regions in frequency bands, one photo at a time, so memory does not grow with their number
except by the small copies, 1 MB a photo. N: photos, S: map size, L: side of the small copies. Textures are float32
(S, S, 3), sRGB-encoded [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from .completion import pull_push

_SMALL_PX = 256
_FLOOR = 0.05
_FIELD_SIGMA = 0.05
_FIELD_LIMIT = 1.2
_ROUNDS = 4
_DISAGREE = 0.12
_REGION_SIGMA = 0.025
_BORDER_SIGMA = 0.008
_PREFERENCE = 1.3
_LEVELS = 6


@dataclass(frozen=True)
class SmallCopy:
    """What is kept of a photo's texture while the consensus is sought."""

    log: np.ndarray
    """(L, L, 3) float32 log of the texture."""
    weight: np.ndarray
    """(L, L) [0, 1] how squarely and finely each texel was seen; 0 unseen."""
    trust: np.ndarray
    """(L, L) [0, 1] the texture's confidence, which also counts mirrored skin a little."""

    @classmethod
    def of(
        cls, texture: np.ndarray, visibility: np.ndarray, density: np.ndarray, trust: np.ndarray
    ) -> SmallCopy:
        """From (S, S, 3) and (S, S) maps; density: photo pixels per texel side."""
        weight = visibility**2 * np.clip(density, 0.02, 1.0)
        return cls(_reduced(_log(texture)), _reduced(weight), _reduced(trust))


@dataclass(frozen=True)
class Plan:
    """How the textures are to be joined."""

    fields: tuple[np.ndarray, ...]
    """Per photo (L, L, 3): its departure from the consensus, log, smooth."""
    regions: tuple[np.ndarray, ...]
    """Per photo (L, L) [0, 1]: where it is shown; they sum to 1."""
    shares: np.ndarray
    """(N,) part of the seen face that each photo supplies; sums to 1."""


def plan_merge(copies: Sequence[SmallCopy], used: np.ndarray, face: np.ndarray) -> Plan:
    """Consensus, fields and regions of N small copies.

    used: (N,) bool, photos that may be taken, at least one; face: (L, L) [0, 1], where the level and the shares are
    read.
    """
    taken = [copies[k] for k in np.flatnonzero(used)]
    seen = np.stack([copy.weight for copy in taken])
    known = seen + 1e-3 * np.stack([copy.trust for copy in taken]) + 1e-6
    logs = np.stack([copy.log for copy in taken])
    levels = np.stack([_level(log, w * face) for log, w in zip(logs, seen, strict=True)])
    level = np.average(levels, axis=0, weights=(seen * face).sum((1, 2)) + 1e-6)
    fields = np.zeros_like(logs) + (levels - level)[:, None, None]
    agree = np.ones_like(seen)
    for _ in range(_ROUNDS):
        common = _consensus(logs - fields, known * agree)
        for k, log in enumerate(logs):
            rest = np.clip(log - fields[k] - common, -_FIELD_LIMIT, _FIELD_LIMIT)
            shift = _smooth(rest, seen[k] * agree[k])
            fields[k] += shift
            sharp = np.abs(cv2.GaussianBlur(rest - shift, (0, 0), 1.5)).max(-1)
            others = (known * agree).sum(0) - known[k] * agree[k]
            doubt = np.clip(others / np.maximum(known[k], 1e-6), 0, 1)
            agree[k] = 1 - doubt * (1 - np.exp(-((sharp / _DISAGREE) ** 2)))
    regions = _regions(known * agree)
    shown = np.stack(regions) * np.minimum(seen.max(0) * 4, 1) * face
    shares = np.zeros(len(copies))
    shares[used] = shown.sum((1, 2)) / max(float(shown.sum()), 1e-9)
    order = np.cumsum(used) - 1
    blank = np.zeros_like(seen[0])
    return Plan(
        tuple(fields[order[k]] if used[k] else np.zeros_like(logs[0]) for k in range(len(copies))),
        tuple(regions[order[k]] if used[k] else blank for k in range(len(copies))),
        shares,
    )


class Merge:
    """Joins full-size textures by a plan, one at a time: ``add`` each, then ``texture``."""

    def __init__(self, plan: Plan, size: int) -> None:
        self._plan, self._size = plan, size
        self._bands: list[np.ndarray] = []
        self._masks: list[np.ndarray] = []

    def add(self, index: int, texture: np.ndarray) -> None:
        """Add photo ``index``'s texture (S, S, 3)."""
        image = _log(texture) - _enlarged(self._plan.fields[index], self._size)
        mask = _enlarged(self._plan.regions[index], self._size)
        bands, masks = [], []
        for _ in range(_LEVELS):
            smaller = cv2.pyrDown(image)
            bands.append(image - cv2.pyrUp(smaller, dstsize=image.shape[1::-1]))
            masks.append(mask)
            image, mask = smaller, cv2.pyrDown(mask)
        bands, masks = [*bands, image], [*masks, mask]
        weighted = [band * m[..., None] for band, m in zip(bands, masks, strict=True)]
        if self._bands:
            weighted = [a + b for a, b in zip(self._bands, weighted, strict=True)]
            masks = [a + b for a, b in zip(self._masks, masks, strict=True)]
        self._bands, self._masks = weighted, masks

    def texture(self) -> np.ndarray:
        """The joined texture (S, S, 3)."""
        bands = [
            band / np.maximum(mask, 1e-6)[..., None]
            for band, mask in zip(self._bands, self._masks, strict=True)
        ]
        out = bands.pop()
        for band in bands[::-1]:
            out = cv2.pyrUp(out, dstsize=band.shape[1::-1]) + band
        return np.clip(np.exp(out) - _FLOOR, 0, 1).astype(np.float32)


def _log(texture: np.ndarray) -> np.ndarray:
    return np.log(texture + _FLOOR).astype(np.float32)


def _reduced(image: np.ndarray) -> np.ndarray:
    size = (_SMALL_PX, _SMALL_PX)
    return cv2.resize(image.astype(np.float32), size, interpolation=cv2.INTER_AREA)


def _enlarged(image: np.ndarray, size: int) -> np.ndarray:
    return cv2.resize(image.astype(np.float32), (size, size), interpolation=cv2.INTER_LINEAR)


def _level(log: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(3,) median of the well-seen texels."""
    seen = weight >= 0.5 * weight.max()
    return np.median(log[seen], axis=0)


def _consensus(logs: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(L, L, 3) mean of (N, L, L, 3), made robust where photos disagree: one step from the weighted median."""
    order = np.argsort(logs.mean(-1), axis=0)
    ranked = np.take_along_axis(weight, order, 0)
    middle = (np.cumsum(ranked, 0) < 0.5 * ranked.sum(0)).sum(0)
    median = np.take_along_axis(order, np.minimum(middle, len(order) - 1)[None], 0)
    centre = np.take_along_axis(logs, median[..., None], 0)[0]
    near = weight / (1 + (np.abs(logs - centre).max(-1) / 0.1) ** 2)
    return (logs * near[..., None]).sum(0) / np.maximum(near.sum(0), 1e-12)[..., None]


def _smooth(rest: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(L, L, 3) low frequencies of ``rest`` where weight (L, L) is, carried smoothly to where it is not."""
    sigma = _FIELD_SIGMA * len(rest)
    total = cv2.GaussianBlur(rest * weight[..., None], (0, 0), sigma)
    known = cv2.GaussianBlur(weight, (0, 0), sigma)
    mean = total / np.maximum(known, 1e-6)[..., None]
    trust = np.clip(known / 0.1, 0, 1) * (weight > 0.01)
    filled = pull_push(mean.astype(np.float32), np.maximum(trust, 1e-5).astype(np.float32))
    return cv2.GaussianBlur(filled, (0, 0), 0.5 * sigma)


def _regions(weight: np.ndarray) -> list[np.ndarray]:
    """Per photo (L, L): 1 where its smoothed weight is the largest, with soft borders; sums to 1."""
    sigma = _REGION_SIGMA * weight.shape[-1]
    smooth = np.stack([cv2.GaussianBlur(w, (0, 0), sigma) * (w + 1e-3) for w in weight])
    smooth[int(smooth.sum((1, 2)).argmax())] *= _PREFERENCE
    best = smooth.argmax(0)
    soft = [
        cv2.GaussianBlur((best == k).astype(np.float32), (0, 0), _BORDER_SIGMA * len(best))
        for k in range(len(weight))
    ]
    total = np.maximum(sum(soft), 1e-6)
    return [part / total for part in soft]
