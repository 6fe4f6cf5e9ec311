"""How a photo is changed for the self-consistency test, and how two renders are compared."""

import cv2
import numpy as np
import pytest

from bench import compare, variants
from core.images import read_map, read_photo, write_map

POINTS = np.array([[80.0, 60.0], [140.0, 150.0], [100.0, 90.0]])


@pytest.fixture
def photo():
    rng = np.random.default_rng(1)
    noise = cv2.GaussianBlur(rng.random((200, 240, 3)).astype(np.float32), (0, 0), 6)
    return np.clip((noise - 0.5) * 4 + 0.5, 0.1, 0.9).astype(np.float32)


def made(photo, name, tmp_path, seed=0):
    return read_photo(variants.write_variant(photo, POINTS, name, seed, tmp_path))


def test_jitter_moves_at_most_five_pixels_and_five_percent(tmp_path):
    photo = np.full((200, 240, 3), (0.3, 0.2, 0.2), np.float32)
    photo[80:120, 100:160] = (0.8, 0.6, 0.5)
    shifts = []
    for seed in range(8):
        changed = made(photo, "jitter", tmp_path, seed)
        assert changed.shape == photo.shape
        rows, columns = np.nonzero(changed[..., 0] > 0.55)
        assert len(rows) == 40 * 60
        shifts.append((rows.mean() - 99.5, columns.mean() - 129.5))
        assert 0 < np.abs(shifts[-1]).max() <= 5 and np.allclose(shifts[-1], np.round(shifts[-1]))
        ratio = changed[rows, columns].mean() / photo[90, 110].mean()
        assert 0.92 < ratio < 1.08 and ratio != pytest.approx(1, abs=1e-4)
    assert len(set(shifts)) > 4


def test_the_same_seed_gives_the_same_picture_and_another_another(photo, tmp_path):
    first = made(photo, "jitter", tmp_path / "a", 3)
    assert np.array_equal(first, made(photo, "jitter", tmp_path / "b", 3))
    assert not np.array_equal(first, made(photo, "jitter", tmp_path / "c", 4))


def test_a_crop_keeps_the_whole_face(photo, tmp_path):
    for seed in range(8):
        crop = variants.crop(photo, POINTS, np.random.default_rng(seed))
        height, width = crop.shape[:2]
        assert height >= 90 + 2 * 0.4 * 90 - 2 or height == 200
        assert crop.size < photo.size and width >= 60


def test_half_jpeg_and_mirror(photo, tmp_path):
    assert made(photo, "half", tmp_path).shape == (100, 120, 3)
    assert np.allclose(made(photo, "mirror", tmp_path), photo[:, ::-1], atol=1 / 255)
    jpeg = made(photo, "jpeg60", tmp_path)
    assert jpeg.shape == photo.shape and 0.001 < np.abs(jpeg - photo).mean() < 0.05


def test_an_unknown_variant_is_named(photo, tmp_path):
    with pytest.raises(ValueError, match="jitter"):
        variants.write_variant(photo, POINTS, "blur", 0, tmp_path)


def test_a_comparison_looks_at_the_head_and_at_the_frame(photo, tmp_path):
    mask = np.zeros((200, 240, 1), np.float32)
    mask[50:150, 60:180] = 1
    other = photo.copy()
    other[50:150, 60:180] += 0.05
    for name, x in (("a", photo), ("b", other), ("m", mask)):
        write_map(tmp_path / f"{name}.png", x)
    files = (tmp_path / f"{name}.png" for name in ("a", "b", "m", "out"))
    found = compare.compare(*files)
    assert found["rmse"] == pytest.approx(0.05, abs=0.002)
    assert found["frame"]["rmse"] == pytest.approx(0.05 * (0.25**0.5), abs=0.002)
    assert read_map(tmp_path / "out.png").shape == (200, 3 * 240, 3)
    same = compare.compare(tmp_path / "a.png", tmp_path / "a.png", tmp_path / "m.png", None)
    assert same["rmse"] == 0 and same["ssim"] == pytest.approx(1)
