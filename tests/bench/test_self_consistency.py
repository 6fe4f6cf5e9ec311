"""The self-consistency script by path, in Python and in the system's Blender, with a stand-in for the networks."""

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

from core.images import read_map, write_map

SCRIPT = Path(__file__).resolve().parents[2] / "bench" / "self_consistency.py"
SMALL = ["--size", "48", "--samples", "2", "--variants", "jitter,mirror"]


@pytest.fixture
def world(result, tmp_path):
    """Environment with the fake worker, a photo of nobody, and where the worker notes what it was asked."""
    python = tmp_path / "python.sh"
    python.write_text(
        f'#!/bin/sh\nexec "{sys.executable}" "{SCRIPT.parents[1]}/tests/bench/fake_worker.py" "$@"\n'
    )
    python.chmod(0o755)
    write_map(tmp_path / "some photo.png", np.random.default_rng(0).random((160, 160, 3)) * 0.5)
    names = {"FACEPBR_PYTHON": python, "FAKE_RESULT": result, "FAKE_LOG": tmp_path / "log"}
    return os.environ | {k: str(v) for k, v in names.items()}, tmp_path


def run(environment, *arguments, start=(sys.executable, str(SCRIPT))):
    command = [*start, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)


def test_two_equal_stacks_render_equal_and_a_second_run_does_nothing_again(world):
    environment, folder = world
    arguments = [folder / "some photo.png", "--out", folder / "out", *SMALL]
    done = run(environment, *arguments)
    assert done.returncode == 0, done.stderr
    path = Path(done.stdout.splitlines()[-1])
    found = json.loads(path.read_text())
    assert set(found["photos"]["some photo"]) == {"jitter", "mirror"} and not found["failed"]
    assert found["summary"]["rmse"] == 0 and found["summary"]["ssim"] == 1
    assert found["settings"]["samples"] == 2 and found["settings"]["hdri"] == "studio"
    sheet = read_map(folder / "out" / "some photo_jitter.png")
    assert sheet.shape == (48, 3 * 48, 3)
    np.testing.assert_allclose(sheet[:, 96:], 0.5, atol=0.01)
    head = sheet[20:28, 20:28]
    assert head[..., 0].mean() > 1.2 * head[..., 2].mean()  # the box's red skin
    assert (folder / "log").read_text().split() == ["some", "photo", "jitter", "mirror"]
    before = {p: p.stat().st_mtime_ns for p in (folder / "out").rglob("renders/*.png")}
    assert len(before) == 4  # three renders and the mask
    again = run(environment, *arguments)
    assert again.returncode == 0, again.stderr
    assert (folder / "log").read_text().split() == ["some", "photo", "jitter", "mirror"]
    assert before == {p: p.stat().st_mtime_ns for p in (folder / "out").rglob("renders/*.png")}


def test_a_photo_without_a_face_is_reported_and_the_others_go_on(world):
    environment, folder = world
    shutil.copy(folder / "some photo.png", folder / "no face.png")
    photos = [folder / "no face.png", folder / "some photo.png"]
    small = ["--size", "32", "--samples", "1", "--variants", "jitter"]
    done = run(environment, *photos, "--out", folder / "out", *small)
    found = json.loads(Path(done.stdout.splitlines()[-1]).read_text())
    assert done.returncode == 1 and list(found["photos"]) == ["some photo"]
    assert found["failed"] == {"no face.png": "bench.runtime.Refused: expected a face; got none"}


def test_the_same_in_a_blender_of_the_system(world):
    environment, folder = world
    blender = shutil.which("blender")
    if blender is None:
        pytest.skip("no blender executable on this machine")
    start = [
        blender,
        "-b",
        "--python-use-system-env",
        "--python-exit-code",
        "1",
        "-P",
        str(SCRIPT),
        "--",
    ]
    site = {"PYTHONPATH": sysconfig.get_path("purelib")}  # Debian's Blender has no numpy of its own
    arguments = [folder / "some photo.png", "--out", folder / "out", *SMALL]
    done = run(environment | site, *arguments, start=start)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((folder / "out" / "result.json").read_text())
    assert found["summary"]["rmse"] == 0 and found["blender"] in done.stdout
