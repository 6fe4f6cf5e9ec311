"""Curves of a run: always a CSV, and TensorBoard events where tensorboard is installed."""

from __future__ import annotations

import csv
import warnings
from pathlib import Path


class Curves:
    """Appends scalars under `folder`: scalars.csv (step, name, value) and event files."""

    def __init__(self, folder: Path, step: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / "scalars.csv").open("a", newline="", encoding="utf-8")
        self._csv = csv.writer(self._file)
        try:
            from torch.utils.tensorboard import SummaryWriter

            self._events: SummaryWriter | None = SummaryWriter(str(folder), purge_step=step)
        except ImportError as error:
            warnings.warn(f"no TensorBoard curves ({error}); see scalars.csv", stacklevel=2)
            self._events = None

    def add(self, scalars: dict[str, float], step: int) -> None:
        self._csv.writerows((step, name, f"{value:.6g}") for name, value in scalars.items())
        self._file.flush()
        if self._events is not None:
            for name, value in scalars.items():
                self._events.add_scalar(name, value, step)

    def close(self) -> None:
        self._file.close()
        if self._events is not None:
            self._events.close()
