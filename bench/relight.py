"""Render a result's head under environments it was not photographed in.

    python bench/relight.py RESULT_DIR --hdri forest --hdri studio --out DIR --size 512 --samples 48
    blender -b --python-exit-code 1 -P bench/relight.py -- RESULT_DIR --hdri forest --out DIR

``--hdri`` takes the name of one of Blender's own eight, a path to an .exr or .hdr, or ``photo``
(the result's environment.exr); it may be given again, and ``name@90`` turns it by 90 degrees.
Writes one PNG per light, ``relight.png`` (the photo's albedo and all renders side by side) and
``result.json``, whose path is the last line printed. Exposure is set for the face under each light,
except ``photo``, which has the photo's own.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

# Run by path, also by Blender, which puts neither this folder nor the root on sys.path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import bpy  # noqa: E402
import numpy as np  # noqa: E402

from bench import scene  # noqa: E402
from bench.record import provenance, write_record  # noqa: E402


def parse(arguments: list[str]) -> argparse.Namespace:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="relight.py", description=__doc__.splitlines()[0])
    parser.add_argument("result", type=Path, help="folder written by `facepbr decompose`")
    parser.add_argument(
        "--hdri", action="append", help="name, file or 'photo'; name@degrees turns it"
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", type=int, default=512, help="pixels a side")
    parser.add_argument("--samples", type=int, default=48)
    parser.add_argument("--yaw", type=float, default=0.0, help="camera to the head's left, degrees")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    options.hdri = options.hdri or ["forest", "studio"]
    return options


def light_of(text: str, result: Path) -> tuple[Path, float, str]:
    """``name``, ``file`` or ``photo``, each with ``@degrees`` or not -> file, degrees, label."""
    name, _, turn = text.rpartition("@") if "@" in text else (text, "", "0")
    try:
        degrees = float(turn)
    except ValueError:
        raise SystemExit(f"relight.py: expected name@degrees; got {text!r}") from None
    label = Path(name).stem + (f"_{degrees:g}" if degrees else "")
    if name == "photo":
        path = result / "environment.exr"
    elif Path(name).suffix.lower() in (".exr", ".hdr"):
        path = Path(name)
    else:
        try:
            path = scene.hdri_path(name)
        except ValueError as error:
            raise SystemExit(f"relight.py: {error}") from None
    if not path.is_file():
        raise SystemExit(f"relight.py: expected an environment; {path} is not there")
    return path, degrees, label


def relight(options: argparse.Namespace) -> Path:
    """Render every light and write the pictures and result.json; returns the latter's path."""
    lights = [light_of(text, options.result) for text in options.hdri]
    scene.reset()
    try:
        head = scene.load_result(options.result)
    except FileNotFoundError as error:
        raise SystemExit(f"relight.py: {error}") from None
    options.out.mkdir(parents=True, exist_ok=True)
    scene.portrait_camera(head, options.yaw)
    denoised = scene.setup_cycles(options.size, options.samples, seed=options.seed)
    pictures, rows = [], []
    for path, degrees, label in lights:
        started = time.perf_counter()
        # The photo's light carries the photo's exposure; others are exposed for the face.
        own = path.parent == options.result and path.name == "environment.exr"
        strength = scene.set_world(path, degrees, strength=1.0 if own else None)
        picture = scene.render(options.out / f"{label}.png")
        seconds = round(time.perf_counter() - started, 2)
        pictures.append(picture)
        rows.append({"light": label, "strength": round(strength, 4), "seconds": seconds})
        print(f"{options.out / f'{label}.png'}  {seconds} s", flush=True)
    scene.write_png(options.out / "relight.png", side_by_side(pictures))
    return write_record(options.out, describe(options, rows, denoised))


def side_by_side(pictures: list[np.ndarray], gap_px: int = 8) -> np.ndarray:
    """Pictures of one height in a row on dark grey, (H, W, 3)."""
    height = pictures[0].shape[0]
    bar = np.full((height, gap_px, 3), 0.11, np.float32)
    parts: list[np.ndarray] = []
    for picture in pictures:
        parts += [bar, picture]
    return np.concatenate(parts[1:], axis=1)


def describe(options: argparse.Namespace, rows: list[dict], denoised: bool) -> dict:
    """result.json: provenance, settings, and the summary of the renders."""
    settings = {"result": options.result.name, "size_px": options.size, "samples": options.samples}
    seconds = float(np.mean([row["seconds"] for row in rows]))
    return provenance("relight", options.seed, denoised=denoised, **settings) | {
        "blender": bpy.app.version_string,
        "lights": rows,
        "summary": {"seconds_per_render": seconds},
    }


def main() -> int:
    """Entry: arguments after ``--`` under Blender, all of them under Python."""
    print(relight(parse(scene.script_arguments())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
