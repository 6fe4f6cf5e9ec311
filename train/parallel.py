"""Data-parallel training under `torchrun`: every rank works on its rows of the global batch, gradients are averaged.

A run on N ranks takes the same steps as one process on the same global batch: every loss is a mean over samples.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from .config import ConfigError


@dataclass(frozen=True)
class Ranks:
    """This process among `world` that train together; `Ranks()` is a process alone."""

    rank: int = 0
    world: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes the files and talks."""
        return self.rank == 0

    def rows(self, batch: int) -> slice:
        """This rank's rows of a global batch; ConfigError if they cannot be even."""
        if batch % self.world:
            raise ConfigError(
                f"expected --batch to be a multiple of the {self.world} ranks; got {batch}"
            )
        share = batch // self.world
        return slice(self.rank * share, (self.rank + 1) * share)

    def mean(self, values: Tensor) -> Tensor:
        """The mean over the ranks of a tensor each of them has; in place."""
        if self.world > 1:
            dist.all_reduce(values)
            values /= self.world
        return values

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by its mean over the ranks, all in one message."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        if self.world == 1 or not gradients:
            return
        flat = self.mean(torch.cat([g.reshape(-1) for g in gradients]))
        for gradient, part in zip(
            gradients, flat.split([g.numel() for g in gradients]), strict=True
        ):
            gradient.copy_(part.view_as(gradient))

    def agree(self, value: float, device: torch.device) -> float:
        """Rank 0's number, on every rank."""
        if self.world == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64, device=device)
        dist.broadcast(shared, 0)
        return float(shared)


ALONE = Ranks()


def join_ranks(device: torch.device) -> Ranks:
    """Meet the other processes of `torchrun` (NCCL on CUDA, gloo on CPUs); alone without it."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return ALONE
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return Ranks(dist.get_rank(), world)


def leave_ranks(ranks: Ranks) -> None:
    """Let the others go."""
    if ranks.world > 1:
        dist.destroy_process_group()
