"""Time the three networks and the whole command, beside the floor of this machine and beside plain eager float32.

    python bench/speed.py --out DIR [--sets embedded,paper] [--batches 1,8] [--rounds 5] [--photo FILE]

The floor is the longer of multiply-adds over the measured rate of a matrix product and bytes over the measured
bandwidth; the ratio to it says what is left to gain. Every way's outputs are compared with eager float32's.
Timings on a busy machine mean little: result.json holds the load before and after. Its path is the last line.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

# Run by path: the checkout's root is not on sys.path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch  # noqa: E402

from bench import cost, timing  # noqa: E402
from bench.record import load_average, provenance, write_record  # noqa: E402


def whole_command(photo: Path, device: str, runs: int) -> dict[str, Any]:
    """Seconds of loading, the first and the later decompositions of one photo, per step, and the peak memory."""
    from core.pipeline import Pipeline

    started = time.perf_counter()
    pipeline = Pipeline(device=device)
    loading = time.perf_counter() - started
    reports = [pipeline.decompose(photo).report for _ in range(runs)]
    best = min(reports[1:] or reports, key=lambda report: report["seconds"]["total"])
    return {"loading_s": loading, "cold_s": loading + reports[0]["seconds"]["total"],
            "warm_s": best["seconds"]["total"], "warm_steps_s": best["seconds"],
            "peak_memory_mb": best["peak_memory_mb"]}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="speed.py", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sets", default="embedded,paper", help="of embedded, paper (base 64)")
    parser.add_argument("--batches", default="1,8")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", choices=("cpu", "cuda"))
    parser.add_argument("--threads", type=int, help="CPU threads; torch's choice")
    parser.add_argument("--compile", action="store_true", help="torch.compile too (minutes)")
    parser.add_argument("--photo", type=Path, help="time the whole command on this photo")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    device = torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    record = provenance("speed", 0, rounds=options.rounds, threads=torch.get_num_threads())
    rates = timing.machine_rates(device)
    record |= {"device": _name(device), "torch": torch.__version__, "rates": rates, "sets": {}}
    for name in options.sets.split(","):
        stages = cost.shipped_stages() if name == "embedded" else cost.paper_stages()
        costs = cost.cost_table(stages)
        record["sets"][name] = costs | {"batches": {}}
        for batch in map(int, options.batches.split(",")):
            rows = {}
            for stage in stages:
                rows[stage.name] = timing.time_stage(
                    stage, device, batch, options.rounds, options.compile
                )
                for row in rows[stage.name].values():
                    least = timing.floor_s(costs["stages"][stage.name], rates, row["kind"], batch)
                    row |= {"floor_s": least, "times_floor": row["best_s"] / least}
                print(f"{name} {stage.name} batch {batch} timed", file=sys.stderr, flush=True)
            record["sets"][name]["batches"][str(batch)] = rows
    if options.photo:
        record["whole"] = whole_command(options.photo, device.type, 3)
    record["load_average_after"] = load_average()
    record["summary"] = timing.summary(record)
    print(write_record(options.out, record))


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name() if device.type == "cuda" else "cpu"


if __name__ == "__main__":
    main()
