"""Render scans of known truth, decompose the photos, compare: the paper's 4.6, Tables 5 and 6, Figures 2 and 3.

    python -m train.lightstage.scans --out runs/scans
    python bench/synthetic_scan.py runs/scans --out DIR [--full] [--heads 0] [--per-head 3]
    blender -b --python-exit-code 1 -P bench/synthetic_scan.py -- SCANS --out DIR

SCANS may be scans of your own, see judge_set.py, whose flags it shares: ``--full`` is the paper's 30 views
and five HDRIs for every head, otherwise a subset that result.json states. Writes DIR/error_map.png,
a re-render comparison per photo of ``--rerender N`` (photo, re-render, 4 x the difference) and DIR/result.json,
whose path is the last line printed. Run again, it goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

# Run by path, also by Blender, which puts neither this folder nor the root on sys.path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import bpy  # noqa: E402

from bench import scene, views  # noqa: E402
from bench.judge_set import add_view_options, photograph  # noqa: E402
from bench.record import interval, provenance, write_record  # noqa: E402
from bench.runtime import run_script  # noqa: E402
from bench.scan_tables import tabulate_scans  # noqa: E402


def compare_renders(photos: list[Path], out: Path, count: int, samples: int) -> dict:
    """Figures of ``count`` re-renders at equal steps over the photos, with their mean."""
    chosen = [photos[i * len(photos) // count] for i in range(min(count, len(photos)))]
    pairs = []
    for photo in chosen:
        work = out / "work" / f"{photo.parent.name}_{photo.stem.removeprefix('photo_')}"
        if (work / "result").is_dir():
            pairs.append(views.rerender(photo, work / "result", work, samples))
    if not pairs:
        return {}
    listed = out / "work" / "pairs.json"
    listed.write_text(json.dumps(pairs), encoding="utf-8")
    figures = json.loads(run_script("compare.py", listed.resolve()))
    means = {k: interval([f[k] for f in figures]) for k in ("rmse", "ssim")}
    return means | {
        "lpips": figures[0]["lpips"],
        "photos": [p["picture"].split("/")[-2] for p in pairs],
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="synthetic_scan.py", description=__doc__.splitlines()[0])
    add_view_options(parser)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--map-size", type=int, default=1024, help="texels of the predicted maps")
    parser.add_argument("--compare-size", type=int, default=512, help="texels compared")
    parser.add_argument("--rerender", type=int, default=4, help="photos rendered again")
    options = parser.parse_args(scene.script_arguments())
    photos = photograph(options)
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    flags: list[object] = ["--mean", (options.scans / "mean.npz").resolve(), "--out", out]
    flags += ["--map-size", options.map_size, "--compare-size", options.compare_size]
    flags += ["--weights", options.weights.resolve()] if options.weights else []
    found = json.loads(run_script("scan_figures.py", *[p.resolve() for p in photos], *flags))
    keys = ("size", "samples", "per_head", "full", "yaw", "elevation", "hdri", "map_size")
    settings = {k: getattr(options, k) for k in (*keys, "compare_size")}
    record = provenance("synthetic_scan", options.seed, **settings, photos=len(photos))
    record |= {"blender": bpy.app.version_string} | tabulate_scans(found)
    record["rerender"] = compare_renders(photos, out, options.rerender, options.samples)
    print(write_record(options.out, record))
    return 0


if __name__ == "__main__":
    sys.exit(main())
