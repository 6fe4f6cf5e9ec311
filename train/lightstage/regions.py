"""Where things are on the HiFi3D layout: signed distances and soft masks, jittered per face.

Everything is in layout pixels (1024 to the side, x right, y down). Shapes drawn for the subject's
right half (x < 512) are mirrored. Distances are negative inside.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from .texture import (
    LAYOUT,
    Dice,
    curve,
    layout_grid,
    noise,
    polygon_distance,
    polyline_distance,
    resize,
    sample_at,
    smoothstep,
)

HAIRLINE = [
    (512, 138), (420, 138), (345, 150), (300, 185), (270, 245), (250, 310), (240, 370),
    (232, 425), (205, 420), (190, 370), (150, 345), (110, 380), (100, 520), (108, 640), (0, 700),
]  # fmt: skip
FACE_SIDE = [(512, 140), (430, 140), (350, 152), (305, 190), (272, 250), (245, 320), (225, 385)]
EAR = [
    (150, 355),
    (118, 380),
    (106, 440),
    (112, 520),
    (150, 580),
    (178, 560),
    (190, 470),
    (186, 385),
]
UNDER_EYE = [(345, 398), (375, 412), (415, 412), (440, 398)]
LID = [(335, 384), (345, 362), (372, 347), (405, 346), (432, 358), (446, 380), (395, 384)]
BEARD_SIDE = [
    (250, 455), (262, 540), (300, 600), (360, 575), (412, 528), (470, 520), (512, 522)
]  # fmt: skip
BEARD_JAW = [
    (512, 800),
    (420, 790),
    (330, 765),
    (262, 700),
    (222, 610),
    (212, 520),
    (214, 430),
    (250, 455),
]
MOUSTACHE = [(514, 524), (455, 526), (415, 560), (400, 600), (425, 585), (470, 562), (514, 562)]
NOSE = [(488, 330), (540, 330), (540, 512), (434, 512), (428, 480), (476, 430)]
FOREHEAD = [(290, 300), (285, 220), (350, 165), (512, 152), (540, 152), (540, 285), (512, 285)]
NAMES = (
    "lips", "mouth_line", "lid", "eye_line", "under_eye", "nose", "nostrils", "cheeks", "ears",
    "beard", "moustache", "chin_tuft", "hair", "face", "forehead", "neck", "lip_edge",
)  # fmt: skip


def _mirror(points: Tensor) -> Tensor:
    return torch.stack([LAYOUT - points[:, 0], points[:, 1]], -1)


@lru_cache(maxsize=4)
def _distances(key: tuple[tuple[float, float], ...], device: torch.device) -> Tensor:
    """Signed distances (len(NAMES), 512, 512) of the average layout."""
    marks = torch.tensor(key, device=device)
    marks = torch.stack([marks[:, 0], 1 - marks[:, 1]], -1) * LAYOUT
    x, y = layout_grid(512, device)

    def points(values: list[tuple[float, float]]) -> Tensor:
        return torch.tensor(values, device=device, dtype=torch.float32)

    def both(p: Tensor) -> Tensor:
        return torch.minimum(polygon_distance(p, x, y), polygon_distance(_mirror(p), x, y))

    def blob(cx: float, cy: float, rx: float, ry: float) -> Tensor:
        r = (((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2).sqrt()
        return (r - 1) * min(rx, ry)

    def pair(cx: float, cy: float, rx: float, ry: float) -> Tensor:
        return torch.minimum(blob(cx, cy, rx, ry), blob(LAYOUT - cx, cy, rx, ry))

    lips = polygon_distance(marks[48:60], x, y)
    middle = (marks[61:64] + marks[65:68].flip(0)) / 2
    mouth = polyline_distance(curve(torch.stack([marks[60], *middle, marks[64]]), 24), x, y)
    right_eye = torch.stack([marks[36], marks[37], marks[38], marks[39]])
    eye = torch.minimum(
        polyline_distance(right_eye, x, y), polyline_distance(_mirror(right_eye), x, y)
    )
    hair_half = points(HAIRLINE)
    outline = torch.cat([hair_half, points([(0, 0), (512, 0)])])
    hair = both(outline)
    jaw = torch.cat([marks[3:9], _mirror(marks[3:8]).flip(0)])
    top = curve(points(FACE_SIDE), 24)
    face = polygon_distance(
        torch.cat([jaw, _mirror(marks[0:3].flip(0)).flip(0), _mirror(top).flip(0), top, marks[0:3]]),
        x, y,
    )  # fmt: skip
    beard_half = torch.cat([points(BEARD_SIDE), points(BEARD_JAW)])
    beard = both(beard_half)
    moustache = both(points(MOUSTACHE))
    tuft = torch.minimum(blob(512, 690, 75, 60), blob(512, 645, 22, 22))
    nose = torch.minimum(both(points(NOSE)), blob(512, 470, 45, 45))
    forehead = both(points(FOREHEAD))
    fields = {
        "lips": lips,
        "mouth_line": mouth,
        "lid": both(points(LID)),
        "eye_line": eye,
        "under_eye": both(points([*UNDER_EYE, (430, 432), (390, 440), (352, 424)])),
        "nose": nose,
        "nostrils": pair(475, 499, 14, 11),
        "cheeks": pair(352, 488, 70, 62),
        "ears": both(points(EAR)),
        "beard": beard,
        "moustache": moustache,
        "chin_tuft": tuft,
        "hair": hair,
        "face": face,
        "forehead": forehead,
        "neck": 770 - y - 0.0002 * (x - 512) ** 2 * 0 + ((x - 512).abs() * 0.25),
        "lip_edge": lips.abs(),
    }
    return torch.stack([fields[name] for name in NAMES])


@dataclass
class Regions:
    """Distances of one face at size S, and its landmarks in layout pixels (68, 2)."""

    size: int
    fields: Tensor
    marks: Tensor
    bend: Tensor
    """(2, S, S) how this face's layout departs from the average one."""

    def distance(self, name: str) -> Tensor:
        return self.fields[NAMES.index(name)]

    def soft(
        self, name: str, edge: float, grow: float = 0.0, wobble: Tensor | None = None
    ) -> Tensor:
        """Mask (S, S) in [0, 1] that fades over `edge` layout pixels around distance `grow`."""
        d = self.distance(name) - grow
        if wobble is not None:
            d = d + wobble
        return smoothstep(edge, -edge, d)


