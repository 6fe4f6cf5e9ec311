"""Photo and map files <-> float32 (H, W, C); the only place that knows EXIF, bit depth and colour encoding.

Photos and colour maps are sRGB-encoded [0, 1], environments are linear. The top row comes first. Files are read and
written through bytes in memory, so paths with spaces or any script work on every system.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps, UnidentifiedImageError

from .errors import InputError, OutputError

MIN_SIDE_PX = 64
"""Smallest photo side accepted: below it a face has too few pixels for landmarks."""
MAX_SIDE_PX = 4096
"""Larger photos are reduced while they are decoded, so that memory stays bounded."""
_DIAGONAL_35MM = (
    43.267  # of a 36 x 24 mm frame, to which FocalLengthIn35mmFilm refers (CIPA DCG-001)
)


def read_photo(path: str | Path, max_side_px: int = MAX_SIDE_PX) -> np.ndarray:
    """Read a photo as (H, W, 3) float32, sRGB-encoded [0, 1], upright.

    EXIF rotation is applied, an embedded ICC profile (CMYK, Display P3, ...) is converted to sRGB, grey becomes
    three equal channels, transparency is laid over white, 16-bit PNGs keep their precision. Photos with a side above
    `max_side_px` are reduced to it. InputError when the file is missing, damaged, truncated or too small.
    """
    path = Path(path)
    data = _read_bytes(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # size warnings; the hard limit still raises
            with Image.open(io.BytesIO(data)) as opened:
                return _decode(opened, data, path, max_side_px)
    except UnidentifiedImageError:
        raise InputError(
            f"{path}: expected a photo (JPEG, PNG, WebP, TIFF or BMP); got a file that is none of these; "
            "do export it as JPEG or PNG"
        ) from None
    except Image.DecompressionBombError:
        raise InputError(
            f"{path}: expected at most {2 * (Image.MAX_IMAGE_PIXELS or 0) // 10**6} megapixels; got more; "
            "do reduce the photo first"
        ) from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise InputError(
            f"{path}: expected a whole image file; got a damaged or truncated one ({_one_line(error)}); "
            "do export or copy it again"
        ) from None


def _decode(image: Image.Image, data: bytes, path: Path, max_side_px: int) -> np.ndarray:
    width, height = image.size
    if min(width, height) < MIN_SIDE_PX:
        raise InputError(
            f"{path}: expected a photo of at least {MIN_SIDE_PX} px a side; got {width}x{height} px; "
            "do give a larger one"
        )
    if image.format == "JPEG":
        image.draft(None, (max_side_px, max_side_px))  # pyright: ignore[reportArgumentType]
    image.load()  # raises on truncated files
    deep = _decode_16bit(data) if image.format == "PNG" and data[24:25] == b"\x10" else None
    if deep is not None and image.info.get("icc_profile") is None:
        pixels = deep
    else:
        image = ImageOps.exif_transpose(image)
        scale = max_side_px / max(image.size)
        if scale < 1:
            size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
            if image.mode in ("P", "1", "I;16"):
                image = _to_srgb_rgb(image)
            image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
        return np.asarray(_to_srgb_rgb(image), dtype=np.float32) / np.float32(255)
    scale = max_side_px / max(pixels.shape[:2])
    if scale < 1:
        new_size = round(pixels.shape[0] * scale), round(pixels.shape[1] * scale)
        pixels = resize_area(pixels, new_size)
    return pixels


def _decode_16bit(data: bytes) -> np.ndarray | None:
    """16-bit PNG -> (H, W, 3) float32 [0, 1], alpha over white; None if OpenCV reads it otherwise.

    Pillow would cut colour to 8 bits. EXIF rotation is not looked for: cameras do not write such files.
    """
    raw = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if raw is None or raw.dtype != np.uint16:
        return None
    pixels = raw.astype(np.float32) / np.float32(65535)
    if pixels.ndim == 2:
        return np.repeat(pixels[..., None], 3, axis=2)
    color = np.ascontiguousarray(pixels[..., 2::-1])
    if pixels.shape[2] == 4:
        alpha = pixels[..., 3:]
        color = color * alpha + (1 - alpha)
    return color


def _to_srgb_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow mode -> 8-bit RGB in sRGB, with transparency laid over white."""
    if image.mode.startswith("I;16") or image.mode == "I":
        values = np.asarray(image, dtype=np.float64)
        image = Image.fromarray(np.clip(np.rint(values / 257.0), 0, 255).astype(np.uint8))
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        flat = Image.alpha_composite(white, rgba).convert("RGB")
        flat.info["icc_profile"] = image.info.get("icc_profile") if image.mode == "RGBA" else None
        image = flat
    profile = image.info.get("icc_profile")
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            target = ImageCms.createProfile("sRGB")
            converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
            if converted is not None:
                return converted
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass  # a broken profile: read the numbers as sRGB, as viewers do
    return image.convert("RGB")


