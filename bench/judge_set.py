"""Photograph scan heads with path-traced subsurface: a judge set with exact truth, in the data set's layout.

    python bench/judge_set.py SCANS [--yaw -40 0 40] [--hdri interior forest@90] [--per-head 3]
    blender -b --python-exit-code 1 -P bench/judge_set.py -- SCANS ...

SCANS: folder written by ``python -m train.lightstage.scans``, or scans of your own: ``<ID>/diffuse.png``
and the other maps with ``head.glb`` or an .obj in the HiFi3D layout. Adds to each ID ``photo_<view>.png``
and .json, and where the head's coefficients are known (meta.json) ``input_<view>.png``: the photo
unwrapped by the true mesh and camera, so that the folder reads as training data. The default is two
dozen photos for eight heads. Resumable; ``--gpu`` renders on a GPU where there is one.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

# Run by path, also by Blender, which puts neither this folder nor the root on sys.path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import scene, spread, views  # noqa: E402
from bench.runtime import run_script  # noqa: E402


def add_view_options(parser: argparse.ArgumentParser) -> None:
    """Flags of what is photographed and how, shared with synthetic_scan.py."""
    parser.add_argument("scans", type=Path)
    parser.add_argument("--yaw", type=float, nargs="+", default=[-35.0, 0.0, 35.0])
    parser.add_argument("--elevation", type=float, nargs="+", default=[0.0])
    parser.add_argument("--hdri", nargs="+", default=[*views.INDOOR, *views.OUTDOOR])
    parser.add_argument("--full", action="store_true", help="the paper's 30 views, all HDRIs")
    parser.add_argument("--per-head", type=int, default=3, help="photos a head; 0 = all views")
    parser.add_argument("--heads", type=int, default=8, help="scans to take; 0 = all")
    parser.add_argument("--size", type=int, default=512, help="pixels a side of the photos")
    parser.add_argument("--samples", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--engine", choices=spread.ENGINES, default="local")
    parser.add_argument("--workers", type=int, help="scans at a time with --engine ray")


def chosen_scans(options: argparse.Namespace) -> list[Path]:
    """The scans to take: ``--heads`` of them at equal steps, so all skin tones stay in."""
    scans = views.find_scans(options.scans)
    count = options.heads or len(scans)
    return [scans[i * len(scans) // min(count, len(scans))] for i in range(min(count, len(scans)))]


def photograph(options: argparse.Namespace) -> list[Path]:
    """Render what is missing; the photos of all chosen scans. SystemExit names what failed."""
    yaws = list(views.FULL_YAWS) if options.full else options.yaw
    elevations = list(views.FULL_ELEVATIONS) if options.full else options.elevation
    every = views.grid(yaws, elevations, options.hdri)
    count = 0 if options.full else options.per_head
    tasks = [
        views.Shoot(scan, views.some_of(every, count, scan.name), options.size, options.samples,
                    options.seed, options.gpu)
        for scan in chosen_scans(options)
    ]  # fmt: skip
    outcomes = spread.spread(views.shoot, tasks, options.engine, options.workers)
    failed = [f"{t.scan.name}: {o.error}" for t, o in zip(tasks, outcomes, strict=True) if o.error]
    if failed:
        raise SystemExit("judge_set.py: " + "; ".join(failed))
    return [Path(photo) for outcome in outcomes for photo in outcome.value]


def main() -> int:
    parser = argparse.ArgumentParser(prog="judge_set.py", description=__doc__.splitlines()[0])
    add_view_options(parser)
    photos = photograph(parser.parse_args(scene.script_arguments()))
    print(run_script("unwrap_views.py", *[path.resolve() for path in photos]), end="")
    print(f"{len(photos)} photos of {len({path.parent for path in photos})} heads")
    return 0


if __name__ == "__main__":
    sys.exit(main())
