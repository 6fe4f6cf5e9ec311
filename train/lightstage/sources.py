"""Permitted sources of real light and real skin: environments, a scan's bands, skins' mottle.

Numpy and OpenCV, used only while a bank is built.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

SOFTLY_LIT = (
    "005", "007", "022", "031", "033", "041", "052", "054", "056", "059", "066", "068", "069", "072",
    "074", "076", "077", "081", "083", "085", "086", "090", "093", "094", "096", "097",
)  # fmt: skip
"""Photos under soft light and without glasses, whose fine bands hold skin rather than shadow."""
BAND_SIGMA = 1 / 40
"""What is coarser than this part of the map is light, not skin, and is left out."""
BAND_RANGE = 1.5

ENVIRONMENT_SHAPE = (32, 64)

# The Lee Perry-Smith head's own layout: points (x, y) on its 700-pixel picture, and the iBUG
# landmarks (or layout pixels) they correspond to. Right half; the left is its mirror at x = 351.
_SCAN_AXIS_X = 351.0
_SCAN_POINTS = [
    ((268, 210), 36), ((318, 209), 39), ((258, 199), 17), ((297, 173), 19), ((336, 186), 21),
    ((351, 262), 30), ((351, 215), 27), ((327, 286), 31), ((312, 327), 48), ((351, 314), 51),
    ((351, 339), 57), ((351, 413), 8), ((190, 230), 0), ((205, 330), 3), ((262, 395), 5),
    ((292, 222), (395.0, 392.0)), ((292, 198), (395.0, 352.0)),
    ((351, 110), (512.0, 190.0)), ((255, 120), (350.0, 200.0)), ((200, 160), (250.0, 290.0)),
    ((351, 480), (512.0, 850.0)),
]  # fmt: skip

_SKIN_PATCHES = [(r, c) for r in (420, 640, 920, 1160, 1300) for c in (300, 420, 620, 800, 940)]
_NUM_MOTTLE = 14


def read_environments(folder: Path) -> tuple[list[str], np.ndarray]:
    """All .hdr files: names and linear RGB (E, 3, 32, 64), each of unit mean luminance."""
    names, maps = [], []
    for path in sorted(folder.glob("*.hdr")):
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[..., ::-1].astype(np.float32)
        h, w = ENVIRONMENT_SHAPE
        small = cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA)
        weight = np.cos((np.arange(h) + 0.5) / h * np.pi - np.pi / 2)[:, None]
        luminance = small @ np.array([0.2126, 0.7152, 0.0722], np.float32)
        small = small / ((luminance * weight).sum() / (weight.sum() * w))
        names.append(path.stem)
        maps.append(small.transpose(2, 0, 1))
    return names, np.stack(maps)


def _thin_plate(source: np.ndarray, target: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Thin-plate spline taking source (N, 2) to target (N, 2), evaluated at points (M, 2)."""
    from scipy.interpolate import RBFInterpolator

    return RBFInterpolator(source, target, kernel="thin_plate_spline", smoothing=1.0)(points)


