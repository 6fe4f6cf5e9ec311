"""Figures: right on cases done by hand, and a perfect model beats every trivial row."""

from typing import Any

import pytest
import torch
from torch import nn

from train import validate as v


class Oracle(nn.Module):
    """Returns the truth, so the model row must be perfect."""

    config: dict[str, Any] = {}

    def __init__(self, answer: torch.Tensor) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, _: torch.Tensor) -> torch.Tensor:
        return self.answer * 2 - 1


def test_truth_is_perfect_and_trivial_rows_are_not(tiny_source: Any) -> None:
    source = tiny_source(size=64, batch=4)
    batch = source.batch_at(5)
    passes = torch.cat(
        [batch[k].expand(-1, 3, -1, -1) for k in
         ("ambient_occlusion", "normal", "specular", "translucency", "raw_diffuse")], dim=1
    )  # fmt: skip
    nets = {"maginet": Oracle(batch["albedo"]), "pix2pixhd": Oracle(passes)}
    means = v.mean_maps(source.batch_at(i) for i in range(4))
    predict = v.through_stages(nets)  # type: ignore[arg-type]
    result = v.validate([[batch, batch]], means, predict, progress=lambda _: None)
    model = result["albedo"]["model"]
    assert model["rmse"] < 1e-6 and model["ssim"] > 0.9999 and model["ita_error_deg"] < 1e-3
    assert model["spread_between_lights"] == pytest.approx(0, abs=1e-6)
    for row, figures in result["albedo"].items():
        if row != "model":
            assert figures["rmse"] > 0.02 and figures["gain_invariant_rmse"] > 0.01, row
    assert result["normal"]["model"]["mean_error_deg"] < 0.1
    assert result["normal"]["flat normal"]["mean_error_deg"] > 1
    for key in v.DATA_KEYS:
        assert result[key]["model"]["mae"] < 1e-6 < result[key]["mean map"]["mae"]
        assert result[key]["model"]["correlation_beyond_mean"] == pytest.approx(1, abs=1e-3)
    assert "model" in v.table(result)


def test_gain_invariant_error_forgives_a_gain() -> None:
    truth = torch.rand(1, 3, 32, 32) * 0.5 + 0.25
    figures = v.albedo_figures(truth * 0.5, truth, torch.ones(1, 1, 32, 32))
    assert float(figures["gain_invariant_rmse"]) < 1e-6 < 0.1 < float(figures["rmse"])


def test_normal_error_of_ten_degrees() -> None:
    angle = torch.deg2rad(torch.tensor(10.0))
    flat = torch.tensor([0.0, 0.0, 1.0]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    tilted = torch.stack([angle.sin(), torch.tensor(0.0), angle.cos()]).view(1, 3, 1, 1)
    error = v.normal_error_deg(
        tilted.expand_as(flat) / 2 + 0.5, flat / 2 + 0.5, flat[:, :1] * 0 + 1
    )
    assert float(error) == pytest.approx(10, abs=1e-3)


def test_spread_of_a_constant_is_zero_and_of_a_doubling_is_a_third() -> None:
    from core.color import linear_to_srgb

    mask = torch.ones(1, 1, 4, 4)
    dim, bright = (linear_to_srgb(torch.full((1, 3, 4, 4), x)) for x in (0.2, 0.4))
    assert v.spread_between_lights([dim, dim], mask) == pytest.approx(0, abs=1e-6)
    assert v.spread_between_lights([dim, bright], mask) == pytest.approx(1 / 3, abs=1e-4)


def test_log_high_pass_takes_smooth_light_and_keeps_texture() -> None:
    g = torch.Generator().manual_seed(0)
    texture = 0.4 + 0.1 * torch.rand(1, 3, 80, 80, generator=g)
    light = torch.linspace(0.5, 1.0, 80).view(1, 1, 1, 80)
    mask = torch.ones(1, 1, 80, 80)
    error = v.albedo_figures(v.log_high_pass(texture * light, mask), texture, mask)
    before = v.albedo_figures(texture * light, texture, mask)
    assert float(error["gain_invariant_rmse"]) < 0.5 * float(before["gain_invariant_rmse"])


def test_ita_error_is_reported_per_group(tiny_source: Any) -> None:
    batch = tiny_source(size=64, batch=4).batch_at(1)
    light = batch["albedo"] * 0.2 + torch.tensor([0.75, 0.65, 0.58]).view(1, 3, 1, 1)
    dark = batch["albedo"] * 0.1 + torch.tensor([0.25, 0.18, 0.14]).view(1, 3, 1, 1)
    batches = [batch | {"albedo": x, "input": light} for x in (light, dark)]
    result = v.validate([batches], v.mean_maps(batches), lambda _: {}, progress=lambda _: None)
    groups = result["albedo"]["input as albedo"]["ita_error_by_group_deg"]
    assert len(groups) >= 2 and min(groups.values()) < 1 < 20 < max(groups.values())
