"""Two processes under torchrun do what one does on the same global batch."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from train.config import ConfigError
from train.parallel import Ranks

RUN = Path(__file__).parents[2] / "train" / "run.py"


def scalars(out: Path, name: str) -> list[float]:
    """Values of one curve at the first and the tenth step."""
    with open(out / "curves" / "scalars.csv", newline="") as file:
        return [float(value) for _, key, value in csv.reader(file) if key == name]


@pytest.mark.parametrize("stage", ["maginet", "refinement"])
def test_two_gloo_processes_have_the_loss_of_one(
    stage: str, tiny_folder: Path, tmp_path: Path
) -> None:
    shared = [str(RUN), "--preset", "smoke", "--stage", stage, "--data", str(tiny_folder)]
    shared += ["--size", "32", "--batch", "4", "--steps", "11", "--device", "cpu", "--threads", "1"]
    shared += ["--crop", "32"] if stage == "refinement" else []
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    for name, before in (("one", []), ("two", torchrun)):
        command = [sys.executable, *before, *shared, "--out", str(tmp_path / name)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
    for name, tolerance in (("gradient_norm", 0.1), ("total", 1e-3)):
        one, two = (scalars(tmp_path / run, name) for run in ("one", "two"))
        assert len(one) == 2 and one[0] != one[1]
        assert two == pytest.approx(one, rel=tolerance), name
        assert two[0] == pytest.approx(one[0], rel=2e-5), name  # before rounding can grow


def test_rows_share_the_batch_out_evenly() -> None:
    taken = [torch.arange(6)[Ranks(rank, 3).rows(6)].tolist() for rank in range(3)]
    assert taken == [[0, 1], [2, 3], [4, 5]]
    with pytest.raises(ConfigError, match="--batch"):
        Ranks(0, 4).rows(6)
