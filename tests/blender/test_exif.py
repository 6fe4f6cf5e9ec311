"""EXIF orientation without Blender, against Pillow."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

ROOT = Path(__file__).resolve().parents[2]
_SPEC = importlib.util.spec_from_file_location("addon_exif", ROOT / "blender_facepbr" / "exif.py")
assert _SPEC and _SPEC.loader
exif = importlib.util.module_from_spec(_SPEC)  # the add-on's package itself imports bpy
_SPEC.loader.exec_module(exif)


@pytest.mark.parametrize("stored", range(1, 9))
def test_every_orientation_is_pillows(stored: int, tmp_path: Path) -> None:
    gradient = np.arange(24 * 16, dtype=np.uint8).reshape(24, 16) // 2
    image = Image.fromarray(np.repeat(gradient[..., None], 3, 2))
    tags = Image.Exif()
    tags[0x0112] = stored
    image.save(tmp_path / "a.jpg", exif=tags, quality=95)
    assert exif.orientation(tmp_path / "a.jpg") == stored
    loaded = Image.open(tmp_path / "a.jpg")
    expected = np.asarray(ImageOps.exif_transpose(loaded))
    np.testing.assert_array_equal(exif.upright(np.asarray(loaded), stored), expected)


def test_files_that_do_not_say_are_upright(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg")
    (tmp_path / "short.jpg").write_bytes(b"\xff\xd8\xff\xe1\x00")
    for name in ("a.png", "a.jpg", "short.jpg"):
        assert exif.orientation(tmp_path / name) == 1
