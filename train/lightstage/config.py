"""What the light stage varies: one frozen dataclass, each factor of variation a field."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LightStageConfig:
    """Chances are per sample, in [0, 1]; 0 switches a factor off."""

    ita_range_deg: tuple[float, float] = (-72.0, 68.0)
    """Skin tone is uniform in ITA over this range (FACTS of skin: very light > 55, dark < -30)."""
    contrast_range: tuple[float, float] = (1.0, 2.2)
    """Gain of every albedo variation: synthetic skin poorer than real skin teaches flattening."""
    regional_maps: bool = True
    """Lips, cheeks, nose, ears, lids and beard zone have their own chromophores."""
    freckles: float = 0.35
    moles: float = 0.75
    blotches: float = 0.6
    uneven_pigment: float = 0.25
    vitiligo: float = 0.02
    makeup: float = 0.3
    lipstick: float = 0.2
    brows: float = 0.97
    beard: float = 0.36
    scalp_hair: float = 0.88
    fringe: float = 0.25
    wrinkles: float = 1.0
    real_bands: float = 0.6
    """Chance of fine colour and relief bands carried over from permitted scans and skins."""
    portrait_bands: float = 0.5
    """Chance that brows, lips and fine skin come from a mix of real photos' bands."""
    detail_gain: tuple[float, float] = (0.7, 2.1)
    """Range of the gain of the displacement."""
    mild_light: float = 0.4
    hard_light: float = 0.36
    """Chance of a one-sided hard key light with sharp cast shadows."""
    coloured_light: float = 0.25
    extra_lights: float = 0.45
    specular: bool = True
    cast_shadows: bool = True
    subsurface: float = 0.5
    yaw_deg: float = 20.0
    """Standard deviation of the head's yaw, clipped to +-60."""
    pitch_deg: float = 9.0
    camera: bool = True
    """White balance error, tone curve, noise, blur, JPEG."""
    unwrap_faults: bool = True
    """Misfit, unseen side with mirror fill, smooth completion, eye pixels on the lids."""
    hide_hair: float = 0.7
    """Chance that unwrapping cuts scalp hair off and fills skin in; then the truth is bare too."""
    whole_layout: float = 0.12
    """Chance of an input that covers scalp, ears and neck, as ready-made UV textures do."""
    glasses: float = 0.12
    hat_shadow: float = 0.07
    strands: float = 0.13
    hand: float = 0.02

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, float) and not name.endswith("_deg") and not 0 <= value <= 1:
                raise ValueError(f"expected {name} in [0, 1]; got {value}; it is a chance")


PLAIN = LightStageConfig(
    mild_light=1.0,
    hard_light=0.0,
    coloured_light=0.0,
    extra_lights=0.0,
    subsurface=0.0,
    yaw_deg=0.0,
    pitch_deg=0.0,
    camera=False,
    unwrap_faults=False,
    glasses=0.0,
    hat_shadow=0.0,
    hide_hair=0.0,
    whole_layout=1.0,
    strands=0.0,
    hand=0.0,
)
"""Soft light, no camera, no faults: what the other presets are debugged against."""
