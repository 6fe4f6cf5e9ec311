"""Records of bench/results -> the Markdown of the README's results section. Standard library only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Record = dict[str, Any]


def results_text(records: dict[str, Record]) -> str:
    """All sections whose record is there, in the paper's order; a line says which are not."""
    parts, missing = [], []
    for name, section in SECTIONS.items():
        if name in records:
            parts += [section(records[name]), _source(name, records[name])]
        else:
            missing.append(name)
    if missing:
        parts.append(f"Not run yet: {', '.join(missing)}.")
    return "\n\n".join(parts)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value: Any, digits: int = 3) -> str:
    """A mean, with its 95 % interval where there is one; words stay words, nothing is a dash."""
    if isinstance(value, dict):
        text = f"{value['mean']:.{digits}f}"
        if "low" in value:
            text += f" ({value['low']:.{digits}f} to {value['high']:.{digits}f})"
        return text
    if value is None:
        return "-"
    return value if isinstance(value, str) else f"{value:.{digits}f}"


def _source(name: str, record: Record) -> str:
    load = record.get("load_average")
    settings = ", ".join(f"{k} {_plain(v)}" for k, v in record["settings"].items())
    return (
        f"<sub>`bench/results/{name}.json`: commit {record['commit']}, {record['date'][:10]}, seed {record['seed']}, "
        f"{record['hardware']}, load average {load}; {settings}.</sub>"
    )


