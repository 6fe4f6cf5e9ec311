"""Figures of many samples -> means with intervals over identities, also per skin-tone group. numpy only."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .record import interval

Figures = dict[str, dict[str, dict[str, Any]]]
"""Table -> row -> figure -> value, as bench/evaluation.py makes them."""


def tabulate(samples: Iterable[tuple[str, str, Figures]]) -> dict[str, Any]:
    """(identity, skin-tone group, figures) of many samples -> table -> row -> figure -> interval.

    Words ("not computed", names of groups) are kept out of means; a figure that was words everywhere stays
    the words. ``by_group``: the same for albedo and normal, means only; the spread between groups is the
    largest of their mean ITA errors less the smallest.
    """
    samples = list(samples)
    tables = _means(samples, lambda values, names: interval(values, names))
    groups = list(dict.fromkeys(group for _, group, _ in samples))
    by_group: dict[str, Any] = {}
    for group in groups:
        part = [s for s in samples if s[1] == group]
        means = _means(part, lambda values, names: float(np.mean(values)))
        by_group[group] = {k: means[k] for k in ("albedo", "normal") if k in means}
        by_group[group]["photos"] = len(part)
    out = {"tables": tables, "by_group": by_group}
    if len(groups) > 1:
        rows = by_group[groups[0]]["albedo"]
        out["ita_error_spread_between_groups_deg"] = {
            row: float(np.ptp([by_group[g]["albedo"][row]["ita_error_deg.error"] for g in groups]))
            for row in rows
        }
    return out


def _means(
    samples: list[tuple[str, str, Figures]], of: Callable[[list[float], list[str]], Any]
) -> dict[str, Any]:
    tables: dict[str, Any] = {}
    for table in dict.fromkeys(t for _, _, figures in samples for t in figures):
        rows: dict[str, Any] = {}
        for row in dict.fromkeys(r for _, _, f in samples for r in f.get(table, {})):
            found = [(i, f[table][row]) for i, _, f in samples if row in f.get(table, {})]
            rows[row] = {}
            for figure in dict.fromkeys(k for _, values in found for k in values):
                pairs = [(i, v[figure]) for i, v in found if figure in v]
                numbers = [(i, v) for i, v in pairs if not isinstance(v, str) and np.isfinite(v)]
                if numbers:
                    rows[row][figure] = of([v for _, v in numbers], [i for i, _ in numbers])
                elif figure != "ita_error_deg.group":
                    words = [v for _, v in pairs if isinstance(v, str)]
                    rows[row][figure] = words[0] if words else None
        tables[table] = rows
    return tables
