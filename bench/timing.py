"""How long the networks take, beside what the machine could do. torch, no bpy.

Ways of running are timed in turn, round by round, so that a busy machine slows all of them alike; a speed-up
is the median of the rounds' ratios.
"""

from __future__ import annotations

import copy
import functools
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .cost import Stage

REFERENCE = "eager float32"
"""What a user would have without us; every other way's outputs are compared with its."""
TOLERANCE = {"float32": 1e-3, "half": 0.06}
"""Largest allowed difference of outputs in [-1, 1]."""
MATRIX, COPY_MB = 2048, 256


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def seconds_of(function: Callable[[], Any], device: torch.device) -> float:
    """Wall time of one call, the device's work included."""
    synchronize(device)
    started = time.perf_counter()
    function()
    synchronize(device)
    return time.perf_counter() - started


def machine_rates(device: torch.device, rounds: int = 5) -> dict[str, float]:
    """Best of ``rounds``: multiply-adds per second of a 2048^3 product, per type, and bytes per second of a copy."""
    rates = {}
    for name, dtype in (("float32", torch.float32), ("half", half_type(device))):
        a = torch.rand(MATRIX, MATRIX, device=device).to(dtype)
        best = min(seconds_of(lambda a=a: a @ a, device) for _ in range(rounds + 1))
        rates[f"macs_per_s_{name}"] = MATRIX**3 / best
    source = torch.zeros(COPY_MB * 250_000, device=device)
    target = torch.empty_like(source)
    best = min(seconds_of(lambda: target.copy_(source), device) for _ in range(rounds + 1))
    rates["bytes_per_s"] = 2 * source.numel() * 4 / best
    return rates


def half_type(device: torch.device) -> torch.dtype:
    """float16 on CUDA, bfloat16 on a CPU."""
    return torch.float16 if device.type == "cuda" else torch.bfloat16


def floor_s(cost: dict[str, Any], rates: dict[str, float], kind: str, batch: int) -> float:
    """The least time this machine needs: for the multiply-adds, or for the bytes, whichever is longer."""
    width = 0.5 if kind == "half" else 1.0
    work = batch * cost["macs_g"] * 1e9 / rates[f"macs_per_s_{kind}"]
    moved = batch * width * cost["moved_mb"] * 1e6 / rates["bytes_per_s"]
    return max(work, moved)


class HalfWhereItPays(nn.Module):
    """A network under autocast: convolutions and products in half, what it asks for in float32 as it asks."""

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        super().__init__()
        self.network, self.device = network, device

    def forward(self, *inputs: Tensor) -> Tensor:
        with torch.autocast(self.device.type, dtype=half_type(self.device)):
            return self.network(*inputs)


def ways(device: torch.device, compile_too: bool) -> dict[str, Callable[[nn.Module], nn.Module]]:
    """Name -> the network prepared to run that way; "half" in the name: held to half precision's tolerance."""

    def last(network: nn.Module) -> nn.Module:
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    found: dict[str, Callable[[nn.Module], nn.Module]] = {
        REFERENCE: lambda net: net,
        "channels_last float32": last,
        "channels_last half": lambda net: HalfWhereItPays(last(net), device),
    }
    if compile_too:
        found["compiled float32"] = lambda net: torch.compile(last(net))  # type: ignore
        found["compiled half"] = lambda net: torch.compile(HalfWhereItPays(last(net), device))  # type: ignore
    return found


def time_stage(
    stage: Stage, device: torch.device, batch: int, rounds: int, compile_too: bool = False
) -> dict[str, Any]:
    """Way -> seconds (first call, median, best), speed-up, photos per second, peak memory, largest difference."""
    rows: dict[str, Any] = {}
    prepared: dict[str, Callable[[], Tensor]] = {}
    expected: Tensor | None = None
    for name, prepare in ways(device, compile_too).items():
        network = prepare(copy.deepcopy(stage.network).to(device))
        kind = "half" if "half" in name else "float32"
        inputs = stage.inputs(batch, device)
        if name != REFERENCE:
            inputs = tuple(x.contiguous(memory_format=torch.channels_last) for x in inputs)

        call = functools.partial(_infer, network, inputs)
        reset_peak(device)
        first = seconds_of(call, device)
        rows[name] = {"kind": kind, "first_s": first, "peak_memory_mb": peak_mb(device)}
        out = call().float().cpu()
        expected = out if expected is None else expected
        worst = float((out - expected).abs().max())
        rows[name] |= {"largest_difference": worst, "within_tolerance": worst <= TOLERANCE[kind]}
        prepared[name] = call
    times: dict[str, list[float]] = {name: [] for name in prepared}
    for _ in range(rounds):
        for name, call in prepared.items():
            times[name].append(seconds_of(call, device))
    for name, taken in times.items():
        ratios = [r / t for r, t in zip(times[REFERENCE], taken, strict=True)]
        rows[name] |= {
            "median_s": statistics.median(taken),
            "best_s": min(taken),
            "speed_up": statistics.median(ratios),
            "photos_per_s": batch / statistics.median(taken),
        }
    return rows


def _infer(network: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    with torch.inference_mode():
        return network(*inputs)


def reset_peak(device: torch.device) -> None:
    """Forget the peak so far; where Linux does not allow it the peak is the process's."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return
    switch = Path("/proc/self/clear_refs")
    if switch.exists():
        switch.write_text("5")


def peak_mb(device: torch.device) -> float | None:
    """Peak of the device's memory (CUDA) or of the process's resident memory, MB; None where not told."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e6


def summary(record: dict[str, Any]) -> dict[str, float]:
    """Per set, batch 1: seconds of the three networks, eager and by their fastest way that keeps to the tolerance."""
    out: dict[str, float] = {}
    for name, found in record["sets"].items():
        stages = next(iter(found["batches"].values()))
        fastest = [
            min((w for w in rows.values() if w["within_tolerance"]), key=lambda w: w["median_s"])
            for rows in stages.values()
        ]
        out[f"{name}_eager_s"] = sum(rows[REFERENCE]["median_s"] for rows in stages.values())
        out[f"{name}_fastest_s"] = sum(row["median_s"] for row in fastest)
        out[f"{name}_floor_s"] = sum(row["floor_s"] for row in fastest)
    if "whole" in record:
        out["whole_warm_s"] = record["whole"]["warm_s"]
    return out
