"""Sample sheets: rows of panels in one PNG, for judging a run by eye."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from core.images import write_map

PANEL_PX = 192


def write_sheet(path: Path, rows: list[list[Tensor]], panel_px: int = PANEL_PX) -> Path:
    """rows of (3, H, W) panels in [0, 1] -> PNG; short rows are padded with grey."""
    columns = max(len(row) for row in rows)
    blank = torch.full((3, panel_px, panel_px), 0.2)
    lines = []
    for row in rows:
        small = [
            F.interpolate(x[None].float(), size=(panel_px, panel_px), mode="area")[0] for x in row
        ]
        lines.append(torch.cat(small + [blank] * (columns - len(row)), dim=2))
    sheet = torch.cat(lines, dim=1).permute(1, 2, 0).numpy()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_map(path, sheet)
    return path


def read_real(folder: Path, size: int, limit: int = 8) -> list[Tensor]:
    """Unwrapped real textures of a folder as (3, size, size) in [0, 1], sRGB-encoded."""
    from core.images import read_map

    images = []
    for path in sorted(folder.glob("*.png"))[:limit]:
        x = torch.from_numpy(read_map(path)).permute(2, 0, 1)[None].float()
        images.append(F.interpolate(x.expand(1, 3, -1, -1), size=(size, size), mode="area")[0])
    return images
