"""The six passes: THE table. Files, network channels, materials and tests all read it; it imports nothing of ours."""

from typing import NamedTuple


class Pass(NamedTuple):
    """One physically based map in UV space."""

    key: str
    """Name in code, in result files (``passes/<key>.png``) and in the material."""
    channels: int
    """1 or 3. One-channel passes are the mean of their RGB triple in the networks and in the data set."""
    is_color: bool
    """True: stored sRGB-encoded, shown as a colour. False: data, stored as it is (Non-Color)."""
    meaning: str
    """What a value of the map says, with its range."""
    neutral: tuple[float, ...]
    """Stored value in [0, 1] where nothing is known; a network that adds nothing should stay near it."""
    dataset_file: str
    """File of the same map in FFHQ-UV-Intrinsics."""


MEAN_SKIN_SRGB = (0.76, 0.58, 0.48)
"""Neutral of the two colour passes, sRGB-encoded: a mid skin tone (ITA about 20 deg), not a measured mean."""

PASSES: tuple[Pass, ...] = (
    Pass(
        "albedo",
        3,
        True,
        "light-free diffuse reflectance, [0, 1]",
        MEAN_SKIN_SRGB,
        "diffuse.png",
    ),
    Pass(
        "ambient_occlusion",
        1,
        False,
        "cosine-weighted openness, [0, 1], 1 = open",
        (1.0,),
        "ambient_occlusion.png",
    ),
    Pass(
        "normal",
        3,
        False,
        "unit vector in tangent space, +Y up (OpenGL), stored n * 0.5 + 0.5",
        (0.5, 0.5, 1.0),
        "normal.png",
    ),
    Pass("specular", 1, False, "specular intensity, [0, 1]", (0.5,), "specular.png"),
    Pass(
        "translucency",
        1,
        False,
        "subsurface weight, [0, 1], high where tissue is thin",
        (0.3,),
        "translucency.png",
    ),
    Pass(
        "raw_diffuse",
        3,
        True,
        "albedo with the residual (soft, frontal) lighting still in it, [0, 1]",
        MEAN_SKIN_SRGB,
        "light_normalized.png",
    ),
)

PASS_KEYS: tuple[str, ...] = tuple(row.key for row in PASSES)
PASS_BY_KEY: dict[str, Pass] = {row.key: row for row in PASSES}

STAGE3_PASSES: tuple[Pass, ...] = PASSES[1:]
"""What the third network predicts, in channel order, each as an RGB triple."""
STAGE3_CHANNELS: int = 3 * len(STAGE3_PASSES)

CONFIDENCE_KEY = "confidence"
"""Seventh map of a result: 1 = seen and trusted, 0 = invented. Not a pass: no network predicts it."""


def stage3_slice(key: str) -> slice:
    """Channels of pass `key` among the 15 of Stage III. KeyError for albedo and unknown keys."""
    for index, row in enumerate(STAGE3_PASSES):
        if row.key == key:
            return slice(3 * index, 3 * index + 3)
    raise KeyError(f"expected one of {PASS_KEYS[1:]}; got {key!r}")
