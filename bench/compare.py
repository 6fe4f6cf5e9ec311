"""Figures and picture of pairs of renders; run by path with the Python that has core's packages.

    python bench/compare.py PAIRS.json

PAIRS.json: a list of {"reference", "other", "mask", "picture"}, paths; prints a list of figures:
RMSE, SSIM and LPIPS on the head as the camera sees it, and of the whole frame under ``frame``.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

# Run by path: the checkout's root is not on sys.path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np  # noqa: E402

from bench.metrics import evaluate  # noqa: E402
from core.images import read_map, write_map  # noqa: E402

FIGURES = ["rmse", "ssim", "lpips"]
DIFFERENCE_GAIN = 4.0


def compare(reference: Path, other: Path, mask: Path, picture: Path | None) -> dict[str, Any]:
    """Figures of one pair, sRGB-encoded [0, 1]; the picture: reference, other, 4 x their difference on grey."""
    a, b = read_map(reference), read_map(other)
    head = read_map(mask)[..., 0] > 0.5
    if picture is not None:
        difference = np.clip(0.5 + DIFFERENCE_GAIN * (b - a), 0, 1)
        write_map(picture, np.concatenate([a, b, difference], axis=1))
    everywhere = np.ones_like(head)
    return evaluate(FIGURES, b, a, head) | {"frame": evaluate(FIGURES, b, a, everywhere)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="compare.py", description=__doc__.splitlines()[0])
    parser.add_argument("pairs", type=Path)
    pairs = json.loads(parser.parse_args().pairs.read_text(encoding="utf-8"))
    print(json.dumps([compare(**{k: v and Path(v) for k, v in pair.items()}) for pair in pairs]))


if __name__ == "__main__":
    main()
