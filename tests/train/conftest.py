"""A tiny source of faces that never were: smooth shading over random textures, exact truth."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from core.images import write_map
from core.passes import PASSES


class TinySource:
    """`batch_at(step)` of the training loop, a function of (seed, step) alone."""

    def __init__(self, size: int = 64, batch: int = 2, seed: int = 0) -> None:
        self.size, self.batch, self.seed, self.rows = size, batch, seed, slice(None)

    def batch_at(self, step: int) -> dict[str, torch.Tensor]:
        return {key: value[self.rows] for key, value in self._whole(step).items()}

    def _whole(self, step: int) -> dict[str, torch.Tensor]:
        g = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        b, s = self.batch, self.size

        def noise(channels: int, cells: int) -> torch.Tensor:
            x = torch.rand(b, channels, cells, cells, generator=g)
            return F.interpolate(x, size=(s, s), mode="bicubic", align_corners=False).clamp(0, 1)

        tone = 0.25 + 0.4 * torch.rand(b, 3, 1, 1, generator=g)
        albedo = (tone + 0.2 * (noise(3, s // 2) - 0.5)).clamp(0.02, 0.98)
        shade = 0.4 + 0.8 * noise(1, 3)
        tilt = 0.2 * (noise(2, s // 8) - 0.5)
        normal = F.normalize(torch.cat([tilt, torch.ones(b, 1, s, s)], dim=1), dim=1)
        mask = torch.zeros(b, 1, s, s)
        mask[..., s // 8 : -s // 8, s // 8 : -s // 8] = 1
        return {
            "input": (albedo * shade).clamp(0, 1),
            "albedo": albedo,
            "ambient_occlusion": 1 - 0.3 * noise(1, s // 8),
            "normal": normal * 0.5 + 0.5,
            "specular": noise(1, 4),
            "translucency": noise(1, 4),
            "raw_diffuse": (albedo * 0.9).clamp(0, 1),
            "mask": mask,
            "ita_deg": torch.full((b,), 30.0),
        }

    def sample(self, count: int) -> dict[str, torch.Tensor]:
        """The light stage's own door: the next samples."""
        self.batch = count
        self.seed += 1
        return self.batch_at(0) | {"identity_id": torch.full((count,), self.seed)}

    def sample_views(self, lights: int) -> dict[str, torch.Tensor]:
        """One face, `lights` exposures of one input."""
        one = self.sample(1)
        views = {k: v.expand(lights, *v.shape[1:]).clone() for k, v in one.items()}
        for i in range(1, lights):
            views["input"][i] *= 0.5**i
        return views


@pytest.fixture
def tiny_source() -> type[TinySource]:
    return TinySource


@pytest.fixture
def tiny_folder(tmp_path: Path) -> Path:
    """Sixty IDs in the layout of FFHQ-UV-Intrinsics, 32^2, input textures beside the folders."""
    root = tmp_path / "set"
    source = TinySource(size=32, batch=1)
    for i in range(60):
        batch = {
            k: v[0].permute(1, 2, 0).numpy() for k, v in source.sample(1).items() if v.ndim == 4
        }
        folder = root / f"{i:06d}"
        folder.mkdir(parents=True)
        for row in PASSES:
            write_map(folder / row.dataset_file, np.repeat(batch[row.key], 3 // row.channels, 2))
        write_map(root / f"{i:06d}.png", batch["input"])
    return root
