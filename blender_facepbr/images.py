"""Image files into Blender: packed or beside the .blend, data maps as data."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import bpy
import numpy as np

FOLDER = "facepbr"
"""Beside the .blend file, for maps that are not packed."""


def load(path: Path, name: str, is_data: bool, pack: bool) -> Any:
    """An image datablock from a file; packed ones keep a relative path they can be unpacked to."""
    image = bpy.data.images.load(str(path))
    image.name = name
    image.colorspace_settings.is_data = is_data
    if pack:
        image.pack()
        image.filepath_raw = (
            f"//{FOLDER}/{_file_name(image.name.removesuffix(path.suffix))}{path.suffix}"
        )
    elif bpy.data.filepath:
        image.filepath_raw = bpy.path.relpath(str(path))
    return image


def from_array(values: np.ndarray, name: str, is_data: bool) -> Any:
    """(H, W) or (H, W, 3) [0, 1] as stored, top row first -> packed 8-bit image."""
    height, width = values.shape[:2]
    image = bpy.data.images.new(name, width, height)
    rgba = np.ones((height, width, 4), np.float32)
    plane = values[..., None] if values.ndim == 2 else values
    rgba[..., :3] = np.clip(plane[::-1], 0.0, 1.0)
    image.colorspace_settings.is_data = is_data
    image.pixels.foreach_set(rgba.ravel())
    image.update()
    image.pack()
    return image


def pixels(image: Any) -> np.ndarray:
    """(H, W, 3) float32, top row first: linear for float images, as stored for byte images."""
    width, height = image.size
    flat = np.empty(width * height * image.channels, np.float32)
    image.pixels.foreach_get(flat)
    return np.ascontiguousarray(flat.reshape(height, width, image.channels)[::-1, :, :3])


def write(image: Any, path: Path) -> None:
    """The image's file as it is, without encoding it again; OSError where this is impossible."""
    packed = image.packed_file
    if packed is not None:
        path.write_bytes(packed.data)
    else:
        shutil.copyfile(bpy.path.abspath(image.filepath_raw), path)


def suffix(image: Any) -> str:
    """File ending of an image's stored file, ".png" where it has none."""
    return Path(image.filepath_raw.replace("//", "")).suffix or ".png"


def _file_name(name: str) -> str:
    """A datablock's name without the characters that some file system forbids."""
    return re.sub(r'[<>:"/\\|?*]', "_", name)


def result_folder(name: str) -> Path:
    """A free folder for a result beside the saved .blend file."""
    parent = Path(bpy.path.abspath("//")) / FOLDER
    stem = _file_name(name)
    folder, number = parent / stem, 1
    while folder.exists():
        folder = parent / f"{stem}.{number:03d}"
        number += 1
    return folder