def read_focal_px(path: str | Path, max_side_px: int = MAX_SIDE_PX) -> float | None:
    """Focal length in pixels of the photo *as `read_photo` returns it*, from EXIF; None if unknown.

    Uses FocalLengthIn35mmFilm over the frame's diagonal. A photo whose sides no longer fit those that the camera noted
    was cropped, so its field of view is unknown: None.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(_read_bytes(Path(path)))) as image:
                tags = image.getexif().get_ifd(ExifTags.IFD.Exif)
                size = image.size
    except (InputError, OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
    try:
        focal_mm = float(tags.get(ExifTags.Base.FocalLengthIn35mmFilm, 0))
        noted = sorted(
            float(tags.get(key, side))
            for key, side in zip(
                (ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight), size, strict=True
            )
        )
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    short, long = sorted(size)
    if not 5 <= focal_mm <= 2000 or noted[0] <= 0:
        return None
    if abs(noted[1] / noted[0] - long / short) > 0.02 * long / short:
        return None
    scale = min(1.0, max_side_px / long)
    return focal_mm / _DIAGONAL_35MM * float(np.hypot(*size)) * scale


def write_map(path: str | Path, array: np.ndarray, bits: int = 8) -> None:
    """Write a map as PNG: (H, W), (H, W, 1) or (H, W, 3) float in [0, 1], as stored; clipped and rounded.

    `bits` is 8 or 16. No colour conversion: colour passes come sRGB-encoded.
    """
    if bits not in (8, 16):
        raise ValueError(f"expected 8 or 16 bits; got {bits}")
    array = np.asarray(array)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] != 3):
        raise ValueError(f"expected (H, W), (H, W, 1) or (H, W, 3); got {array.shape}")
    top, kind = (255, np.uint8) if bits == 8 else (65535, np.uint16)
    stored = np.rint(np.clip(np.nan_to_num(array.astype(np.float64)), 0, 1) * top).astype(kind)
    if stored.ndim == 3:
        stored = stored[..., ::-1]
    done, buffer = cv2.imencode(".png", stored, [cv2.IMWRITE_PNG_COMPRESSION, 5])
    if not done:
        raise OutputError(f"{path}: expected to encode a PNG of {array.shape}; the encoder failed")
    _write_bytes(Path(path), buffer.tobytes())


def read_map(path: str | Path) -> np.ndarray:
    """Read a map of 8 or 16 bits as float32 (H, W, 1) or (H, W, 3) in [0, 1], as stored; alpha is dropped."""
    path = Path(path)
    raw = cv2.imdecode(np.frombuffer(_read_bytes(path), np.uint8), cv2.IMREAD_UNCHANGED)
    if raw is None or raw.dtype not in (np.uint8, np.uint16):
        raise InputError(
            f"{path}: expected an 8- or 16-bit image; got something else; do export it as PNG"
        )
    pixels = raw.astype(np.float32) / np.float32(np.iinfo(raw.dtype).max)
    if pixels.ndim == 2:
        return pixels[..., None]
    return np.ascontiguousarray(pixels[..., 2::-1])


def write_exr(path: str | Path, linear: np.ndarray) -> None:
    """Write linear light (H, W, 3) as a half-float OpenEXR file."""
    import OpenEXR

    linear = np.asarray(linear)
    if linear.ndim != 3 or linear.shape[2] != 3:
        raise ValueError(f"expected (H, W, 3); got {linear.shape}")
    half = np.clip(linear, -65504, 65504).astype(np.float16)
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    try:
        with OpenEXR.File(header, {"RGB": np.ascontiguousarray(half)}) as file:
            file.write(str(path))
    except (OSError, RuntimeError) as error:
        raise OutputError(f"{path}: expected to write here; got {_one_line(error)}") from None


def read_hdr(path: str | Path) -> np.ndarray:
    """Read an environment (.exr or .hdr) as linear float32 (H, W, 3)."""
    path = Path(path)
    data = _read_bytes(path)
    if path.suffix.lower() == ".exr":
        import OpenEXR

        try:
            with OpenEXR.File(str(path)) as file:
                channels = file.channels()
                key = next((k for k in ("RGB", "RGBA") if k in channels), None)
                if key is None and "Y" in channels:
                    return np.repeat(
                        np.asarray(channels["Y"].pixels, np.float32)[..., None], 3, axis=2
                    )
                if key is None:
                    raise ValueError(f"channels {sorted(channels)}")
                return np.array(channels[key].pixels[..., :3], dtype=np.float32)
        except (OSError, RuntimeError, ValueError) as error:
            raise InputError(
                f"{path}: expected an RGB OpenEXR file; got {_one_line(error)}; do export it again"
            ) from None
    raw = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if raw is None or raw.dtype != np.float32 or raw.ndim != 3:
        raise InputError(
            f"{path}: expected a Radiance .hdr or an .exr; got something else; do export it again"
        )
    return np.ascontiguousarray(raw[..., 2::-1])


def resize_area(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize (H, W) or (H, W, C) to `size` = (H, W): area average when shrinking, bilinear when growing."""
    height, width = size
    shrinks = height <= image.shape[0] and width <= image.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    resized = cv2.resize(image, (width, height), interpolation=method)
    return resized.reshape(height, width, *image.shape[2:])


def _read_bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: expected a file; got nothing there; do check the path") from None
    except IsADirectoryError:
        raise InputError(
            f"{path}: expected a file; got a folder; do name the files in it"
        ) from None
    except OSError as error:
        raise InputError(
            f"{path}: expected a readable file; got {error.strerror}; do check its permissions"
        ) from None
    if not data:
        raise InputError(
            f"{path}: expected an image; got an empty file; do export or copy it again"
        )
    return data


def _write_bytes(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise OutputError(
            f"{path}: expected to write here; got {error.strerror}; do choose another folder"
        ) from None


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
