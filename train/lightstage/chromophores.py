"""Melanin and blood to skin colour: the two-layer Kubelka-Munk model, tabulated.

Axes of the table: fm, melanosome fraction of the epidermis, and fb, blood fraction of the dermis,
both logarithmic. Values are linear sRGB reflectance under D65.
Sources: absorption of melanin and base skin after Jacques (OMLC); haemoglobin from the OMLC table;
colour matching functions by Wyman, Sloan and Shirley (JCGT 2013), multi-lobe fit.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from core.color import SRGB_TO_XYZ, WHITE_D65, linear_srgb_to_lab

FM_RANGE = (0.003, 0.8)
FB_RANGE = (0.0008, 0.35)
TABLE_SIZE = 64
SATURATION_NORMAL, SATURATION_VENOUS = 0.75, 0.5

_D65_S0_S1_S2 = np.array(
    # nm, S0, S1, S2 of the CIE daylight series, every 20 nm
    [
        (400, 94.8, 43.4, -1.1), (420, 105.9, 43.9, -1.1), (440, 125.6, 36.6, -1.3),
        (460, 125.5, 32.5, -1.0), (480, 121.5, 24.5, -0.9), (500, 113.5, 20.1, -1.8),
        (520, 106.5, 13.2, -1.3), (540, 104.7, 6.1, -0.9), (560, 100.0, 0.0, 0.0),
        (580, 95.7, -3.5, 0.5), (600, 90.5, -5.8, 3.2), (620, 87.8, -8.5, 4.8),
        (640, 83.2, -10.9, 6.7), (660, 81.9, -12.1, 8.6), (680, 82.2, -13.6, 9.8),
        (700, 72.1, -11.7, 10.2), (720, 72.9, -11.9, 10.7),
    ]
)  # fmt: skip


def daylight_d65(nm: np.ndarray) -> np.ndarray:
    """Relative power of CIE daylight at 6504 K, from the S0, S1, S2 series."""
    x, y = 0.3127, 0.3291
    m = 0.0241 + 0.2562 * x - 0.7341 * y
    m1, m2 = (-1.3515 - 1.7703 * x + 5.9114 * y) / m, (0.03 - 31.4424 * x + 30.0717 * y) / m
    s = [np.interp(nm, _D65_S0_S1_S2[:, 0], _D65_S0_S1_S2[:, k]) for k in (1, 2, 3)]
    return s[0] + m1 * s[1] + m2 * s[2]


def color_matching(nm: np.ndarray) -> np.ndarray:
    """CIE 1931 x, y, z bars (3, L), Wyman's multi-lobe fit."""

    def lobe(scale, centre, left, right):
        width = np.where(nm < centre, left, right)
        return scale * np.exp(-0.5 * ((nm - centre) * width) ** 2)

    x = lobe(0.362, 442.0, 0.0624, 0.0374) + lobe(1.056, 599.8, 0.0264, 0.0323)
    x = x + lobe(-0.065, 501.1, 0.0490, 0.0382)
    y = lobe(0.821, 568.8, 0.0213, 0.0247) + lobe(0.286, 530.9, 0.0613, 0.0322)
    z = lobe(1.217, 437.0, 0.0845, 0.0278) + lobe(0.681, 459.0, 0.0385, 0.0725)
    return np.stack([x, y, z])


