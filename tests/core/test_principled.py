"""Principled inputs by version, on stand-ins for Blender's nodes; tests/blender has the real ones."""

from types import SimpleNamespace
from typing import Any

import pytest

from core import principled
from core.shading import SKIN_F0


def node(version_index: int) -> Any:
    names = [row[version_index] for row in principled.SOCKETS.values() if row[version_index]]
    return SimpleNamespace(
        inputs={name: SimpleNamespace(default_value=None) for name in names}, subsurface_method=""
    )


def test_scatter_has_one_real_scale_in_every_version() -> None:
    """Radius times scale is the free path in metres: 4 mm in red, less in green, least in blue."""
    paths = []
    for index, version in ((0, (4, 5, 0)), (1, (3, 4, 1))):
        shader = node(index)
        principled.set_skin(shader, version)
        scale = principled.socket(shader, "subsurface_scale")
        factor = 1.0 if scale is None else scale.default_value
        radius = principled.socket(shader, "subsurface_radius").default_value
        paths.append([factor * value for value in radius])
        assert principled.socket(shader, "ior").default_value == pytest.approx(1.4)
    assert paths[0] == pytest.approx([0.004, 0.00148, 0.00076])
    assert paths[1] == pytest.approx(paths[0])


def test_missing_inputs_are_none_and_left_alone() -> None:
    old = node(1)
    assert principled.socket(old, "subsurface_scale") is None
    principled.set_value(old, "subsurface_scale", 1.0)
    assert principled.socket(old, "specular") is old.inputs["Specular"]
    with pytest.raises(KeyError):
        principled.socket(old, "gloss")


def test_specular_of_one_half_is_skins_reflectance() -> None:
    assert 0.5 * principled.specular_factor((4, 5, 0)) == 0.5  # at IOR 1.4 this is F0 itself
    assert 0.08 * 0.5 * principled.specular_factor((3, 4, 1)) == pytest.approx(SKIN_F0)