def jittered(dice: Dice, size: int, landmarks_uv: Tensor, amount: float = 5.0) -> Regions:
    """The regions of one face: the average ones bent smoothly by about `amount` layout pixels."""
    key = tuple((float(u), float(v)) for u, v in landmarks_uv.tolist())
    average = _distances(key, landmarks_uv.device)
    coarse = noise(dice, 128, 230, 2) * amount * 0.7 + noise(dice, 128, 110, 2) * amount * 0.3
    even = (coarse + torch.stack([-coarse[0], coarse[1]]).flip(-1)) * 0.5
    bend = resize(even * 1.2 + coarse * 0.35, size)
    x, y = layout_grid(size, landmarks_uv.device)
    fields = sample_at(average, x + bend[0], y + bend[1])
    marks = torch.stack([landmarks_uv[:, 0], 1 - landmarks_uv[:, 1]], -1) * LAYOUT
    here = sample_at(bend, marks[None, :, 0], marks[None, :, 1])[:, 0].T
    return Regions(size, fields, marks - here, bend)


def face_mask(size: int, landmarks_uv: Tensor, inside: Tensor) -> Tensor:
    """Soft mask (1, S, S) of where losses count: landmark hull dilated, up to the hairline."""
    key = tuple((float(u), float(v)) for u, v in landmarks_uv.tolist())
    fields = _distances(key, landmarks_uv.device)
    mask = smoothstep(22, 6, fields[NAMES.index("face")])
    mask = mask * smoothstep(1.0, 4.0, fields[NAMES.index("mouth_line")] * 0 + 4)
    island = resize(inside[None].float(), size)
    return resize(mask[None], size) * (island > 0.98)
