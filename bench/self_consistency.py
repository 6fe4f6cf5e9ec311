"""Decompose a photo twice, render both stacks, compare: the paper's 4.5, and harder changes of the photo.

    python bench/self_consistency.py PHOTO... --out DIR [--preset quick]
    blender -b --python-exit-code 1 -P bench/self_consistency.py -- PHOTO... --out DIR

Needs no torch: the networks run in the Python that FACEPBR_PYTHON names, else in the checkout's .venv.
Writes a picture per photo and variant (photo's render, variant's, 4 x the difference) and DIR/result.json,
whose path is the last line printed. Run again, it goes on where it stopped. ``--preset quick``: at most
four photos, 512^2 maps, 256^2 renders of 16 samples, under ten minutes on two idle cores.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

# Run by path, also by Blender, which puts neither this folder nor the root on sys.path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import bpy  # noqa: E402

from bench import consistency, scene, spread  # noqa: E402
from bench.record import provenance, write_record  # noqa: E402

QUICK = {"size": 256, "samples": 16, "map_size": 512}
QUICK_PHOTOS = 4


def parse(arguments: list[str]) -> argparse.Namespace:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog="self_consistency.py", description=__doc__.splitlines()[0]
    )
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--preset", choices=("full", "quick"), default="full")
    parser.add_argument("--variants", default=",".join(consistency.VARIANTS))
    parser.add_argument("--size", type=int, help="pixels a side of the renders (512)")
    parser.add_argument("--samples", type=int, help="of Cycles (64; the paper 512)")
    parser.add_argument("--map-size", type=int, help="texels a side of the maps (1024)")
    parser.add_argument("--hdri", default="studio", help="one of Blender's own eight")
    parser.add_argument("--weights", type=Path, help="folder of another set of weights")
    parser.add_argument(
        "--own-heads", action="store_true", help="each stack on its own fitted head"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--gpu", action="store_true", help="Cycles on a GPU, where there is one")
    parser.add_argument("--engine", choices=spread.ENGINES, default="local")
    parser.add_argument("--workers", type=int, help="photos at a time with --engine ray")
    return parser.parse_args(arguments)


def main() -> int:
    options = parse(scene.script_arguments())
    sizes = QUICK if options.preset == "quick" else {"size": 512, "samples": 64, "map_size": 1024}
    sizes = {k: getattr(options, k) or v for k, v in sizes.items()}
    photos = options.photos[:QUICK_PHOTOS] if options.preset == "quick" else options.photos
    if len(photos) < len(options.photos):
        print(f"--preset quick: the first {len(photos)} of {len(options.photos)} photos")
    shared = {"hdri": options.hdri, "own_heads": options.own_heads}
    variants = tuple(options.variants.split(","))
    tasks = [
        consistency.Task(photo, options.out, variants, weights=options.weights, seed=options.seed, gpu=options.gpu,
                         **sizes, **shared)
        for photo in photos
    ]  # fmt: skip
    outcomes = spread.spread(consistency.run_task, tasks, options.engine, options.workers)
    done = {t.photo.stem: o.value for t, o in zip(tasks, outcomes, strict=True) if not o.error}
    failed = {
        t.photo.name: o.error.replace(str(t.photo.resolve()), t.photo.name)  # no paths in results
        for t, o in zip(tasks, outcomes, strict=True)
        if o.error
    }
    record = provenance("self_consistency", options.seed, **sizes, **shared, engine=options.engine)
    record |= {"blender": bpy.app.version_string, "photos": done, "failed": failed}
    print(write_record(options.out, record | consistency.summarize(done)))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
