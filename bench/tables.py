"""Score methods on a data set of intrinsic face maps: the paper's Tables 2, 3, 4 and 7-11.

    python bench/tables.py --data FFHQ-UV-Intrinsics --out DIR [--split test] [--size 512] [--limit 0]
        [--ours NAME=WEIGHTS_DIR]... [--predictions NAME=DIR]... [--ablation NAME=DIR]...

The shipped model is always a row, and the trivial rows are. ``--ours`` adds other weights of our networks (full
or small, from train/run.py), ``--predictions`` the maps of any other method in the data set's layout (those of
``python -m train.baselines``), ``--ablation`` the same for Tables 7-10. ``--split all`` for a set that was never
trained on. Writes DIR/result.json, whose path is the last line; what cannot be computed there says why.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

# Run by path: the checkout's root is not on sys.path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import cost, dataset, scoring  # noqa: E402
from bench.record import provenance, write_record  # noqa: E402


def named(text: str) -> tuple[str, Path]:
    """ "NAME=DIR" -> both; the folder must be there."""
    name, _, folder = text.partition("=")
    if not name or not Path(folder).is_dir():
        raise argparse.ArgumentTypeError(f"expected NAME=DIR with a folder; got {text!r}")
    return name, Path(folder)


def main() -> None:
    parser = argparse.ArgumentParser(prog="tables.py", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--textures", type=Path, help="folder of <ID>.png, where not in the IDs")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--split", default="test", help="train, validation, test or all")
    parser.add_argument("--size", type=int, default=512, help="texels a side that are compared")
    parser.add_argument("--limit", type=int, default=0, help="inputs at most; 0 = all")
    for flag in ("--ours", "--predictions", "--ablation"):
        parser.add_argument(flag, type=named, action="append", default=[])
    options = parser.parse_args()
    chosen = dataset.samples(options.data, options.split, options.textures)
    chosen = chosen[: options.limit or len(chosen)]
    mean = dataset.mean_passes(options.data, options.size)
    methods = scoring.methods(options.ours, [*options.predictions, *options.ablation])
    found = scoring.score(chosen, methods, mean, options.size)
    identities = len({sample.identity for sample in chosen})
    record = provenance(
        "tables", 0, data=options.data.name, split=options.split, size=options.size,
        inputs=len(chosen), identities=identities, small=identities < scoring.FULL_IDENTITIES,
    )  # fmt: skip
    record |= scoring.as_paper_tables(found, [name for name, _ in options.ablation])
    record["table_11_cost"] = {
        "paper_reported": cost.PAPER,
        "base 64, as printed in the paper's Table 1": cost.cost_table(cost.paper_stages()),
        "shipped": cost.cost_table(cost.shipped_stages()),
        "seconds": "see speed.py: this machine's, with its load",
    }
    model = found["tables"]["albedo"][scoring.SHIPPED]
    keys = ("rmse", "gain_invariant_rmse", "ssim")
    record["summary"] = {f"albedo_{k}": model[k]["mean"] for k in keys} | {"identities": identities}
    print(write_record(options.out, record))


if __name__ == "__main__":
    main()
