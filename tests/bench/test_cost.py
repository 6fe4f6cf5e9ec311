"""Counted costs, and timings against the machine's floor."""

import pytest
import torch

from bench import cost, timing
from core.nets import MAGINet, RefinementNet


def small(name="refinement"):
    torch.manual_seed(0)
    return cost.Stage(name, RefinementNet(base=8).eval(), ((3, 32, 32),))


def test_multiply_adds_and_bytes_are_those_of_the_convolutions():
    """Bilinear x2, then 3x3 3->8, 3x3 8->8, 1x1 8->3 on 64 x 64 texels."""
    found = cost.cost_of(small())
    texels, weights = 64 * 64, 9 * 3 * 8 + 9 * 8 * 8 + 8 * 3
    assert found["macs_g"] * 1e9 == pytest.approx(texels * weights)
    assert found["parameters_m"] * 1e6 == pytest.approx(weights + 8 + 8 + 3)
    values = texels * ((3 + 8) + (8 + 8) + (8 + 3)) + weights + 19
    assert found["moved_mb"] * 1e6 == pytest.approx(4 * values)


def test_a_table_adds_up_the_stages_as_the_paper_does():
    stages = [
        cost.Stage("maginet", MAGINet(base=4).eval(), ((3, 64, 64),)),
        small(),
        small("pix2pixhd"),
    ]
    found = cost.cost_table(stages)
    assert list(found["cumulative"]) == list(cost.PAPER)
    one, two, three = (row["macs_g"] for row in found["cumulative"].values())
    assert one < two < three
    assert three == pytest.approx(sum(row["macs_g"] for row in found["stages"].values()))


def test_every_way_is_timed_and_held_to_the_reference():
    device = torch.device("cpu")
    rows = timing.time_stage(small(), device, batch=2, rounds=2)
    assert set(rows) == {"eager float32", "channels_last float32", "channels_last half"}
    for name, row in rows.items():
        assert row["within_tolerance"], name
        assert row["best_s"] <= row["median_s"] and row["photos_per_s"] == pytest.approx(
            2 / row["median_s"]
        )
    assert (
        rows["eager float32"]["largest_difference"] == 0 and rows["eager float32"]["speed_up"] == 1
    )


def test_a_way_that_changes_the_result_is_found_out(monkeypatch):
    broken = {
        timing.REFERENCE: lambda net: net,
        "wrong float32": lambda net: net.double().float().requires_grad_(False),
    }

    def spoil(net):
        with torch.no_grad():
            net.head.bias.add_(0.5)
        return net

    monkeypatch.setattr(
        timing, "ways", lambda device, compile_too: broken | {"wrong float32": spoil}
    )
    rows = timing.time_stage(small(), torch.device("cpu"), 1, 1)
    assert not rows["wrong float32"]["within_tolerance"]


def test_the_floor_is_the_longer_of_work_and_transport():
    rates = {"macs_per_s_float32": 1e9, "macs_per_s_half": 4e9, "bytes_per_s": 1e9}
    busy = {"macs_g": 2.0, "moved_mb": 100.0}
    assert timing.floor_s(busy, rates, "float32", 1) == pytest.approx(2.0)
    assert timing.floor_s(busy, rates, "half", 2) == pytest.approx(1.0)
    assert timing.floor_s({"macs_g": 0.0, "moved_mb": 100.0}, rates, "half", 1) == pytest.approx(
        0.05
    )