def read_haemoglobin(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Wavelength nm, molar extinction of oxygenated and deoxygenated haemoglobin (cm^-1/M)."""
    with open(path, newline="") as file:
        rows = list(csv.reader(file))[1:]
    table = np.array([[float(v) for v in row[:3]] for row in rows])
    return table[:, 0], table[:, 1], table[:, 2]


def _layer(absorption: np.ndarray, scattering: np.ndarray, depth_cm: float):
    """Kubelka-Munk reflectance and transmittance of one layer."""
    k, s = 2 * absorption, 0.75 * scattering
    a = 1 + k / s
    b = np.sqrt(a * a - 1)
    x = np.minimum(b * s * depth_cm, 300)
    sinh, cosh = np.sinh(x), np.cosh(x)
    return sinh / (a * sinh + b * cosh), b / (a * sinh + b * cosh)


def skin_reflectance(fm, fb, nm, hbo2, hb, saturation: float) -> np.ndarray:
    """Spectral reflectance (..., L) of skin for fractions fm, fb of shape (..., 1)."""
    melanin = 6.6e11 * nm**-3.33
    base = 0.244 + 85.3 * np.exp(-(nm - 154) / 66.2)
    blood = 2.303 * (150 / 66500) * (saturation * hbo2 + (1 - saturation) * hb)
    scattering = 2e5 * nm**-1.5 + 2e12 * nm**-4
    r_epi, t_epi = _layer(fm * melanin + (1 - fm) * base, scattering, 0.008)
    r_derm, _ = _layer(fb * blood + (1 - fb) * base, scattering, 0.3)
    return r_epi + t_epi**2 * r_derm / (1 - r_epi * r_derm)


def to_linear_srgb(reflectance: np.ndarray, nm: np.ndarray) -> np.ndarray:
    """Spectral reflectance (..., L) -> linear sRGB (..., 3) under D65."""
    weight = color_matching(nm) * daylight_d65(nm)
    xyz = reflectance @ (weight / weight.sum(1, keepdims=True)).T * np.array(WHITE_D65)
    return np.clip(xyz @ np.linalg.inv(np.array(SRGB_TO_XYZ)).T, 0, 1)


def build_table(spectra: Path) -> np.ndarray:
    """(2, 64, 64, 3) float32 linear sRGB: [normal, venous blood] x log fm x log fb."""
    nm, hbo2, hb = read_haemoglobin(spectra)
    fm = np.geomspace(*FM_RANGE, TABLE_SIZE)[:, None, None]
    fb = np.geomspace(*FB_RANGE, TABLE_SIZE)[None, :, None]
    rows = [
        to_linear_srgb(skin_reflectance(fm, fb, nm, hbo2, hb, s), nm)
        for s in (SATURATION_NORMAL, SATURATION_VENOUS)
    ]
    return np.stack(rows).astype(np.float32)


class SkinTable:
    """The table on a device: chromophore maps in, linear sRGB out."""

    def __init__(self, table: Tensor) -> None:
        self.table = table.permute(0, 3, 1, 2).contiguous()
        self._normal = table[0].double().cpu()
        self._log_fm = np.linspace(*np.log(FM_RANGE), TABLE_SIZE)
        self._log_fb = np.linspace(*np.log(FB_RANGE), TABLE_SIZE)

    def color(self, log_fm: Tensor, log_fb: Tensor, venous: Tensor | float = 0.0) -> Tensor:
        """Maps of log fractions (S, S) -> (3, S, S); venous in [0, 1] mixes in deoxygenated blood."""

        def unit(x: Tensor, low_high: tuple[float, float]) -> Tensor:
            low, high = np.log(low_high[0]), np.log(low_high[1])
            return (x - low) / (high - low) * 2 - 1

        grid = torch.stack([unit(log_fb, FB_RANGE), unit(log_fm, FM_RANGE)], -1)[None]
        table = self.table.reshape(1, 6, TABLE_SIZE, TABLE_SIZE)
        out = F.grid_sample(table, grid, align_corners=True, padding_mode="border")[0]
        return torch.lerp(out[:3], out[3:], venous) if not isinstance(venous, float) else out[:3]

    def log_fm_for_ita(
        self, ita_deg: float, log_fb: float, tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    ) -> float:
        """Log melanosome fraction that gives this ITA at this blood fraction and tint (clamped)."""
        column = int(np.abs(self._log_fb - log_fb).argmin())
        lab = linear_srgb_to_lab(self._normal[:, column] * torch.tensor(tint).double())
        ita = torch.rad2deg(torch.atan2(lab[:, 0] - 50, lab[:, 2].clamp_min(1e-3))).numpy()
        return float(np.interp(-ita_deg, -ita, self._log_fm))
