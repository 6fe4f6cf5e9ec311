"""Registered metrics: small masked functions on numpy arrays, each with its citation.

Images are (H, W, 3) float, sRGB-encoded [0, 1] unless said otherwise; normals (H, W, 3) unit
vectors (decoded, not stored); masks (H, W) bool, True = counted. ``METRICS`` maps a name to its
function; every function takes (prediction, truth, mask) and returns a float or a dict of floats.
A metric that needs something that is not there returns the text NOT_COMPUTED, never a stand-in.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import cv2
import numpy as np

from core.color import ita_deg, ita_group

NOT_COMPUTED = "not computed"

Metric = Callable[[np.ndarray, np.ndarray, np.ndarray], Any]
"""(prediction, truth, mask) -> a float, a dict of floats and labels, or NOT_COMPUTED."""
METRICS: dict[str, Metric] = {}
Registered = TypeVar("Registered", bound=Metric)


def register(function: Registered) -> Registered:
    """Make a metric known under its function's name."""
    METRICS[function.__name__] = function
    return function


def _chosen(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Masked texels (N, C) float64; ValueError on shape mismatch or an empty mask."""
    image = np.asarray(image, np.float64)
    image = image[..., None] if image.ndim == 2 else image
    mask = np.asarray(mask)
    if mask.dtype != bool or mask.shape != image.shape[:2]:
        raise ValueError(f"expected a bool mask {image.shape[:2]}; got {mask.dtype} {mask.shape}")
    if not mask.any():
        raise ValueError("expected a mask with something in it; got an empty one")
    return image[mask]


def _pair(a: np.ndarray, b: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if np.shape(a) != np.shape(b):
        raise ValueError(f"expected two images of one shape; got {np.shape(a)} and {np.shape(b)}")
    return _chosen(a, mask), _chosen(b, mask)


@register
def rmse(prediction: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> float:
    """Root mean squared difference over masked texels and channels; same scale as the input."""
    a, b = _pair(prediction, truth, mask)
    return float(np.sqrt(np.mean((a - b) ** 2)))


@register
def mae(prediction: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> float:
    """Mean absolute difference over masked texels and channels; same scale as the input."""
    a, b = _pair(prediction, truth, mask)
    return float(np.abs(a - b).mean())


def gain_to(prediction: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> float:
    """The one scale k >= 0 minimising |k prediction - truth|^2 over masked texels and channels."""
    a, b = _pair(prediction, truth, mask)
    return max(float((a * b).sum() / max((a * a).sum(), 1e-12)), 0.0)


@register
def gain_invariant_rmse(prediction: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> float:
    """RMSE after the best single scale: scale-invariant error (Grosse et al., ICCV 2009), global.

    Absolute albedo scale against exposure cannot be told from a face crop, so both are reported.
    """
    return rmse(gain_to(prediction, truth, mask) * np.asarray(prediction), truth, mask)


@register
def ssim(prediction: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> float:
    """Structural similarity (Wang et al., 2004): 11x11 Gaussian of sigma 1.5, data range 1.

    Mean over channels and over the mask eroded by 5 px, so no window reaches outside it.
    """
    _pair(prediction, truth, mask)
    inner = eroded(mask, 5)
    if not inner.any():
        raise ValueError("expected a mask wider than 11 px; got a narrower one")
    a, b = (np.asarray(x, np.float64).reshape(*mask.shape, -1) for x in (prediction, truth))

    def blur(x: np.ndarray) -> np.ndarray:
        out = cv2.GaussianBlur(x, (11, 11), 1.5, borderType=cv2.BORDER_REFLECT)
        return out.reshape(x.shape)

    c1, c2 = 0.01**2, 0.03**2
    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    covariance = blur(a * b) - mean_a * mean_b
    value = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    value /= (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    return float(value[inner].mean())


def eroded(mask: np.ndarray, pixels: int) -> np.ndarray:
    """(H, W) bool shrunk by a square of ``pixels`` to each side; the image border counts as outside."""
    kernel = np.ones((2 * pixels + 1, 2 * pixels + 1), np.uint8)
    padded = np.pad(np.asarray(mask, np.uint8), pixels)
    return cv2.erode(padded, kernel)[pixels:-pixels, pixels:-pixels] > 0


@register
def normal_angle_deg(
    prediction: np.ndarray, truth: np.ndarray, mask: np.ndarray
) -> dict[str, float]:
    """Angles between normals, degrees: mean, median, rmse, % under 11.25, 22.5 and 30.

    The usual set (Fouhey et al., ICCV 2013). atan2(|n x g|, n . g) keeps small angles exact where
    arccos does not. 8-bit storage alone costs 0.2-0.4 deg. Say the space beside the figures.
    """
    a, b = _pair(prediction, truth, mask)
    angle = np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b), axis=1), (a * b).sum(1)))
    return {
        "mean": float(angle.mean()),
        "median": float(np.median(angle)),
        "rmse": float(np.sqrt((angle**2).mean())),
        **{f"under_{limit:g}": float(100 * (angle < limit).mean()) for limit in (11.25, 22.5, 30)},
    }


@register
def ita_error_deg(
    prediction: np.ndarray, truth: np.ndarray, mask: np.ndarray
) -> dict[str, float | str]:
    """Skin-tone error: ITA of the median masked colour, predicted minus true, degrees.

    ITA = atan((L* - 50) / b*) (Chardon et al., 1991); error and bias as on the FAIR benchmark of
    TRUST (Feng et al., ECCV 2022). ``group`` is the truth's tone group.
    """
    a, b = (np.median(x, axis=0) for x in _pair(prediction, truth, mask))
    predicted, true = float(ita_deg(a)), float(ita_deg(b))
    return {
        "error": abs(predicted - true),
        "signed": predicted - true,
        "truth": true,
        "group": ita_group(true),
    }


@register
def correlation(prediction: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> float:
    """Pearson correlation over masked texels, mean over channels; nan where one side is constant."""
    a, b = _pair(prediction, truth, mask)
    a, b = a - a.mean(0), b - b.mean(0)
    scale = np.sqrt((a * a).sum(0) * (b * b).sum(0))
    if (scale < 1e-12).any():
        return math.nan
    return float(((a * b).sum(0) / scale).mean())


@register
def lpips(prediction: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> float | str:
    """LPIPS v0.1, AlexNet trunk (Zhang et al., CVPR 2018), both images grey outside the mask.

    The trunk is a public download: NOT_COMPUTED where the package or the trunk is not on this
    machine; nothing is downloaded from here.
    """
    _pair(prediction, truth, mask)
    network = _lpips_network()
    if network is None:
        return NOT_COMPUTED
    import torch

    def tensor(image: np.ndarray) -> torch.Tensor:
        filled = np.where(mask[..., None], image, 0.5).astype(np.float32)
        return torch.from_numpy(filled).permute(2, 0, 1)[None] * 2 - 1

    with torch.inference_mode():
        return float(network(tensor(prediction), tensor(truth)))


def _lpips_network() -> Callable | None:
    try:
        import lpips as package
        import torch
    except ImportError:
        return None
    from pathlib import Path

    cached = Path(torch.hub.get_dir()) / "checkpoints"
    if not any(cached.glob("alexnet-owt-*.pth")):
        return None
    return package.LPIPS(net="alex", verbose=False).eval()


def evaluate(
    names: list[str], prediction: np.ndarray, truth: np.ndarray, mask: np.ndarray
) -> dict[str, float | str]:
    """Several metrics by name, flattened: {"rmse": ..., "normal_angle_deg.mean": ...}."""
    flat: dict[str, float | str] = {}
    for name in names:
        if name not in METRICS:
            raise ValueError(f"expected one of {sorted(METRICS)}; got {name!r}")
        value = METRICS[name](prediction, truth, mask)
        if isinstance(value, dict):
            flat |= {f"{name}.{key}": entry for key, entry in value.items()}
        else:
            flat[name] = value
    return flat
