"""The options of a decomposition, checked once, for the command line and the worker alike."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .user_assets import find_head

if TYPE_CHECKING:
    from .pipeline import Pipeline

DETECTORS = ("auto", "mediapipe", "face-alignment")
DEVICES = ("auto", "cpu", "cuda", "mps")
MIN_SIZE, MAX_SIZE, SIZE_STEP = 256, 4096, 64


class SettingsError(ValueError):
    """An option has a value it cannot have; the message names the option."""


@dataclass(frozen=True)
class Settings:
    """Options of one run, in the words of the command line."""

    head: str | None = None
    """None or "embedded", "hifi3d", or an OBJ file in the HiFi3D UV layout."""
    detector: str = "auto"
    device: str = "auto"
    weights: str | None = None
    """Folder of another set of weights; None is the embedded set."""
    light_removal: float = 1.0
    """0 leaves the photo's light in the albedo, 1 removes all that is recognised."""
    size: int = 1024
    """Side of the maps in texels."""
    bits: int = 8
    uv_texture: bool = False
    """The input already is a texture in the UV layout: no face is looked for."""
    same_person: bool = False
    """All photos show one person: one identity, one set of passes merged from all."""

    def __post_init__(self) -> None:
        _one_of("--detector", self.detector, DETECTORS)
        _one_of("--device", self.device, DEVICES)
        _one_of("--bits", self.bits, (8, 16))
        if not isinstance(self.size, int) or isinstance(self.size, bool):
            raise SettingsError(f"--size: expected a whole number; got {self.size!r}")
        if not MIN_SIZE <= self.size <= MAX_SIZE or self.size % SIZE_STEP:
            raise SettingsError(
                f"--size: expected a multiple of {SIZE_STEP} from {MIN_SIZE} to {MAX_SIZE}; got {self.size}"
            )
        try:
            amount = float(self.light_removal)
        except (TypeError, ValueError):
            amount = math.nan
        if not 0.0 <= amount <= 1.0:
            raise SettingsError(
                f"--light-removal: expected a number from 0 to 1; got {self.light_removal!r}"
            )
        for flag, value in (("--uv-texture", self.uv_texture), ("--same-person", self.same_person)):
            if not isinstance(value, bool):
                raise SettingsError(f"{flag}: expected true or false; got {value!r}")
        if self.uv_texture and self.same_person:
            raise SettingsError(
                "--same-person: expected photos, which it fits together; got --uv-texture; do leave one of them out"
            )
        for flag, value in (("--head", self.head), ("--weights", self.weights)):
            if value is not None and not isinstance(value, str):
                raise SettingsError(f"{flag}: expected a path; got {value!r}")

    @classmethod
    def from_mapping(cls, values: dict[str, Any]) -> Settings:
        """Settings from JSON values; SettingsError for names that are not options."""
        names = {item.name for item in fields(cls)}
        unknown = sorted(set(values) - names)
        if unknown:
            raise SettingsError(f"expected options {sorted(names)}; got {unknown}")
        return cls(**values)

    def pipeline_key(self) -> tuple[Any, ...]:
        """Equal for runs that can share one loaded pipeline."""
        return (
            self.head,
            self.detector,
            self.device,
            self.weights,
            float(self.light_removal),
            self.size,
        )


def make_pipeline(settings: Settings) -> Pipeline:
    """Build the real pipeline; torch and the networks are loaded here, not before."""
    from .pipeline import Pipeline

    return Pipeline(
        device=settings.device,
        weights_dir=Path(settings.weights) if settings.weights else None,
        head=find_head(settings.head),
        detector=settings.detector,
        light_removal=float(settings.light_removal),
        size=settings.size,
    )


def _one_of(flag: str, value: Any, allowed: tuple[Any, ...]) -> None:
    if value not in allowed:
        raise SettingsError(
            f"{flag}: expected one of {', '.join(map(str, allowed))}; got {value!r}"
        )
