"""Real Blenders to install the add-on's zip into.

The bpy wheel of this environment; another one, where FACEPBR_BPY_PYTHON names the Python of an environment with it;
and a blender executable, FACEPBR_BLENDER or the one on the path.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import build_addon
from core.nets import MAGINet, Pix2PixHD, RefinementNet
from core.weights import STAGES, save_stage, write_index

SCRIPT = Path(__file__).parent / "in_blender.py"
TIMEOUT_S = 300


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zip, as build_addon.py makes it."""
    out = tmp_path_factory.mktemp("dist")
    folder = build_addon.stage(out / build_addon.NAME)
    return build_addon.zip_folder(folder, out / "facepbr.zip")


@pytest.fixture(scope="session")
def weights(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The shipped networks ("" for the add-on), or small untrained ones where the set is not complete."""
    shipped = repository / "core" / "weights"
    if all((shipped / f"{stage}.safetensors").is_file() for stage in STAGES):
        return ""
    folder = tmp_path_factory.mktemp("weights")
    networks = {
        "maginet": MAGINet(4, output="ratio"),
        "refinement": RefinementNet(4),
        "pix2pixhd": Pix2PixHD(4, num_down=2, num_blocks=1),
    }
    for stage, network in networks.items():
        save_stage(folder / f"{stage}.safetensors", network, {"stage": stage, "size": "128"})
    write_index(folder)
    return str(folder)


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The astronaut, in a folder and under a name that are not plain ASCII."""
    data = pytest.importorskip("skimage.data", reason="scikit-image is not installed")
    path = tmp_path_factory.mktemp("photo") / "Fotos von Jürgen 写真" / "астронавт 1.png"
    path.parent.mkdir()
    Image.fromarray(data.astronaut()).save(path)
    return path


@pytest.fixture(scope="session")
def wall(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture without a face."""
    path = tmp_path_factory.mktemp("wall") / "wall.png"
    Image.fromarray(np.full((200, 200, 3), 128, np.uint8)).save(path)
    return path


@pytest.fixture(scope="session")
def result_folder(photo: Path, weights: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A result of the astronaut, for the checks that are not about the job."""
    from core.pipeline import Pipeline
    from core.result import write_result

    pipeline = Pipeline(device="cpu", weights_dir=Path(weights) if weights else None, size=256)
    return write_result(pipeline.decompose(photo), tmp_path_factory.mktemp("result") / "astronaut")


@pytest.fixture(params=["bpy", "other-bpy", "executable"])
def blender(
    request: pytest.FixtureRequest, archive: Path, weights: str, tmp_path: Path
) -> Callable[..., dict[str, Any]]:
    """blender(check, **given) -> what the check in in_blender.py returned, in each Blender there is."""
    if request.param == "bpy":
        if importlib.util.find_spec("bpy") is None:
            pytest.skip("the bpy wheel is not installed")
        command = [sys.executable, str(SCRIPT)]
    elif request.param == "other-bpy":
        other = os.environ.get("FACEPBR_BPY_PYTHON")
        if not other:
            pytest.skip("FACEPBR_BPY_PYTHON names no Python with another bpy")
        command = [other, str(SCRIPT)]
    else:
        found = os.environ.get("FACEPBR_BLENDER") or shutil.which("blender")
        if not found:
            pytest.skip("no blender executable (set FACEPBR_BLENDER to one)")
        start = [found, "-b", "--factory-startup", "--python-exit-code", "1"]
        command = [*start, "--python-use-system-env", "-P", str(SCRIPT), "--"]
    user = tmp_path / "user"
    user.mkdir()
    environment = {
        **os.environ,
        **{f"BLENDER_USER_{k}": str(user) for k in ("RESOURCES", "CONFIG", "SCRIPTS", "DATAFILES")},
    }
    environment.pop("FACEPBR_PYTHON", None)
    if request.param == "executable":  # a distribution's Blender has no numpy of its own
        environment["PYTHONPATH"] = str(Path(np.__file__).parents[1])

    def run(check: str, **given: Any) -> dict[str, Any]:
        known = {"archive": archive, "python": sys.executable, "weights": weights}
        text = json.dumps({**known, **given}, default=str)
        done = subprocess.run(
            [*command, check, text],
            env=environment,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=TIMEOUT_S,
        )
        lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
        assert done.returncode == 0 and lines, done.stdout[-2000:] + done.stderr[-4000:]
        return json.loads(lines[-1].removeprefix("RESULT "))

    return run
