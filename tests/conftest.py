"""Fixtures shared by every room's tests."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Small tensors run faster on one thread, and tests stay polite on small machines."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of third-party test data: $FACEPBR_SHARED, else ../shared/data beside the checkout; skips without it."""
    named = os.environ.get("FACEPBR_SHARED")
    folder = Path(named) if named else REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no test data at {folder} (set FACEPBR_SHARED to a folder that has it)")
    return folder


@pytest.fixture(scope="session")
def embedded_weights() -> Path:
    """Folder of the shipped weights; skips where the set is not complete."""
    folder = REPOSITORY / "core" / "weights"
    for stage in ("maginet", "refinement", "pix2pixhd", "head"):
        if not (folder / f"{stage}.safetensors").is_file():
            pytest.skip(f"no {stage}.safetensors in {folder}")
    return folder
