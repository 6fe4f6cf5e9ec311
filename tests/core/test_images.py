"""Photo and map files: every usual kind is read rightly, every broken one gives its one line."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from core import images
from core.errors import InputError, OutputError


def gradient(height: int = 80, width: int = 120) -> np.ndarray:
    """(H, W, 3) uint8, smooth, with different channels and no symmetry."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 / width, y * 255 / height, 40 + 0 * x], -1).astype(np.uint8)


def assert_photo(photo: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    assert photo.dtype == np.float32 and photo.shape == expected.shape
    assert np.abs(photo - expected).mean() < tolerance


def test_png_is_exact(tmp_path: Path) -> None:
    Image.fromarray(gradient()).save(tmp_path / "a.png")
    np.testing.assert_array_equal(
        images.read_photo(tmp_path / "a.png"), gradient().astype(np.float32) / 255
    )


@pytest.mark.parametrize("name", ["with space.jpg", "лицо 顔 portrét.jpg"])
def test_jpeg_and_odd_paths(tmp_path: Path, name: str) -> None:
    Image.fromarray(gradient()).save(tmp_path / name, quality=95)
    assert_photo(images.read_photo(tmp_path / name), gradient() / 255, 0.02)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation(tmp_path: Path, orientation: int) -> None:
    """Store the upright picture turned as a camera would, with the tag that turns it back."""
    turn = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(turn(gradient()))
    Image.fromarray(stored).save(tmp_path / "a.jpg", quality=95, exif=exif)
    assert_photo(images.read_photo(tmp_path / "a.jpg"), gradient() / 255, 0.02)


def test_grey_becomes_three_equal_channels(tmp_path: Path) -> None:
    grey = gradient()[..., 0]
    Image.fromarray(grey).save(tmp_path / "a.png")
    photo = images.read_photo(tmp_path / "a.png")
    np.testing.assert_array_equal(photo, np.repeat(grey[..., None], 3, 2).astype(np.float32) / 255)


def test_transparency_lies_over_white(tmp_path: Path) -> None:
    rgba = np.dstack([gradient(), np.full((80, 120), 255, np.uint8)])
    rgba[:40, :, 3] = 0
    Image.fromarray(rgba).save(tmp_path / "a.png")
    photo = images.read_photo(tmp_path / "a.png")
    assert (photo[:40] == 1).all()
    np.testing.assert_array_equal(photo[40:], gradient()[40:].astype(np.float32) / 255)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bit_png_keeps_its_precision(tmp_path: Path, channels: int) -> None:
    y, x = np.mgrid[0:80, 0:120]
    ramp = (x * 7 + y * 401 + 3).astype(np.uint16)
    stored = np.stack([ramp, ramp + 1000, ramp + 2000], -1)
    if channels == 4:
        stored = np.dstack([stored, np.full_like(ramp, 65535)])
    if channels == 1:
        stored = ramp
    cv2.imwrite(str(tmp_path / "a.png"), stored)
    expected = np.repeat(ramp[..., None], 3, 2) if channels == 1 else stored[..., 2::-1]
    np.testing.assert_allclose(images.read_photo(tmp_path / "a.png"), expected / 65535.0, atol=2e-7)


def test_palette_and_cmyk(tmp_path: Path) -> None:
    Image.fromarray(gradient()).quantize(256).save(tmp_path / "p.png")
    assert_photo(images.read_photo(tmp_path / "p.png"), gradient() / 255, 0.05)
    Image.fromarray(gradient()).convert("CMYK").save(tmp_path / "c.jpg", quality=95)
    assert_photo(images.read_photo(tmp_path / "c.jpg"), gradient() / 255, 0.03)


def test_embedded_profile_is_converted_to_srgb(tmp_path: Path) -> None:
    """A profile that swaps red and green must come out swapped; a broken profile is passed over."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = srgb.replace(b"rXYZ", b"tmp!").replace(b"gXYZ", b"rXYZ").replace(b"tmp!", b"gXYZ")
    assert swapped != srgb
    for profile, order in ((srgb, [0, 1, 2]), (swapped, [1, 0, 2])):
        Image.fromarray(gradient()).save(tmp_path / "s.png", icc_profile=profile)
        assert_photo(images.read_photo(tmp_path / "s.png"), gradient()[..., order] / 255, 0.01)
    Image.fromarray(gradient()).save(tmp_path / "b.png", icc_profile=b"no profile at all")
    assert_photo(images.read_photo(tmp_path / "b.png"), gradient() / 255, 1e-6)


def test_huge_photos_are_reduced(tmp_path: Path) -> None:
    big = Image.fromarray(gradient()).resize((2400, 1600))
    big.save(tmp_path / "a.jpg", quality=90)
    big.save(tmp_path / "a.png")
    small = np.asarray(big.resize((600, 400)), np.float32) / 255
    for name in ("a.jpg", "a.png"):
        assert_photo(images.read_photo(tmp_path / name, max_side_px=600), small, 0.02)


def broken(folder: Path) -> dict[str, tuple[Path, str]]:
    """Name -> (file, what its message must say)."""
    whole = folder / "whole.jpg"
    Image.fromarray(gradient(400, 400)).save(whole, quality=95)
    cut, cut_png, text, empty, tiny, deep = (
        folder / name
        for name in ("cut.jpg", "cut.png", "text.jpg", "empty.jpg", "tiny.png", "deep.png")
    )
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    noise = np.random.default_rng(0).integers(0, 65536, (200, 200, 3), np.uint16)
    Image.fromarray((noise >> 8).astype(np.uint8)).save(folder / "whole.png")
    cut_png.write_bytes((folder / "whole.png").read_bytes()[:60_000])
    cv2.imwrite(str(folder / "deep16.png"), noise)
    deep.write_bytes((folder / "deep16.png").read_bytes()[:120_000])
    text.write_text("this is no picture\n")
    empty.write_bytes(b"")
    Image.fromarray(gradient(16, 16)).save(tiny)
    return {
        "text": (text, "none of these"),
        "cut": (cut, "truncated"),
        "cut_png": (cut_png, "truncated"),
        "cut_16_bit": (deep, "truncated"),
        "empty": (empty, "empty file"),
        "tiny": (tiny, "16x16"),
        "missing": (folder / "not there.jpg", "nothing there"),
        "folder": (folder, "a folder"),
    }


@pytest.mark.parametrize(
    "kind", ["text", "cut", "cut_png", "cut_16_bit", "empty", "tiny", "missing", "folder"]
)
def test_broken_photos_give_one_clear_line(tmp_path: Path, kind: str) -> None:
    path, words = broken(tmp_path)[kind]
    with pytest.raises(InputError) as caught:
        images.read_photo(path)
    message = str(caught.value)
    assert words in message and "\n" not in message and "expected" in message and "do " in message
    assert str(path) in message


def test_decompression_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(gradient(400, 400)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
    with pytest.raises(InputError, match="megapixels"):
        images.read_photo(tmp_path / "a.png")


def test_focal_length(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = 50  # FocalLengthIn35mmFilm
    photo = Image.fromarray(gradient(800, 1200))
    photo.save(tmp_path / "a.jpg", exif=exif)
    # A 3:2 frame is 36 mm wide: 50 / 36 of the width.
    assert images.read_focal_px(tmp_path / "a.jpg") == pytest.approx(50 / 36 * 1200, rel=1e-3)
    assert images.read_focal_px(tmp_path / "a.jpg", 600) == pytest.approx(50 / 36 * 600, rel=1e-3)
    exif.get_ifd(0x8769)[0xA002], exif.get_ifd(0x8769)[0xA003] = 1200, 1200
    photo.save(tmp_path / "cropped.jpg", exif=exif)
    assert images.read_focal_px(tmp_path / "cropped.jpg") is None
    photo.save(tmp_path / "none.jpg")
    assert images.read_focal_px(tmp_path / "none.jpg") is None
    assert images.read_focal_px(tmp_path / "missing.jpg") is None


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("shape", [(9, 7), (9, 7, 1), (9, 7, 3)])
def test_maps_there_and_back(tmp_path: Path, bits: int, shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(2).random(shape)
    images.write_map(tmp_path / "мап.png", values, bits)
    read = images.read_map(tmp_path / "мап.png")
    assert read.dtype == np.float32 and read.shape == (9, 7, shape[2] if len(shape) == 3 else 1)
    assert np.abs(read - values.reshape(read.shape)).max() <= 0.5 / (2**bits - 1) + 1e-6


def test_maps_are_clipped_and_rounded_and_channels_are_in_order(tmp_path: Path) -> None:
    values = np.zeros((4, 4, 3))
    values[...] = (2.0, -1.0, 100.6 / 255)
    values[0, 0, 0] = np.nan
    images.write_map(tmp_path / "a.png", values)
    with Image.open(tmp_path / "a.png") as stored:
        assert stored.mode == "RGB"
        assert stored.getpixel((1, 1)) == (255, 0, 101)
        assert stored.getpixel((0, 0)) == (0, 0, 101)


def test_maps_refuse_other_shapes_and_places(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\(4, 4, 2\)"):
        images.write_map(tmp_path / "a.png", np.zeros((4, 4, 2)))
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="Not a directory"):
        images.write_map(tmp_path / "file" / "a.png", np.zeros((4, 4)))


def test_environments_there_and_back(tmp_path: Path) -> None:
    light = np.random.default_rng(3).random((8, 16, 3)).astype(np.float32) * 50
    images.write_exr(tmp_path / "a.exr", light)
    np.testing.assert_allclose(images.read_hdr(tmp_path / "a.exr"), light, rtol=1e-3)
    cv2.imwrite(str(tmp_path / "a.hdr"), light[..., ::-1])
    np.testing.assert_allclose(images.read_hdr(tmp_path / "a.hdr"), light, atol=0.01 * light.max())
    (tmp_path / "b.exr").write_bytes(b"not an exr")
    with pytest.raises(InputError, match="OpenEXR"):
        images.read_hdr(tmp_path / "b.exr")


def test_resize_keeps_the_mean_and_the_channel_axis() -> None:
    image = np.random.default_rng(4).random((64, 64, 1)).astype(np.float32)
    small = images.resize_area(image, (16, 16))
    assert small.shape == (16, 16, 1)
    np.testing.assert_allclose(small[..., 0], image.reshape(16, 4, 16, 4).mean((1, 3)), atol=1e-6)
    assert images.resize_area(image[..., 0], (128, 96)).shape == (128, 96)
