"""The contact sheet: one picture that shows a whole result, for people."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .color import linear_to_srgb
from .passes import PASS_BY_KEY

if TYPE_CHECKING:
    from .result import Result

TILE_PX = 420
_GAP_PX, _MARGIN_PX, _LABEL_PX, _HEADER_PX = 16, 32, 34, 72
_BACKGROUND, _TILE_BACKGROUND = (28, 28, 30), (40, 40, 43)
_TEXT, _QUIET_TEXT, _WARNING_TEXT = (235, 235, 235), (150, 150, 155), (235, 180, 90)

_MAP_ROWS = (
    ("albedo", "normal", "ambient_occlusion", "specular"),
    ("raw_diffuse", "translucency", "confidence", "light"),
)
_TITLES = {
    "albedo": "Albedo",
    "normal": "Normal (tangent, +Y up)",
    "ambient_occlusion": "Ambient occlusion",
    "specular": "Specular",
    "raw_diffuse": "Raw diffuse",
    "translucency": "Translucency",
    "confidence": "Confidence (white = seen)",
    "light": "Light of the photo (face side centred)",
}


def contact_sheet(result: Result) -> np.ndarray:
    """Photo, fit, re-render, six passes, confidence and light of ``result``, labelled, on dark grey.

    (H, W, 3) float32, sRGB-encoded [0, 1]. Parts a result does not have (a UV texture has no fit)
    are said to be missing, not left out.
    """
    columns, rows = 4, 1 + len(_MAP_ROWS)
    width = 2 * _MARGIN_PX + columns * TILE_PX + (columns - 1) * _GAP_PX
    row_px = TILE_PX + _LABEL_PX
    height = _HEADER_PX + rows * row_px + (rows - 1) * _GAP_PX + _MARGIN_PX
    canvas = Image.new("RGB", (width, height), _BACKGROUND)
    draw = ImageDraw.Draw(canvas)
    draw.text((_MARGIN_PX, 22), result.name, fill=_TEXT, font=_font(28))
    right = f"FacePBR  {next(iter(result.passes.values())).shape[0]} px maps"
    draw.text((width - _MARGIN_PX, 40), right, fill=_QUIET_TEXT, font=_font(18), anchor="rm")

    def place(row: int, column: int, title: str, image: np.ndarray | None, missing: str) -> None:
        left = _MARGIN_PX + column * (TILE_PX + _GAP_PX)
        top = _HEADER_PX + row * (row_px + _GAP_PX)
        canvas.paste(_tile(image, missing), (left, top))
        draw.text((left + 2, top + TILE_PX + 8), title, fill=_QUIET_TEXT, font=_font(17))

    face = _face_box(result)
    place(0, 0, "Photo", result.photo, "no photo")
    place(0, 1, "Fit", _crop(result.overlay, result.photo, face), "no fit: a UV texture was given")
    again = _crop(result.rerender, result.photo, face)
    place(0, 2, "Re-render: passes under the estimated light", again, "no re-render")
    _facts(draw, result, _MARGIN_PX + 3 * (TILE_PX + _GAP_PX), _HEADER_PX)
    for row, keys in enumerate(_MAP_ROWS, start=1):
        for column, key in enumerate(keys):
            place(row, column, _TITLES[key], _map_image(result, key), "not estimated")
    return np.asarray(canvas, np.float32) / np.float32(255)


def _map_image(result: Result, key: str) -> np.ndarray | None:
    if key == "confidence":
        return result.confidence
    if key == "light":
        return None if result.environment is None else _tone_mapped(result.environment)
    assert key in PASS_BY_KEY
    return result.passes.get(key)


def _tone_mapped(environment: np.ndarray) -> np.ndarray:
    """Linear equirect -> viewable sRGB, exposed so that its mean is mid grey, face side centred."""
    turned = np.roll(environment, -environment.shape[1] // 4, axis=1)
    exposed = turned * (0.25 / max(float(turned.mean()), 1e-6))
    return linear_to_srgb(exposed / (1.0 + exposed) * 1.25)


def _face_box(result: Result) -> tuple[int, int, int, int] | None:
    """Square around the landmarks, (left, top, right, bottom) px, or None without landmarks."""
    if result.landmarks is None:
        return None
    low, high = result.landmarks.points.min(0), result.landmarks.points.max(0)
    center = (low + high) / 2 - (0, 0.10 * (high - low)[1])
    half = 0.95 * float((high - low).max())
    left, top = np.floor(center - half).astype(int)
    return int(left), int(top), int(left + 2 * half), int(top + 2 * half)


def _crop(
    image: np.ndarray | None, photo: np.ndarray | None, box: tuple[int, int, int, int] | None
) -> np.ndarray | None:
    """``image`` cut to ``box`` where it has the photo's size (the box is in its pixels)."""
    if image is None or photo is None or box is None or image.shape[:2] != photo.shape[:2]:
        return image
    left, top, right, bottom = box
    cut = image[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    return cut if min(cut.shape[:2]) >= 8 else image


def _tile(image: np.ndarray | None, missing: str) -> Image.Image:
    """Any float map or photo [0, 1] -> square tile, aspect kept."""
    tile = Image.new("RGB", (TILE_PX, TILE_PX), _TILE_BACKGROUND)
    if image is None:
        at = (TILE_PX // 2, TILE_PX // 2)
        ImageDraw.Draw(tile).text(at, missing, fill=_QUIET_TEXT, font=_font(17), anchor="mm")
        return tile
    pixels = np.asarray(image, np.float32)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    pixels = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
    scale = TILE_PX / max(pixels.shape[:2])
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    pixels = cv2.resize(pixels, size, interpolation=method)
    shown = Image.fromarray(np.rint(np.clip(np.nan_to_num(pixels), 0, 1) * 255).astype(np.uint8))
    tile.paste(shown, ((TILE_PX - size[0]) // 2, (TILE_PX - size[1]) // 2))
    return tile


def _facts(draw: ImageDraw.ImageDraw, result: Result, left: int, top: int) -> None:
    """The text tile: how the fit went, and what to be wary of."""
    draw.rectangle((left, top, left + TILE_PX - 1, top + TILE_PX - 1), fill=_TILE_BACKGROUND)
    lines: list[tuple[str, str]] = []
    if result.photo is not None:
        lines.append(("Photo", f"{result.photo.shape[1]} x {result.photo.shape[0]} px"))
    if result.landmarks is not None:
        lines.append(("Detector", result.landmarks.detector))
    if result.mesh is not None:
        lines.append(("Head", f"{result.mesh.name}, {result.mesh.num_vertices:,} vertices"))
    if result.fit is not None:
        residual = (
            f"{result.fit.residual_px:.1f} px, {100 * result.fit.residual_iod:.1f} % of eye gap"
        )
        lines.append(("Landmarks off by", residual))
        lines.append(("Focal length", f"{result.fit.camera.focal_px:.0f} px"))
    lines.append(("Seen in the photo", f"{100 * float(np.mean(_seen(result))):.0f} % of the face"))
    y = top + 24
    for name, value in lines:
        draw.text((left + 22, y), name, fill=_QUIET_TEXT, font=_font(17))
        draw.text((left + TILE_PX - 22, y), value, fill=_TEXT, font=_font(17), anchor="ra")
        y += 30
    y += 12
    for warning in dict.fromkeys([*result.warnings, *result.report.get("warnings", ())]):
        for line in textwrap.wrap(str(warning), 46):
            if y > top + TILE_PX - 26:
                return
            draw.text((left + 22, y), line, fill=_WARNING_TEXT, font=_font(15))
            y += 21
        y += 6


def _seen(result: Result) -> np.ndarray:
    """Confidence over the middle of the layout, where the face lies in the HiFi3D UVs."""
    size = result.confidence.shape[0]
    rows, columns = (
        slice(int(0.25 * size), int(0.75 * size)),
        slice(int(0.25 * size), int(0.75 * size)),
    )
    return result.confidence[rows, columns] > 0.5


def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)
