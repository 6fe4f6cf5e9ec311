"""What the networks cost: parameters, multiply-adds, bytes moved, and the sizes each stage runs at. torch, no bpy."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from core.nets import MAGINet, Pix2PixHD, RefinementNet
from core.nets.blocks import count_parameters
from core.weights import load_stage, read_metadata, stage_path

PAPER = {
    "maginet": {"parameters_m": 313.0, "macs_g": 262.0},
    "maginet + refinement": {"parameters_m": 313.3, "macs_g": 303.0},
    "whole": {"parameters_m": 495.8, "macs_g": 1445.0},
}
"""The paper's Table 11, each row with the stages before it. Its Table 1 as printed gives about 23 M for Stage I."""


@dataclass(frozen=True)
class Stage:
    """One network and the shapes it is given for one photo, (C, H, W)."""

    name: str
    network: nn.Module
    shapes: tuple[tuple[int, int, int], ...]

    def inputs(self, batch: int, device: str | torch.device = "cpu") -> tuple[Tensor, ...]:
        """Seeded inputs in [-1, 1], (B, C, H, W)."""
        if str(device) == "meta":
            return tuple(torch.empty(batch, *shape, device="meta") for shape in self.shapes)
        generator = torch.Generator().manual_seed(0)
        made = (torch.rand(batch, *s, generator=generator) * 2 - 1 for s in self.shapes)
        return tuple(x.to(device) for x in made)


def paper_stages() -> list[Stage]:
    """The paper's three at base 64 and 1024^2, random weights."""
    torch.manual_seed(0)
    return [
        Stage("maginet", MAGINet(base=64).eval(), ((3, 512, 512),)),
        Stage("refinement", RefinementNet(base=64).eval(), ((3, 512, 512),)),
        Stage("pix2pixhd", Pix2PixHD(ngf=64).eval(), ((3, 1024, 1024),)),
    ]


def shipped_stages(weights: Path | None = None) -> list[Stage]:
    """The embedded three, at the sizes they run at in the pipeline at 1024^2."""
    stages = []
    for name, default in (("maginet", 512), ("refinement", 512), ("pix2pixhd", 1024)):
        network = load_stage(name, weights)
        trained = int(read_metadata(stage_path(name, weights)).get("size", default))
        side = 512 if name == "refinement" else trained
        shapes: tuple[tuple[int, int, int], ...] = ((3, side, side),)
        if getattr(network, "guide", False):
            photo = 1024 if name == "refinement" else side
            shapes += ((3, photo, photo),)
        stages.append(Stage(name, network, shapes))
    return stages


def cost_of(stage: Stage) -> dict[str, Any]:
    """Parameters in millions, multiply-adds in thousand millions and megabytes moved, for one photo.

    Counted, not run (meta device): multiply-adds of convolutions and matrix products; bytes of parameters
    and of every convolution's input and output in float32, each once, which is the least that can move.
    """
    network = _on_meta(stage.network)
    moved = 4 * sum(p.numel() for p in network.parameters())

    def count(module: nn.Module, given: tuple[Any, ...], out: Any) -> None:
        nonlocal moved
        moved += 4 * (given[0].numel() + out.numel())

    layers = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
    hooks = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, layers)]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(*stage.inputs(1, "meta"))
    for hook in hooks:
        hook.remove()
    return {
        "parameters_m": count_parameters(stage.network.requires_grad_(True)) / 1e6,
        "macs_g": counter.get_total_flops() / 2e9,
        "moved_mb": moved / 1e6,
        "input": "x".join(map(str, stage.shapes[0])),
    }


def _on_meta(network: nn.Module) -> nn.Module:
    twin = type(network)(**json.loads(json.dumps(network.config)))  # type: ignore[arg-type]
    return twin.to("meta").eval()


def cost_table(stages: list[Stage]) -> dict[str, Any]:
    """Each stage, and the sums of the stages so far as the paper's Table 11 counts them."""
    rows = {stage.name: cost_of(stage) for stage in stages}
    out: dict[str, Any] = {"stages": rows, "cumulative": {}}
    for count, name in enumerate(PAPER, start=1):
        some = list(rows.values())[:count]
        out["cumulative"][name] = {
            k: sum(row[k] for row in some) for k in ("parameters_m", "macs_g")
        }
    return out
