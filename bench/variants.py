"""Photos changed as the self-consistency test asks; run by path with the Python that has core's packages.

    python bench/variants.py PHOTO RESULT_DIR --out DIR --names jitter,crop,half,jpeg60,mirror --seed 0

Writes DIR/<name>.png (jpeg60: .jpg) and prints one JSON object, name -> file. The paper's protocol is
``jitter``: a shift of up to 5 px each way and up to 5 % of brightness and saturation. The rest is ours
and harder. ``crop`` needs to know where the face is: RESULT_DIR is the photo's own result.
"""

from __future__ import annotations

import argparse
import json
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

# Run by path: the checkout's root is not on sys.path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2  # noqa: E402
import numpy as np  # noqa: E402

from core.images import read_photo, write_map  # noqa: E402

LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)
Change = Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]
"""photo (H, W, 3) sRGB [0, 1], landmarks (N, 2) px, dice -> photo."""


def jitter(photo: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The paper's: +-5 px shift (edge repeated), +-5 % brightness, +-5 % saturation."""
    down, right = (int(x) for x in rng.integers(-5, 6, 2))
    if (down, right) == (0, 0):
        right = 5
    padded = np.pad(photo, ((5, 5), (5, 5), (0, 0)), mode="edge")
    height, width = photo.shape[:2]
    moved = padded[5 - down : 5 - down + height, 5 - right : 5 - right + width]
    brightness, saturation = rng.uniform(0.95, 1.05, 2)
    grey = (moved @ LUMA)[..., None]
    return np.clip((grey + (moved - grey) * saturation) * brightness, 0, 1).astype(np.float32)


def crop(photo: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another framing: each side 0.4 to 1 face size away from the face, inside the photo."""
    low, high = points.min(0), points.max(0)
    size = float((high - low).max())
    margins = rng.uniform(0.4, 1.0, 4) * size
    left, top = np.maximum(np.floor(low - margins[:2]), 0).astype(int)
    right, bottom = np.minimum(np.ceil(high + margins[2:]), photo.shape[1::-1]).astype(int)
    return photo[top:bottom, left:right]


def half(photo: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Half the size, by area."""
    height, width = photo.shape[:2]
    return cv2.resize(photo, (width // 2, height // 2), interpolation=cv2.INTER_AREA)


def unchanged(photo: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As it is; the file's format makes the change."""
    return photo


def mirror(photo: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Left and right exchanged; its maps are mirrored back before they are compared."""
    return photo[:, ::-1]


VARIANTS: dict[str, Change] = {
    "jitter": jitter,
    "crop": crop,
    "half": half,
    "jpeg60": unchanged,
    "mirror": mirror,
}


def write_variant(photo: np.ndarray, points: np.ndarray, name: str, seed: int, out: Path) -> Path:
    """One variant as ``out/<name>.png`` or .jpg; the same seed and name give the same picture."""
    if name not in VARIANTS:
        raise ValueError(f"expected one of {', '.join(VARIANTS)}; got {name!r}")
    rng = np.random.default_rng((seed, zlib.crc32(name.encode())))
    changed = np.ascontiguousarray(VARIANTS[name](photo, points, rng))
    out.mkdir(parents=True, exist_ok=True)
    if name != "jpeg60":
        path = out / f"{name}.png"
        write_map(path, changed)
        return path
    pixels = np.rint(changed[..., ::-1] * 255).astype(np.uint8)
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 60])
    path = out / f"{name}.jpg"
    path.write_bytes(data.tobytes())
    return path


def main() -> None:
    parser = argparse.ArgumentParser(prog="variants.py", description=__doc__.splitlines()[0])
    parser.add_argument("photo", type=Path)
    parser.add_argument("result", type=Path, help="folder of the photo's own result")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--names", default=",".join(VARIANTS))
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    report = json.loads((args.result / "report.json").read_text(encoding="utf-8"))
    photo, points = read_photo(args.photo), np.array(report["landmarks"]["points_px"])
    names = args.names.split(",")
    print(json.dumps({n: str(write_variant(photo, points, n, args.seed, args.out)) for n in names}))


if __name__ == "__main__":
    main()
