"""What each stage is trained to do: batch -> network input, target, weight map, prediction.

Everything here is signed, [-1, 1], (B, C, H, W); the weight map (B, 1, H, W) is 1 on the face.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.nets import MAGINet, Pix2PixHD, RefinementNet
from core.nets.blocks import to_signed
from core.passes import STAGE3_PASSES

from . import checkpoint
from .config import Config, ConfigError
from .data import Batch
from .losses import albedo_terms, pass_terms

NETWORKS: dict[str, type[nn.Module]] = {
    "maginet": MAGINet,
    "refinement": RefinementNet,
    "pix2pixhd": Pix2PixHD,
}


@dataclass(frozen=True)
class Example:
    """One training step's tensors. `condition` is what a discriminator sees beside the result."""

    inputs: tuple[Tensor, ...]
    target: Tensor
    weight: Tensor
    condition: Tensor


def build_net(config: Config) -> nn.Module:
    """The stage's network with the run's arguments; ConfigError names a wrong one."""
    try:
        return NETWORKS[config.stage](**config.net)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"expected --net arguments of {config.stage}; got {error}") from error


def load_maginet(path: Path) -> MAGINet:
    """Frozen Stage I of a run folder or of a weights folder / file as shipped."""
    if path.is_dir() and not (path / "maginet.safetensors").is_file():
        state = checkpoint.load(path)
        if state is None:
            raise ConfigError(f"expected --maginet with weights; got {path}")
        net = MAGINet(**Config.from_json(state["config"]).net)
        net.load_state_dict(state["ema"])
    else:
        from core.weights import load_stage

        net = load_stage("maginet", path if path.is_dir() else path.parent)
        assert isinstance(net, MAGINet)
    return net.eval().requires_grad_(False)


class Task:
    """Turns batches into examples for one stage, and predictions into losses."""

    def __init__(
        self,
        config: Config,
        maginet: MAGINet | None,
        device: torch.device,
        rows: slice = slice(None),
    ) -> None:
        self.config, self.device, self.rows = config, device, rows
        self.maginet = maginet.to(device) if maginet is not None else None
        self.out_channels = 15 if config.stage == "pix2pixhd" else 3

    def example(self, batch: Batch, rng: np.random.Generator) -> Example:
        """The step's tensors; every random choice comes from `rng`."""
        batch = {k: v.to(self.device, non_blocking=True) for k, v in batch.items()}
        photo, albedo = to_signed(batch["input"]), to_signed(batch["albedo"])
        mask = batch["mask"]
        weight = mask + self.config.loss.outside * (1 - mask)
        if self.config.stage == "maginet":
            return Example((photo,), albedo, weight, photo)
        if self.config.stage == "refinement":
            return self._refinement(photo, albedo, weight, rng)
        given = self._given_albedo(photo, albedo, rng)
        target = to_signed(
            torch.cat([batch[row.key].expand(-1, 3, -1, -1) for row in STAGE3_PASSES], dim=1)
        )
        inputs = (given, photo) if self.config.net.get("guide") else (given,)
        return Example(inputs, target, weight, given)

    def _given_albedo(self, photo: Tensor, albedo: Tensor, rng: np.random.Generator) -> Tensor:
        """The true albedo, or the frozen Stage I's, as `true_albedo` draws."""
        if self.maginet is None or rng.random() < self.config.true_albedo:
            return albedo
        with torch.no_grad():
            return self.maginet(photo)

    def _refinement(
        self, photo: Tensor, albedo: Tensor, weight: Tensor, rng: np.random.Generator
    ) -> Example:
        """Maps of twice the size -> crops: (S/2 albedo, S photo, S albedo)."""
        small = self._given_albedo(F.avg_pool2d(photo, 2), F.avg_pool2d(albedo, 2), rng)
        crop = self.config.crop
        if crop:
            corners = []
            for i in range(self.config.batch):
                row, col = (
                    2 * int(rng.integers(0, s // 2 - crop // 2 + 1)) for s in photo.shape[2:]
                )
                corners.append((i % len(photo), row, col))
            corners = corners[self.rows]
            small = torch.stack(
                [
                    small[i, :, r // 2 : (r + crop) // 2, c // 2 : (c + crop) // 2]
                    for i, r, c in corners
                ]
            )
            photo, albedo, weight = (
                torch.stack([x[i, :, r : r + crop, c : c + crop] for i, r, c in corners])
                for x in (photo, albedo, weight)
            )
        guided = self.config.net.get("guide")
        condition = F.interpolate(small, size=photo.shape[2:], mode="bilinear")
        return Example((small, photo) if guided else (small,), albedo, weight, condition)

    def terms(self, prediction: Tensor, example: Example) -> dict[str, Tensor]:
        """Weighted supervised loss terms."""
        of = pass_terms if self.config.stage == "pix2pixhd" else albedo_terms
        return of(prediction, example.target, example.weight, self.config.loss)

    def panels(self, example: Example, prediction: Tensor) -> list[Tensor]:
        """Images for the sheet, each (B, 3, H, W) in [0, 1]: input, predictions, truths."""
        size = prediction.shape[2:]
        shown = [F.interpolate(x, size=size, mode="nearest") for x in example.inputs]
        for x in (prediction, example.target):
            shown += list(x.split(3, dim=1))
        return [(x * 0.5 + 0.5).clamp(0, 1) for x in shown]


def describe(net: nn.Module) -> dict[str, Any]:
    """Class name, arguments and size of a network, for plans and metadata."""
    millions = sum(p.numel() for p in net.parameters()) / 1e6
    return {"network": type(net).__name__, "config": net.config, "parameters_m": round(millions, 3)}
