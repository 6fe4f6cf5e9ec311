"""The add-on in a real window: a blender executable on a virtual display, a real mouse by xdotool, pictures, latency.

    python tests/blender/window.py --photo PHOTO --out DIR [--blender blender] [--replay RESULT] [--patience 60]

Needs Xvfb and xdotool. Writes four pictures and result.json into DIR; prints the latter's path.
``--replay`` puts a stand-in for the networks behind the window, which plays a finished result folder at the pace of a
job: the window can be judged on a machine that is busy.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# By path: the packager lies in the root of the checkout.
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from conftest import blender_environment  # noqa: E402

import build_addon  # noqa: E402

SIZE = (1280, 800)
NEEDS = ("Xvfb", "xdotool")
STAND_IN = """#!{python}
import json, shutil, sys, time
for line in sys.stdin:
    job = json.loads(line)
    for done in range(9):
        print(json.dumps({{"id": job["id"], "stage": "step", "of": "", "done": done, "total": 9}}), flush=True)
        time.sleep(2)
    folder = job["out"] + "/astronaut"
    shutil.copytree({result!r}, folder)
    print(json.dumps({{"id": job["id"], "result": folder}}), flush=True)
"""


def run(
    photo: Path, out: Path, blender: str, replay: Path | None = None, patience_s: float = 3.0
) -> dict:
    """What in_window.py saw, and what was left when Blender had ended."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = build_addon.stage(Path(temporary) / build_addon.NAME)
        archive = build_addon.zip_folder(folder, Path(temporary) / "facepbr.zip")
        python = Path(sys.executable)
        if replay is not None:
            python = Path(temporary) / "python"
            python.write_text(STAND_IN.format(python=sys.executable, result=str(replay)))
            python.chmod(0o755)
        photo = Path(shutil.copy(photo, temporary))  # with the .blend file beside it
        given = {"archive": archive, "photo": photo, "out": out, "python": python}
        given["patience_s"] = patience_s
        read, write = os.pipe()
        width, height = SIZE
        server = ["Xvfb", "-displayfd", str(write), "-screen", "0", f"{width}x{height}x24"]
        with subprocess.Popen(server, pass_fds=[write], stderr=subprocess.DEVNULL) as display:
            os.close(write)
            number = os.read(read, 16).decode().strip()
            try:
                done = subprocess.run(
                    [
                        blender, "--factory-startup", "--window-geometry", "0", "0", str(width),
                        str(height), "--python-use-system-env", "-P",
                        str(Path(__file__).with_name("in_window.py")), "--",
                        json.dumps(given, default=str),
                    ],
                    env={
                        **blender_environment(Path(temporary) / "user"),
                        "DISPLAY": f":{number}",
                        "LIBGL_ALWAYS_SOFTWARE": "1",
                    },
                    capture_output=True,
                    encoding="utf-8",
                    errors="replace",
                    timeout=590,
                )  # fmt: skip
            finally:
                display.terminate()
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if not lines:
        raise SystemExit(f"window.py: no result\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    seen = json.loads(lines[-1].removeprefix("RESULT "))
    if "error" in seen:
        raise SystemExit(f"window.py: {seen['error']}")
    pid, folder = seen.pop("left_behind")
    end = time.monotonic() + 5
    while (Path(f"/proc/{pid}").exists() or Path(folder).exists()) and time.monotonic() < end:
        time.sleep(0.05)
    seen["replay"] = replay is not None
    seen["worker_after_quit"] = Path(f"/proc/{pid}").exists()
    seen["folder_after_quit"] = Path(folder).exists()
    return seen


def main() -> int:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photo", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--blender", default=shutil.which("blender"))
    parser.add_argument("--replay", type=Path, metavar="RESULT")
    parser.add_argument(
        "--patience", type=float, default=3.0, help="seconds for shaders to compile"
    )
    options = parser.parse_args()
    missing = [name for name in NEEDS if not shutil.which(name)]
    if missing or not options.blender:
        raise SystemExit(f"window.py: expected {', '.join(missing) or 'blender'}; not found")
    replay = options.replay.resolve() if options.replay else None
    seen = run(
        options.photo.resolve(), options.out.resolve(), options.blender, replay, options.patience
    )
    path = options.out / "result.json"
    path.write_text(json.dumps(seen, indent=2) + "\n", encoding="utf-8")
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
