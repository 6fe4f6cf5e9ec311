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
import zipfile
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
TIMEOUT_S = 600


def blender_environment(user: Path) -> dict[str, str]:
    """Variables for a Blender with a user folder of its own; a distribution's Blender has no numpy of its own."""
    kinds = ("RESOURCES", "CONFIG", "SCRIPTS", "DATAFILES")
    variables = {**os.environ, **{f"BLENDER_USER_{kind}": str(user) for kind in kinds}}
    variables.pop("FACEPBR_PYTHON", None)
    variables["PYTHONPATH"] = str(Path(np.__file__).parents[1])
    return variables


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zip, as build_addon.py makes it."""
    out = tmp_path_factory.mktemp("dist")
    folder = build_addon.stage(out / build_addon.NAME)
    return build_addon.zip_folder(folder, out / "facepbr.zip")


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny stand-in for every wheel that the add-on's environment has, at the locked versions."""
    folder = tmp_path_factory.mktemp("wheels")
    modules = {"opencv-python-headless": "cv2", "pillow": "PIL"}
    for line in build_addon.runtime_requirements().splitlines():
        name, version = line.partition(";")[0].strip().split("==")
        module = modules.get(name, name.replace("-", "_"))
        code = f'__version__ = "{version}"\n'
        if name == "torch":
            code += "class cuda:\n    is_available = staticmethod(lambda: False)\n"
            code += "class backends:\n    mps = None\n"
        stem = f"{name.replace('-', '_')}-{version}"
        with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{module}/__init__.py", code)
            about = f"{stem}.dist-info"
            wheel.writestr(
                f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
            )
            wheel.writestr(
                f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            wheel.writestr(f"{about}/RECORD", "")
    return folder


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


@pytest.fixture(scope="session", params=["bpy", "other-bpy", "executable"])
def blender(
    request: pytest.FixtureRequest,
    archive: Path,
    weights: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., dict[str, Any]]:
    """blender(check, **given) -> what the check in in_blender.py returned, in each Blender there is.

    The first check of a Blender installs the zip into its user folder, the later ones find it there.
    """
    if request.param == "bpy":
        if importlib.util.find_spec("bpy") is None:
            pytest.skip("the bpy wheel is not installed")
        command = [sys.executable, str(SCRIPT)]
    elif request.param == "other-bpy":
        other = os.environ.get("FACEPBR_BPY_PYTHON")
        if not other:
            pytest.skip(
                "FACEPBR_BPY_PYTHON names no Python with another bpy (make test-blender does)"
            )
        command = [other, str(SCRIPT)]
    else:
        found = os.environ.get("FACEPBR_BLENDER") or shutil.which("blender")
        if not found:
            pytest.skip("no blender executable (set FACEPBR_BLENDER to one)")
        start = [found, "-b", "--factory-startup", "--python-exit-code", "1"]
        command = [*start, "--python-use-system-env", "-P", str(SCRIPT), "--"]
    environment = blender_environment(tmp_path_factory.mktemp(request.param))

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