def _scan_coordinates(landmarks_uv: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """For each texel of the layout, where it lies on the scan's maps, as fractions (S, S)."""
    layout, scan = [], []
    for (x, y), where in _SCAN_POINTS:
        if isinstance(where, int):
            u, v = landmarks_uv[where]
            px, py = u * 1024, (1 - v) * 1024
        else:
            px, py = where
        layout += [(px, py), (1024 - px, py)]
        scan += [(x, y), (2 * _SCAN_AXIS_X - x, y)]
    layout, keep = np.unique(np.array(layout, float), axis=0, return_index=True)
    scan = np.array(scan, float)[keep]
    axis = (np.arange(64) + 0.5) * 16
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    where = _thin_plate(layout, scan / 700, grid).reshape(64, 64, 2).astype(np.float32)
    where = cv2.resize(where, (size, size), interpolation=cv2.INTER_CUBIC)
    return where[..., 0], where[..., 1]


def _log_band(image: np.ndarray, low_sigma: float) -> np.ndarray:
    """Log of a linear image minus its own blur: the band finer than low_sigma pixels."""
    log = np.log(np.maximum(image, 0.01))
    return log - cv2.GaussianBlur(log, (0, 0), low_sigma)


def _read_linear(path: Path) -> np.ndarray:
    srgb = cv2.imread(str(path), cv2.IMREAD_COLOR)[..., ::-1].astype(np.float32) / 255
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def _mirror_tile(patch: np.ndarray) -> np.ndarray:
    """Make (S, S, C) tileable by cross-fading with itself rolled by half, keeping the deviation."""
    size = patch.shape[0]
    ramp = np.clip(np.abs(np.linspace(-1, 1, size)) * 2 - 0.6, 0, 1)
    edge = np.maximum(ramp[:, None], ramp[None, :])[..., None]
    rolled = np.roll(patch, (size // 2, size // 2), (0, 1))
    return (patch * (1 - edge) + rolled * edge) / np.sqrt((1 - edge) ** 2 + edge**2)


def skin_bands(data: Path, landmarks_uv: np.ndarray, size: int = 512) -> dict[str, np.ndarray]:
    """Bands of real skin: scan_color (3, S, S), scan_slope (2, S, S), mottle (M, 3, 256, 256)."""
    x, y = _scan_coordinates(landmarks_uv, size)
    folder = data / "leeperrysmith"
    color = _read_linear(folder / "Map-COL.jpg")
    edge = color.shape[0]
    mapped = cv2.remap(color, x * edge, y * edge, cv2.INTER_AREA, borderMode=cv2.BORDER_REFLECT)
    normal = cv2.imread(str(folder / "Infinite-Level_02_Tangent_SmoothUV.jpg"))[..., ::-1]
    normal = normal.astype(np.float32) / 127.5 - 1
    normal = cv2.remap(normal, x * edge, y * edge, cv2.INTER_AREA, borderMode=cv2.BORDER_REFLECT)
    slope = -normal[..., :2] / np.maximum(normal[..., 2:], 0.2) * np.array([1.0, -1.0])
    slope = slope - cv2.GaussianBlur(slope.astype(np.float32), (0, 0), size / 20)
    tiles = []
    for path in sorted((data / "makehuman" / "skins").glob("*.png")):
        skin = _read_linear(path)
        for row, col in _SKIN_PATCHES:
            patch = _log_band(skin[row : row + 320, col : col + 320], 20)[32:288, 32:288]
            deviation = patch.mean(-1).std()
            blocks = patch.mean(-1).reshape(8, 32, 8, 32).std((1, 3))
            even = blocks.max() < 2.2 * np.median(blocks)
            if 0.004 < deviation < 0.12 and even and np.abs(patch).max() < 9 * deviation:
                tiles.append(_mirror_tile(patch / deviation).clip(-6, 6).transpose(2, 0, 1))
    return {
        "scan_color": _log_band(mapped, size / 16).clip(-1.5, 1.5).transpose(2, 0, 1),
        "scan_slope": slope.clip(-1, 1).transpose(2, 0, 1),
        "mottle": np.stack(tiles[:: max(1, len(tiles) // _NUM_MOTTLE)][:_NUM_MOTTLE]),
    }


def portrait_bands(folder: Path, names: tuple[str, ...] = SOFTLY_LIT) -> dict[str, np.ndarray]:
    """Fine bands of unwrapped photos: log luminance (P, 512, 512) and log chroma (P, 2, 128, 128).

    int8 in units of BAND_RANGE / 127; chroma is log R/G and log B/G. A photo that cannot be
    unwrapped is left out. No band is used whole: faces mix and warp several.
    """
    from core.errors import FacePBRError
    from core.head_fit import fit_head
    from core.head_model import HeadModel
    from core.images import read_photo
    from core.landmarks import detect
    from core.unwrap import unwrap

    head, tones, chromas = HeadModel.load(), [], []
    for name in names:
        path = folder / f"{name}.jpg"
        try:
            photo = read_photo(path)
            fit = fit_head(detect(photo), photo.shape[:2], head)
            unwrapped = unwrap(photo, fit, head, 512)
        except FacePBRError as error:
            print(f"left out {name}: {error}")
            continue
        tone, chroma = _fine_band(unwrapped.texture, unwrapped.confidence)
        tones.append(tone)
        chromas.append(chroma)
    return {"portrait_tone": np.stack(tones), "portrait_chroma": np.stack(chromas)}


def _fine_band(texture: np.ndarray, confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Stored bands of one texture (512, 512, 3) sRGB where it was seen: (512, 512), (2, 128, 128)."""
    linear = np.where(texture <= 0.04045, texture / 12.92, ((texture + 0.055) / 1.055) ** 2.4)
    log = np.log(np.maximum(linear, 0.004)).astype(np.float32)
    known = (confidence > 0.35).astype(np.float32)
    trust = cv2.GaussianBlur(cv2.erode(known, np.ones((5, 5))), (0, 0), 3)[..., None]
    known = known[..., None]
    sigma = BAND_SIGMA * len(texture)
    low = cv2.GaussianBlur(log * known, (0, 0), sigma)
    low = low / (cv2.GaussianBlur(known, (0, 0), sigma)[..., None] + 1e-3)
    band = (log - low) * trust
    tone = band @ np.array([0.3, 0.6, 0.1], np.float32)
    chroma = np.stack([band[..., 0] - band[..., 1], band[..., 2] - band[..., 1]], -1).clip(
        -0.3, 0.3
    )
    chroma = cv2.resize(chroma, (128, 128), interpolation=cv2.INTER_AREA).transpose(2, 0, 1)
    scale = 127 / BAND_RANGE

    def store(x: np.ndarray) -> np.ndarray:
        return np.round(x * scale).clip(-127, 127).astype(np.int8)

    return store(tone), store(chroma)
