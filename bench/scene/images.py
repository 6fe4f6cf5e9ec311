"""Blender's images <-> arrays and files."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy
import numpy as np

MapSource = Path | str | np.ndarray
"""A map: an image file, or (H, W[, C]) float [0, 1] as stored, top row first."""


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Send what Blender's C code prints on stdout to nowhere."""
    saved = os.dup(1)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        try:
            yield
        finally:
            os.dup2(saved, 1)
            os.close(saved)


def make_image(source: MapSource, name: str, is_data: bool) -> Any:
    """A file or an array as a packed Blender image; data maps get no colour transform.

    Arrays become 8-bit images: colours stay as they are stored, sRGB-encoded.
    """
    if isinstance(source, np.ndarray):
        pixels = source[..., None] if source.ndim == 2 else source
        pixels = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
        height, width = pixels.shape[:2]
        image = bpy.data.images.new(name, width, height)
        rgba = np.ones((height, width, 4), np.float32)
        rgba[..., :3] = np.clip(pixels[::-1], 0.0, 1.0)
        image.pixels.foreach_set(rgba.ravel())
        image.update()
        image.pack()
    else:
        image = bpy.data.images.load(str(source))
        image.name = name
    if is_data:
        image.colorspace_settings.is_data = True
    return image


def image_pixels(image: Any) -> np.ndarray:
    """(H, W, 3) float32, top row first: linear for float images, as stored for byte images."""
    width, height = image.size
    pixels = np.empty(width * height * image.channels, np.float32)
    image.pixels.foreach_get(pixels)
    return np.ascontiguousarray(pixels.reshape(height, width, image.channels)[::-1, :, :3])


def write_png(path: Path, pixels: np.ndarray) -> None:
    """(H, W, 3) float [0, 1] sRGB-encoded -> 8-bit PNG, without any other library."""
    image = make_image(pixels, path.name, is_data=False)
    image.filepath_raw, image.file_format = str(path), "PNG"
    image.save()
    bpy.data.images.remove(image)


def read_png(path: Path) -> np.ndarray:
    """8-bit image -> (H, W, 3) float32 [0, 1], as stored."""
    image = bpy.data.images.load(str(path))
    pixels = image_pixels(image)
    bpy.data.images.remove(image)
    return pixels


def float_image(name: str, linear: np.ndarray) -> Any:
    """(H, W, 3) linear radiance -> packed float image."""
    height, width = linear.shape[:2]
    image = bpy.data.images.new(name, width, height, float_buffer=True)
    rgba = np.ones((height, width, 4), np.float32)
    rgba[..., :3] = linear[::-1]
    image.pixels.foreach_set(rgba.ravel())
    image.update()
    image.pack()
    return image
