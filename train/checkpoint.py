"""Checkpoints that survive a kill or a full disk: written aside, flushed, renamed; one kept back.

A checkpoint is a torch file of tensors, numbers and strings only, and is read with
`weights_only=True`, so nothing in it can run.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from core.errors import FacePBRError

LAST, PREVIOUS = "last.ckpt", "previous.ckpt"


class CheckpointError(FacePBRError):
    """No usable checkpoint where one was asked for."""


def save(folder: Path, state: dict[str, Any]) -> bool:
    """Write `state` as folder/last.ckpt; the one before becomes previous.ckpt.

    Returns False, with a warning and the old files untouched, if the disk refuses.
    """
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{LAST}.{os.getpid()}.tmp"
    try:
        with open(temporary, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        if (folder / LAST).exists():
            os.replace(folder / LAST, folder / PREVIOUS)
        os.replace(temporary, folder / LAST)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        temporary.unlink(missing_ok=True)
        warnings.warn(
            f"checkpoint not written to {folder}: {error}; training goes on", stacklevel=2
        )
        return False
    return True


def load(folder: Path) -> dict[str, Any] | None:
    """The newest readable checkpoint of a run folder; None if it has none at all."""
    present = [folder / name for name in (LAST, PREVIOUS) if (folder / name).exists()]
    for path in present:
        try:
            return read(path)
        except CheckpointError as error:
            warnings.warn(f"{error}; trying the one before", stacklevel=2)
    if present:
        raise CheckpointError(
            f"expected a readable checkpoint in {folder}; got only damaged ones; start with a new --out"
        )
    return None


def read(path: Path) -> dict[str, Any]:
    """One checkpoint file; CheckpointError if it is damaged or no checkpoint."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # zip, pickle, OS: whatever is wrong with the file
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise CheckpointError(f"expected a checkpoint; got {path}: {reason}") from error
    if not isinstance(state, dict) or "config" not in state:
        raise CheckpointError(f"expected a checkpoint of train/run.py; got {path}")
    return state


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    """Averaged weights of a run folder, a checkpoint, or a safetensors file."""
    if path.is_dir():
        state = load(path)
        if state is None:
            raise CheckpointError(f"expected a run folder with a checkpoint; got {path}")
        return state["ema"]
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        try:
            return {k: v.float() for k, v in load_file(path).items()}
        except Exception as error:
            raise CheckpointError(f"expected a safetensors file; got {path}: {error}") from error
    return read(path)["ema"]


def warm_start(net: nn.Module, path: Path) -> list[str]:
    """Load weights of another run into `net`; returns the tensors of a part that run did not have.

    Those stay as they are. Every tensor of the file must fit; CheckpointError names what does not.
    """
    weights = weights_of(path)
    own = net.state_dict()
    wrong = [k for k in weights if k not in own or weights[k].shape != own[k].shape]
    if wrong or not weights:
        raise CheckpointError(
            f"expected weights that fit --net in {path}; got {len(wrong)} tensors that do not "
            f"({', '.join(wrong[:3])}); use the --net arguments it was trained with"
        )
    return net.load_state_dict(weights, strict=False).missing_keys
