"""Colour conversions against published numbers, there and back, and numpy against torch."""

import numpy as np
import pytest
import torch

from core import color


def test_srgb_reference_points() -> None:
    # IEC 61966-2-1: middle grey 0.5 encoded is 0.21404 linear; the two branches meet at 0.04045.
    assert color.srgb_to_linear(np.array(0.5)) == pytest.approx(0.21404, abs=1e-5)
    assert color.srgb_to_linear(np.array([0.0, 1.0])) == pytest.approx([0.0, 1.0])
    low, high = color.srgb_to_linear(np.array([0.04045 - 1e-9, 0.04045 + 1e-9]))
    assert high - low == pytest.approx(0, abs=1e-7)


def test_srgb_there_and_back_also_outside_the_range() -> None:
    x = np.linspace(-0.5, 1.5, 401)
    assert color.linear_to_srgb(color.srgb_to_linear(x)) == pytest.approx(x, abs=1e-9)


def test_gradient_is_finite_at_black() -> None:
    x = torch.zeros(3, requires_grad=True)
    color.linear_to_srgb(x).sum().backward()
    assert x.grad is not None and torch.isfinite(x.grad).all()


@pytest.mark.parametrize(
    ("srgb", "lab"),
    [  # Lindbloom's calculator, sRGB, D65
        ((1.0, 1.0, 1.0), (100.0, 0.0, 0.0)),
        ((1.0, 0.0, 0.0), (53.24, 80.09, 67.20)),
        ((0.0, 1.0, 0.0), (87.73, -86.18, 83.18)),
        ((0.0, 0.0, 1.0), (32.30, 79.19, -107.86)),
        ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
    ],
)
def test_lab_reference_colours(srgb: tuple[float, ...], lab: tuple[float, ...]) -> None:
    got = color.linear_srgb_to_lab(color.srgb_to_linear(np.array(srgb)))
    assert got == pytest.approx(np.array(lab), abs=0.02)


@pytest.mark.parametrize(
    ("rgb8", "ita", "group"),
    [
        ((202, 179, 164), 67, "very light"),
        ((180, 145, 133), 49, "light"),
        ((167, 133, 111), 26, "tan"),
        ((143, 108, 90), -5, "brown"),
        ((87, 67, 62), -72, "dark"),
    ],
)
def test_ita_of_model_skin_colours(rgb8: tuple[int, ...], ita: float, group: str) -> None:
    got = float(color.ita_deg(np.array(rgb8) / 255.0))
    assert got == pytest.approx(ita, abs=1.5)
    assert color.ita_group(got) == group


def test_torch_equals_numpy_on_any_channel_axis() -> None:
    x = np.random.default_rng(0).random((2, 5, 4, 3)).astype(np.float32)
    t = torch.from_numpy(x).movedim(-1, 1)
    lab = color.linear_srgb_to_lab(t, dim=1)
    assert lab.shape == (2, 3, 5, 4)
    np.testing.assert_allclose(
        lab.movedim(1, -1).numpy(), color.linear_srgb_to_lab(x), rtol=1e-4, atol=1e-3
    )
    np.testing.assert_allclose(color.ita_deg(t, dim=1).numpy(), color.ita_deg(x), atol=2e-2)
    np.testing.assert_allclose(
        color.srgb_to_linear(t).movedim(1, -1).numpy(), color.srgb_to_linear(x), atol=1e-6
    )


def test_normals_there_and_back_and_unit() -> None:
    n = np.random.default_rng(1).normal(size=(50, 3))
    unit = n / np.linalg.norm(n, axis=1, keepdims=True)
    stored = color.encode_normal(3.0 * unit)
    assert stored.min() >= 0 and stored.max() <= 1
    np.testing.assert_allclose(color.decode_normal(stored), unit, atol=1e-6)
    up = color.encode_normal(torch.tensor([[0.0], [0.0], [2.0]]), dim=0)
    torch.testing.assert_close(up[:, 0], torch.tensor([0.5, 0.5, 1.0]))


def test_wrong_channels_are_named() -> None:
    with pytest.raises(ValueError, match=r"3 channels.*\(4, 4\)"):
        color.linear_srgb_to_lab(np.zeros((4, 4)))
