"""Photos of scans through the whole pipeline, against the scans' truth; run by path with core's packages.

    python bench/scan_figures.py PHOTO... --mean SCANS/mean.npz --out DIR

Prints one JSON object: figures per photo (bench/evaluation.py), failures, spread between lights. Keeps each
photo's result folder and maps under DIR/work and DIR/error_map.png, the UV errors averaged over photos:
albedo (sRGB, black 0, white 0.2) and tangent normal (black 0, white 20 degrees).
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

# Run by path: the checkout's root is not on sys.path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np  # noqa: E402

from bench.cache import file_hash, is_fresh, mark, weights_hash  # noqa: E402
from bench.scan_errors import measure, spreads, write_error_map  # noqa: E402
from core.errors import FacePBRError  # noqa: E402
from core.pipeline import Pipeline  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(prog="scan_figures.py", description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument(
        "--mean", type=Path, required=True, help="npz of the training set's mean maps"
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--map-size", type=int, default=1024, help="texels the pipeline predicts")
    parser.add_argument("--compare-size", type=int, default=512, help="texels compared")
    options = parser.parse_args()
    pipeline = Pipeline(weights_dir=options.weights, size=options.map_size)
    with np.load(options.mean) as file:
        mean = {key: file[key].astype(np.float32) for key in file.files}
    rows, failed, photos, works = {}, {}, [], []
    for photo in options.photos:
        name = f"{photo.parent.name}/{photo.stem.removeprefix('photo_')}"
        work = options.out / "work" / name.replace("/", "_")
        listed = work / "figures.json"
        key = {"photo": file_hash(photo), "weights": weights_hash(options.weights)}
        key |= {"size": options.map_size, "compare": options.compare_size}
        try:
            if not is_fresh(listed, key):
                work.mkdir(parents=True, exist_ok=True)
                row = measure(photo, pipeline, mean, work, options.compare_size)
                listed.write_text(json.dumps(row), encoding="utf-8")
                mark(listed, key)
        except FacePBRError as error:
            failed[name] = str(error).replace(str(photo), photo.name)  # no paths in results
            continue
        rows[name] = json.loads(listed.read_text(encoding="utf-8"))
        photos.append(photo)
        works.append(work)
        print(f"{name} measured", file=sys.stderr, flush=True)
    if rows:
        size = options.compare_size
        write_error_map(options.out / "error_map.png", photos, works, pipeline.head, size)
        lights = spreads(photos, works, pipeline.head, size)
        print(json.dumps({"photos": rows, "failed": failed, "spread_between_lights": lights}))
    else:
        raise SystemExit(f"expected photos with a face; got {len(failed)} failures: {failed}")


if __name__ == "__main__":
    main()
