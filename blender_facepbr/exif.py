"""How a JPEG is meant to be held: Blender loads photos as they are stored, the fit is made on the upright one."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

_ORIENTATION = 0x0112
_HEAD_BYTES = 1 << 17
"""The Exif segment is at most 64 KiB and comes first or second."""


def orientation(path: Path) -> int:
    """EXIF orientation of a JPEG, 1..8; 1 (upright) for other files and for JPEGs that do not say."""
    with path.open("rb") as file:
        data = file.read(_HEAD_BYTES)
    if data[:2] != b"\xff\xd8":
        return 1
    position = 2
    try:
        while data[position] == 0xFF and data[position + 1] != 0xDA:
            length = struct.unpack_from(">H", data, position + 2)[0]
            segment = data[position + 4 : position + 2 + length]
            if data[position + 1] == 0xE1 and segment[:6] == b"Exif\0\0":
                return _from_tiff(segment[6:])
            position += 2 + length
    except (IndexError, struct.error):
        pass  # a damaged header says nothing
    return 1


def _from_tiff(data: bytes) -> int:
    order = "<" if data[:2] == b"II" else ">"
    start = struct.unpack_from(order + "I", data, 4)[0]
    for index in range(struct.unpack_from(order + "H", data, start)[0]):
        entry = start + 2 + 12 * index
        if struct.unpack_from(order + "H", data, entry)[0] == _ORIENTATION:
            value = struct.unpack_from(order + "H", data, entry + 8)[0]
            return value if 1 <= value <= 8 else 1
    return 1


def upright(pixels: np.ndarray, stored: int) -> np.ndarray:
    """(H, W, C) as stored, top row first -> as it is meant to be seen (EXIF 2.3, tag 0x0112)."""
    if stored >= 5:
        pixels = pixels.swapaxes(0, 1)
    if stored in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if stored in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels
