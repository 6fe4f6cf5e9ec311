"""The three stages on one texture: unwrapped photo in, six passes out, each at the size it was trained at."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from .passes import STAGE3_PASSES, stage3_slice
from .skin_tone import anchor_tone
from .weights import EMBEDDED_DIR, file_hashes, load_stage, read_metadata, stage_path

_FLOOR = 0.02
"""Added to colours before a ratio is taken, so that black stays finite."""


class Step(Protocol):
    """Announces a stage and times it, as `report.Steps` does."""

    def __call__(self, name: str, /) -> AbstractContextManager[object]: ...


class Networks:
    """MAGINet, RefinementNet and Pix2PixHD, loaded once.

    weights_dir: another set of the three; None is the embedded one. Raises WeightsError.
    """

    def __init__(self, device: torch.device, weights_dir: Path | None = None) -> None:
        self.device = device
        self._nets = {
            # channels_last suits these convolutions on a CPU
            stage: load_stage(stage, weights_dir, device).to(
                memory_format=torch.channels_last  # type: ignore[call-overload]
            )
            for stage in ("maginet", "refinement", "pix2pixhd")
        }
        self._trained_px = {
            stage: int(read_metadata(stage_path(stage, weights_dir)).get("size", default))
            for stage, default in (("maginet", 512), ("pix2pixhd", 1024))
        }
        self.hashes = file_hashes(weights_dir or EMBEDDED_DIR)

    def predict(
        self,
        texture: np.ndarray,
        skin: np.ndarray,
        light_removal: float = 1.0,
        step: Step = lambda name, /: nullcontext(),
    ) -> dict[str, np.ndarray]:
        """The six passes as stored, (S, S, C) float32 [0, 1].

        texture: (S, S, 3) sRGB [0, 1], S even. skin: (S, S) bool, seen skin whose tone anchors the albedo's.
        light_removal: 0 keeps the photo's light in the albedo, 1 takes off all that is recognised.
        """
        albedo = self.albedo(texture, skin, light_removal, step)
        return self.passes(albedo, texture, step)

    def albedo(
        self,
        texture: np.ndarray,
        skin: np.ndarray,
        light_removal: float = 1.0,
        step: Step = lambda name, /: nullcontext(),
    ) -> np.ndarray:
        """Stages I and II: the light-free texture (S, S, 3); arguments as for ``predict``."""
        with torch.inference_mode():
            photo = self._tensor(texture)
            with step("maginet"):
                coarse = self._albedo(_resized(photo, texture.shape[0] // 2))
            with step("refinement"):
                refined = _call(self._nets["refinement"], coarse, photo)
                toned = anchor_tone(_to_numpy(refined[0]), texture, skin)
                return _to_numpy(_blend(photo, self._tensor(toned), light_removal)[0])

    def passes(
        self,
        albedo: np.ndarray,
        texture: np.ndarray,
        step: Step = lambda name, /: nullcontext(),
    ) -> dict[str, np.ndarray]:
        """Stage III: the six passes of an albedo (S, S, 3) and the texture (S, S, 3) that it came from."""
        with torch.inference_mode(), step("pix2pixhd"):
            stack = self._stack(self._tensor(albedo), self._tensor(texture))
        passes = {"albedo": albedo}
        for row in STAGE3_PASSES:
            triple = _to_numpy(stack[0, stage3_slice(row.key)])
            passes[row.key] = triple if row.channels == 3 else triple.mean(-1, keepdims=True)
        passes["normal"] = _unit_normals(passes["normal"])
        return passes

    def _tensor(self, image: np.ndarray) -> torch.Tensor:
        """(S, S, 3) in [0, 1] -> (1, 3, S, S) in [-1, 1] on the device."""
        tensor = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None]
        return (tensor.float() * 2.0 - 1.0).to(self.device)

    def _albedo(self, photo: torch.Tensor) -> torch.Tensor:
        """Stage I: (1, 3, H, H) -> albedo. A ratio, being smooth, is predicted at its training size and resized."""
        network = self._nets["maginet"]
        trained = self._trained_px["maginet"]
        if network.output == "ratio" and trained != photo.shape[-1]:
            return network.divide_light(photo, network.log_ratio(_resized(photo, trained)))
        return network(photo)

    def _stack(self, albedo: torch.Tensor, photo: torch.Tensor) -> torch.Tensor:
        """Stage III: (1, 3, S, S) -> (1, 15, S, S), predicted at the size it was trained at.

        InstanceNorm makes the network depend on scale. The raw diffuse is resized as a ratio to the albedo, so it
        keeps the albedo's detail.
        """
        network, trained, size = (
            self._nets["pix2pixhd"],
            self._trained_px["pix2pixhd"],
            albedo.shape[-1],
        )
        if trained == size:
            return _call(network, albedo, photo)
        small = _resized(albedo, trained)
        stack = _call(network, small, _resized(photo, trained))
        out = _resized(stack, size)
        raw = stage3_slice("raw_diffuse")
        ratio = (stack[:, raw] * 0.5 + 0.5 + _FLOOR) / (small * 0.5 + 0.5 + _FLOOR)
        full = (albedo * 0.5 + 0.5 + _FLOOR) * _resized(ratio, size) - _FLOOR
        out[:, raw] = full * 2.0 - 1.0
        return out


def _blend(photo: torch.Tensor, albedo: torch.Tensor, light_removal: float) -> torch.Tensor:
    """Part of the light removed only: the weighted geometric mean of photo and albedo."""
    if light_removal >= 1.0:
        return albedo.clamp(-1, 1)
    a, b = (x * 0.5 + 0.5 + _FLOOR for x in (photo, albedo.clamp(-1, 1)))
    return ((a ** (1 - light_removal)) * (b**light_removal) - _FLOOR) * 2.0 - 1.0


def _call(network: torch.nn.Module, albedo: torch.Tensor, photo: torch.Tensor) -> torch.Tensor:
    """Networks built with guide=True also see the photo's texture."""
    return network(albedo, photo) if getattr(network, "guide", False) else network(albedo)


def _resized(x: torch.Tensor, size: int) -> torch.Tensor:
    """(B, C, H, H) at another size: averaged when smaller, bilinear when larger; channels last."""
    if x.shape[-1] > size:
        x = torch.nn.functional.interpolate(x, size=(size, size), mode="area")
    elif x.shape[-1] < size:
        x = torch.nn.functional.interpolate(
            x, size=(size, size), mode="bilinear", align_corners=False
        )
    return x.contiguous(memory_format=torch.channels_last)


def _to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """(C, S, S) in [-1, 1] -> (S, S, C) float32 in [0, 1]."""
    return (tensor.float() * 0.5 + 0.5).clamp(0, 1).permute(1, 2, 0).cpu().numpy()


def _unit_normals(stored: np.ndarray) -> np.ndarray:
    """Stored normals (S, S, 3) made unit length, facing outwards."""
    local = stored * 2.0 - 1.0
    local[..., 2] = np.maximum(local[..., 2], 0.05)
    local /= np.linalg.norm(local, axis=-1, keepdims=True)
    return (local * 0.5 + 0.5).astype(np.float32)