def _plain(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def self_consistency(record: Record) -> str:
    """Table 1 of ours, the paper's 4.5: one row a change of the photo."""
    words = {
        "jitter": "the paper's: shift of 5 px, 5 % brightness and saturation",
        "crop": "other crop",
        "half": "half size",
        "jpeg60": "JPEG 60",
        "mirror": "mirrored (maps mirrored back)",
    }
    rows = []
    for name, found in record["variants"].items():
        figures = [number(found[key], 4) for key in ("rmse", "ssim", "lpips")]
        rows.append([words.get(name, name), *figures, number(found["frame"]["rmse"], 4)])
    rows.append(["the paper reports", ".011", ".996", ".004", ""])
    count = len(record["photos"])
    failed = f" Failed: {', '.join(record['failed'])}." if record["failed"] else ""
    header = ["change of the photo", "RMSE", "SSIM", "LPIPS", "RMSE, whole frame"]
    return (
        f"**Self-consistency**, {count} photo{'s' * (count != 1)}: a photo and its changed twin decomposed, both "
        "stacks rendered in Cycles on the same head, light and camera, compared where the head is seen (sRGB [0, 1], "
        f"mean and 95 % interval over photos).{failed}\n\n" + table(header, rows)
    )


def synthetic_scan(record: Record) -> str:
    """The paper's Tables 5 and 6 on scans of our own, the data maps, and groups of skin tone."""
    summary, tables = record["summary"], record["tables"]
    rows5 = []
    for row, found in tables["albedo"].items():
        keys = ("rmse", "gain_invariant_rmse", "ssim", "lpips", "ita_error_deg.error")
        spread = record["spread_between_lights"].get(row)
        digits = (3, 3, 3, 3, 1)
        cells = [number(found.get(k), d) for k, d in zip(keys, digits, strict=True)]
        rows5.append([row, *cells, number(spread)])
    rows5.append(["the paper, on its scans", "", "", ".968", "", "", ""])
    angles = ("mean", "median", "rmse", "under_11.25", "under_22.5", "under_30")
    rows6 = []
    for space, key in (("tangent", "normal"), ("object", "object_normal")):
        for row, found in tables.get(key, {}).items():
            cells = [number(found[f"normal_angle_deg.{a}"], 1) for a in angles]
            rows6.append([space, row, *cells])
    rows6.append(["not said", "the paper, on its scans", "2.88", "1.98", "", "93.94", "", ""])
    data = [
        [
            key,
            row,
            number(found.get("mae")),
            number(found.get("rmse")),
            number(found.get("correlation"), 2),
        ]
        for key in ("ambient_occlusion", "specular", "translucency", "raw_diffuse")
        for row, found in tables.get(key, {}).items()
    ]
    groups = [
        [group, str(found["photos"]), *[
            number(found["albedo"][row].get(k), d)
            for row in ("model", "input as albedo")
            for k, d in (("gain_invariant_rmse", 3), ("ita_error_deg.error", 1))
        ]]
        for group, found in record["by_group"].items()
    ]  # fmt: skip
    failed = f"; no face found in {summary['failed']} more" if summary["failed"] else ""
    parts = [
        f"**Synthetic scans** (the paper's Tables 5 and 6): {summary['photos']} path-traced photos of "
        f"{summary['heads']} heads that no training saw, through the whole pipeline{failed}; "
        "figures on the face mask in UV, mean and 95 % interval over heads.",
        table(["albedo (sRGB [0, 1])", "RMSE", "RMSE after best gain", "SSIM", "LPIPS", "ITA error, deg",
               "spread between photos"], rows5),
        table(["space", "normals, deg", "mean", "median", "RMSE", "% < 11.25", "% < 22.5", "% < 30"], rows6),
        table(["map [0, 1]", "row", "MAE", "RMSE", "correlation"], data),
        table(["skin tone (true ITA)", "photos", "model: RMSE after gain", "model: ITA error",
               "input: RMSE after gain", "input: ITA error"], groups),
    ]  # fmt: skip
    shape = tables["shape"]["model"]["distance_mm"]
    last = f"Shape of the fitted head: {number(shape, 2)} mm from the truth at equal UV."
    if record.get("rerender"):
        again = record["rerender"]
        last += (
            f" Re-rendered in the photo's own light: RMSE {number(again['rmse'])}, SSIM {number(again['ssim'])} "
            f"on the head, {len(again['photos'])} photos."
        )
    return "\n\n".join([*parts, last])


def tables(record: Record) -> str:
    """The paper's Tables 2, 4, 7-11 as far as they were run, our rows beside its figures."""
    settings = record["settings"]
    size = " **Small run: not the paper's test set.**" if settings["small"] else ""
    keys = ("rmse", "gain_invariant_rmse", "ssim", "lpips")
    rows = [
        [row, *[number(found.get(k)) for k in keys]]
        for row, found in record["table_2_albedo"]["rows"].items()
    ]
    paper = record["table_2_albedo"]["paper_reported"]
    rows.append(["the paper reports (its data set)", f"MSE {paper['mse']}, scale not said", "",
                 number(paper["ssim"]), number(paper["lpips"])])  # fmt: skip
    occlusion = [
        [
            row,
            number(found.get("mae")),
            number(found.get("rmse")),
            number(found.get("correlation"), 2),
        ]
        for row, found in record["table_4_ambient_occlusion"]["rows"].items()
    ]
    parts = [
        f"**Tables 2, 4, 11** on `{settings['data']}`, {settings['inputs']} inputs of {settings['identities']} "
        f"identities at {settings['size']}^2, networks alone on unwrapped textures.{size} FID: {record['fid']}.",
        table(["albedo (sRGB [0, 1])", "RMSE", "RMSE after best gain", "SSIM", "LPIPS"], rows),
        table(["ambient occlusion", "MAE", "RMSE", "correlation"], occlusion),
        table(["stages", "the paper reports (parameters, multiply-adds)", "base 64 as its Table 1 has it", "shipped"],
              _cost_rows(record["table_11_cost"])),
    ]  # fmt: skip
    ablations = record["tables_7_to_10_ablations"]
    if isinstance(ablations, str):
        parts.append(f"Tables 7-10 (ablations): {ablations}.")
    else:
        rows = [[row, *[number(f.get(k)) for k in keys]] for row, f in ablations["albedo"].items()]
        parts.append(
            table(["ablation, albedo", "RMSE", "RMSE after best gain", "SSIM", "LPIPS"], rows)
        )
    return "\n\n".join(parts)


def _cost_rows(cost: Record) -> list[list[str]]:
    def cell(found: Record) -> str:
        return f"{found['parameters_m']:.1f} M, {found['macs_g']:.0f} G"

    printed, shipped = (
        next(v for k, v in cost.items() if k.startswith(start)) for start in ("base 64", "shipped")
    )
    return [
        [name, cell(paper), cell(printed["cumulative"][name]), cell(shipped["cumulative"][name])]
        for name, paper in cost["paper_reported"].items()
    ]


def speed(record: Record) -> str:
    """Latency per stage, the fastest way, the floor, and plain eager float32."""
    rows = []
    for name, found in record["sets"].items():
        for batch, stages in found["batches"].items():
            for stage, ways in stages.items():
                kept = {k: v for k, v in ways.items() if v["within_tolerance"]}
                best = min(kept, key=lambda k: kept[k]["median_s"])
                row, eager = kept[best], ways["eager float32"]
                rows.append([name, stage, batch, f"{eager['median_s'] * 1000:.0f}", best,
                             f"{row['median_s'] * 1000:.0f}", f"{row['speed_up']:.2f}",
                             f"{row['floor_s'] * 1000:.1f}", f"{row['times_floor']:.1f}",
                             f"{row['peak_memory_mb'] or 0:.0f}"])  # fmt: skip
    header = ["networks", "stage", "batch", "eager float32, ms", "fastest way", "its ms", "speed-up",
              "floor, ms", "times the floor", "peak MB"]  # fmt: skip
    cores = record["load_average"]
    text = (
        f"**Speed** on {record['device']}, {record['settings']['threads']} threads; other work shared the machine "
        f"(load average {cores} before, {record['load_average_after']} after), so the ratios, taken in turn, say more "
        "than the times.\n\n" + table(header, rows)
    )
    if "whole" in record:
        whole = record["whole"]
        text += (
            f"\n\nThe whole command: {whole['warm_s']:.1f} s a photo warm, {whole['cold_s']:.1f} s cold with loading, "
            f"peak memory {whole['peak_memory_mb']:.0f} MB."
        )
    return text


def held_out(record: Record) -> str:
    """The model on synthetic faces nothing was chosen by: every pass beside its trivial rows."""
    figures = (
        ("albedo", "gain_invariant_rmse", "gain-invariant RMSE", 4),
        ("albedo", "rmse", "RMSE", 4),
        ("albedo", "ssim", "SSIM", 3),
        ("albedo", "spread_between_lights", "spread between lights (0 for any constant)", 3),
        ("albedo", "ita_error_deg", "skin tone: ITA error, degrees", 1),
        ("normal", "mean_error_deg", "mean error, degrees", 2),
        *((key, "mae", "MAE", 4) for key in ("ambient_occlusion", "specular", "translucency", "raw_diffuse")),
        *((key, "correlation_beyond_mean", "correlation beyond the mean map", 2)
          for key in ("ambient_occlusion", "specular", "translucency")),
    )  # fmt: skip
    columns = list(dict.fromkeys(row for key, *_ in figures for row in record[key]))
    rows = [
        [
            key.replace("_", " "),
            words,
            *[number(record[key].get(c, {}).get(name), digits) for c in columns],
        ]
        for key, name, words, digits in figures
    ]
    groups = list(record["albedo"]["model"]["ita_error_by_group_deg"])
    tones = [
        [
            row,
            *[
                f"{found['ita_error_by_group_deg'][g]:.1f} ({found['ita_bias_by_group_deg'][g]:+.1f})"
                for g in groups
            ],
        ]
        for row, found in record["albedo"].items()
        if row in ("model", "input as albedo", "log high-pass sigma 1/20")
    ]
    return "\n\n".join(
        [
            f"**Held-out synthetic faces**: {record['samples']} textures through the whole product, on the face mask; "
            "heads, HDRIs, portraits and seeds that neither training nor any choice saw.",
            table(["pass", "figure", *columns], rows),
            "ITA error in degrees by group of skin tone, in brackets the bias (plus: too light):",
            table(["", *groups], tones),
        ]
    )


SECTIONS = {
    "held_out": held_out,
    "self_consistency": self_consistency,
    "synthetic_scan": synthetic_scan,
    "tables": tables,
    "speed": speed,
}
