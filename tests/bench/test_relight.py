"""The relight script by path, as `make demo` runs it, on a small head made here."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("bpy", reason="bpy is not installed")

from core.images import read_map

SCRIPT = Path(__file__).resolve().parents[2] / "bench" / "relight.py"


def run(*arguments):
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_relights_and_prints_its_report_last(result, tmp_path):
    done = run(result, "--hdri", "forest", "--hdri", "photo@20", "--out", tmp_path / "out dir",
               "--size", 48, "--samples", 4)  # fmt: skip
    assert done.returncode == 0, done.stderr
    report_path = Path(done.stdout.splitlines()[-1])
    report = json.loads(report_path.read_text())
    assert [row["light"] for row in report["lights"]] == ["forest", "photo_20"]
    assert {"commit", "date", "seed", "hardware", "summary"} <= set(report)
    forest, photo = (
        read_map(report_path.parent / f"{name}.png") for name in ("forest", "photo_20")
    )
    both = read_map(report_path.parent / "relight.png")
    assert forest.shape == (48, 48, 3) and both.shape == (48, 48 * 2 + 8, 3)
    np.testing.assert_array_equal(both[:, :48], forest)
    middle = np.s_[20:28, 20:28]
    assert forest[middle][..., 0].mean() > 1.3 * forest[middle][..., 2].mean()  # red skin
    assert photo[middle][..., 2].mean() > photo[middle][..., 0].mean()  # in blue light


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--hdri", "beach"], "forest"),
        (["--hdri", "forest@left"], "degrees"),
        (["--hdri", "missing.exr"], "not there"),
    ],
)
def test_wrong_lights_fail_in_one_line(result, tmp_path, arguments, message):
    done = run(result, *arguments, "--out", tmp_path / "out")
    assert done.returncode != 0 and message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and not (tmp_path / "out").exists()


def test_a_folder_without_a_head_is_said_so(tmp_path):
    done = run(tmp_path, "--out", tmp_path / "out")
    assert done.returncode != 0 and "head.glb" in done.stderr


def test_the_same_in_a_blender_of_the_system(result, tmp_path):
    blender = shutil.which("blender")
    if blender is None:
        pytest.skip("no blender executable on this machine")
    command = [blender, "-b", "--python-use-system-env", "--python-exit-code", "1", "-P", SCRIPT, "--",
               result, "--hdri", "forest", "--out", tmp_path, "--size", "32", "--samples", "2"]  # fmt: skip
    site = {"PYTHONPATH": sysconfig.get_path("purelib")}  # Debian's Blender has no numpy of its own
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=300, env=os.environ | site
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "forest.png").is_file() and str(tmp_path / "result.json") in done.stdout
