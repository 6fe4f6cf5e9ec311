"""The only assembler: photo -> landmarks -> fit -> texture -> three networks -> passes, light and head."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .color import srgb_to_linear
from .errors import FacePBRError, FitError, InputError
from .eyes import build_eyes, iris_color
from .head_fit import HeadFit, fit_head
from .head_model import HeadModel, load_head_obj
from .images import read_focal_px, read_photo, resize_area
from .landmarks import Landmarks, detect
from .overlay import draw_overlay
from .passes import STAGE3_PASSES, stage3_slice
from .report import Progress, Steps, make_report
from .rerender import draw_over_photo, head_space_normals, shade_texture, tangent_frames
from .result import Result
from .shading import environment_from_sh, estimate_light
from .skin_tone import anchor_tone
from .unwrap import UVTexture, unwrap
from .weights import EMBEDDED_DIR, file_hashes, load_stage, read_metadata, stage_path

_EYE_SKIN = ((0.34, 0.57), (0.66, 0.57))
"""UV just below the eyes, where the light on the irises is read."""
_TONE_BOX = ((0.27, 0.30), (0.73, 0.76))
"""UV corners of the face, from chin to forehead, where the skin tone is read."""


@dataclass(frozen=True)
class _Surface:
    """What the networks and the light need to know of the head's shape in UV."""

    position: np.ndarray
    normals: np.ndarray
    visibility: np.ndarray
    confidence: np.ndarray


class Pipeline:
    """Networks and head loaded once; ``decompose`` may be called for many photos.

    device: "auto", "cpu", "cuda" or "mps". weights_dir: another set of the three networks.
    head: OBJ in the HiFi3D layout to be dressed, None for the embedded mesh. light_removal: 0 keeps the photo's
    light in the albedo, 1 takes off all that is recognised. size: side S of the maps in texels.
    Raises WeightsError or HeadError when something it needs is missing.
    """

    def __init__(
        self,
        *,
        device: str = "auto",
        weights_dir: Path | None = None,
        head: Path | None = None,
        detector: str = "auto",
        light_removal: float = 1.0,
        size: int = 1024,
    ) -> None:
        self.device = pick_device(device)
        self.detector, self.light_removal, self.size = detector, light_removal, size
        self.head = HeadModel.load()
        self.mesh = load_head_obj(head) if head else self.head.embedded_mesh()
        self.networks = {
            # channels_last suits these convolutions on a CPU
            stage: load_stage(stage, weights_dir, self.device).to(
                memory_format=torch.channels_last  # type: ignore[call-overload]
            )
            for stage in ("maginet", "refinement", "pix2pixhd")
        }
        self._trained_px = {
            stage: int(read_metadata(stage_path(stage, weights_dir)).get("size", default))
            for stage, default in (("maginet", 512), ("pix2pixhd", 1024))
        }
        self._hashes = file_hashes(weights_dir or EMBEDDED_DIR)

    def decompose(
        self, photo: Path | str, *, uv_texture: bool = False, progress: Progress | None = None
    ) -> Result:
        """Decompose one photo, or one texture in the UV layout. Raises the FacePBRError family."""
        path = Path(photo)
        steps = Steps(path.stem, 5 if uv_texture else 9, progress)
        landmarks: Landmarks | None = None
        fit: HeadFit | None = None
        with steps("reading"):
            image = read_photo(path)
        if uv_texture:
            texture = self._as_texture(path, image)
        else:
            with steps("landmarks"):
                landmarks = detect(image, self.detector)
            with steps("fit"):
                fit = fit_head(landmarks, image.shape[:2], self.head, read_focal_px(path))
            with steps("unwrap"):
                texture = unwrap(image, fit, self.head, self.size)
        passes = self._predict(texture, steps)
        with steps("light"):
            surface = _Surface(
                texture.position, texture.normals, texture.visibility, texture.confidence
            )
            light, shaded, warnings = self._light(texture.texture, passes, surface)
        identity = fit.identity if fit else np.zeros(self.head.num_identity, np.float32)
        neutral = np.zeros(self.head.num_expression, np.float32)
        expression = fit.expression if fit else neutral
        overlay = rerender = iris = None
        if fit is not None and landmarks is not None:
            with steps("overlay"):
                overlay = draw_overlay(image, fit, landmarks, self.head)
                if shaded is not None:
                    rerender = draw_over_photo(image, shaded, texture.confidence, fit, self.head)
                iris = iris_color(image, landmarks, self._gain(texture.texture, passes["albedo"]))
        report = make_report(
            name=path.stem,
            photo=path.name,
            device=str(self.device),
            settings=self._settings(uv_texture),
            seconds=steps.finish(),
            weights=self._hashes,
            head=self.mesh.name,
            landmarks=landmarks,
            fit=fit,
            warnings=warnings + self._face_warnings(landmarks),
        )
        return Result(
            name=path.stem,
            passes=passes,
            confidence=texture.confidence.astype(np.float32),
            report=report,
            mesh=self.mesh,
            vertices=self.head.vertices(self.mesh, identity, expression),
            neutral_vertices=self.head.vertices(self.mesh, identity, neutral),
            expression_shapes=dict(
                zip(
                    self.head.expression_names,
                    self.head.mesh_basis(self.mesh).expression,
                    strict=True,
                )
            ),
            eyes=build_eyes(self.head, fit, iris, identity),
            environment=None if light is None else environment_from_sh(light),
            photo=image,
            overlay=overlay,
            rerender=rerender,
            fit=fit,
            landmarks=landmarks,
            warnings=list(report["warnings"]),
        )

    def _settings(self, uv_texture: bool) -> dict[str, Any]:
        return {
            "detector": self.detector,
            "light_removal": self.light_removal,
            "size": self.size,
            "uv_texture": uv_texture,
        }

    def _face_warnings(self, landmarks: Landmarks | None) -> list[str]:
        if landmarks is None or landmarks.num_faces < 2:
            return []
        return [f"{landmarks.num_faces} faces found; the largest is used"]

    def _as_texture(self, path: Path, image: np.ndarray) -> UVTexture:
        """A texture already in the layout (H, H, 3), taken as fully seen."""
        if image.shape[0] != image.shape[1]:
            raise InputError(
                f"{path}: expected a square texture in the UV layout; got {image.shape[1]} x {image.shape[0]}; "
                "do leave --uv-texture out for a photo"
            )
        texture = resize_area(image, (self.size, self.size))
        position = self.head.position_map(
            np.zeros(self.head.num_identity), np.zeros(self.head.num_expression), self.size
        )
        seen = self.head.skin_mask(self.size).astype(np.float32)
        return UVTexture(texture, seen, seen, tangent_frames(position)[2], position)

    def _predict(self, texture: UVTexture, steps: Steps) -> dict[str, np.ndarray]:
        """The six passes as stored, (S, S, C) float32 [0, 1]."""
        with torch.inference_mode():
            full = self._tensor(texture.texture)
            with steps("maginet"):
                coarse = self._albedo(_resized(full, self.size // 2))
            with steps("refinement"):
                refined = _call(self.networks["refinement"], coarse, full)
                albedo = self._blend(full, self._tensor(self._with_tone(refined, texture)))
            with steps("pix2pixhd"):
                stack = self._stack(albedo, full)
        passes = {"albedo": _to_numpy(albedo[0])}
        for row in STAGE3_PASSES:
            triple = _to_numpy(stack[0, stage3_slice(row.key)])
            passes[row.key] = triple if row.channels == 3 else triple.mean(-1, keepdims=True)
        passes["normal"] = _unit_normals(passes["normal"])
        return passes

    def _tensor(self, image: np.ndarray) -> torch.Tensor:
        """(S, S, 3) in [0, 1] -> (1, 3, S, S) in [-1, 1] on the device."""
        tensor = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None]
        return (tensor.float() * 2.0 - 1.0).to(self.device)

    def _with_tone(self, albedo: torch.Tensor, texture: UVTexture) -> np.ndarray:
        """Albedo (1, 3, S, S) as (S, S, 3) in [0, 1], its level anchored to the skin the photo shows."""
        (left, bottom), (right, top) = _TONE_BOX
        rows = slice(int((1 - top) * self.size), int((1 - bottom) * self.size))
        columns = slice(int(left * self.size), int(right * self.size))
        skin = np.zeros((self.size, self.size), dtype=bool)
        skin[rows, columns] = texture.confidence[rows, columns] > 0.9
        return anchor_tone(_to_numpy(albedo[0]), texture.texture, skin)

    def _albedo(self, photo: torch.Tensor) -> torch.Tensor:
        """Stage I: (1, 3, H, H) -> albedo. A ratio, being smooth, is predicted at its training size and resized."""
        network = self.networks["maginet"]
        trained = self._trained_px["maginet"]
        if network.output == "ratio" and trained != photo.shape[-1]:
            return network.divide_light(photo, network.log_ratio(_resized(photo, trained)))
        return network(photo)

    def _stack(self, albedo: torch.Tensor, photo: torch.Tensor) -> torch.Tensor:
        """Stage III: (1, 3, S, S) -> (1, 15, S, S), predicted at the size it was trained at.

        InstanceNorm makes the network depend on scale. The raw diffuse is resized as a ratio to the albedo, so it
        keeps the albedo's detail.
        """
        network, trained = self.networks["pix2pixhd"], self._trained_px["pix2pixhd"]
        if trained == self.size:
            return _call(network, albedo, photo)
        small = _resized(albedo, trained)
        stack = _call(network, small, _resized(photo, trained))
        out = _resized(stack, self.size)
        raw, floor = stage3_slice("raw_diffuse"), 0.02
        ratio = (stack[:, raw] * 0.5 + 0.5 + floor) / (small * 0.5 + 0.5 + floor)
        full = (albedo * 0.5 + 0.5 + floor) * _resized(ratio, self.size) - floor
        out[:, raw] = full * 2.0 - 1.0
        return out

    def _blend(self, photo: torch.Tensor, albedo: torch.Tensor) -> torch.Tensor:
        """Part of the light removed only: the geometric mean of photo and albedo, weighted by ``light_removal``."""
        if self.light_removal >= 1.0:
            return albedo.clamp(-1, 1)
        amount, floor = self.light_removal, 0.02
        a, b = (x * 0.5 + 0.5 + floor for x in (photo, albedo.clamp(-1, 1)))
        return ((a ** (1 - amount)) * (b**amount) - floor) * 2.0 - 1.0

    def _light(
        self, texture: np.ndarray, passes: dict[str, np.ndarray], surface: _Surface
    ) -> tuple[np.ndarray | None, np.ndarray | None, list[str]]:
        """SH light (9, 3), the albedo shaded by it (S, S, 3), and what is to be warned of."""
        weight = surface.visibility * (surface.confidence > 0.5)
        occlusion = passes["ambient_occlusion"]
        try:
            light = estimate_light(texture, passes["albedo"], surface.normals, occlusion, weight)
        except FitError as error:
            return None, None, [f"the light of the photo is not estimated: {error}"]
        normals = head_space_normals(passes["normal"], surface.normals, surface.position)
        return light, shade_texture(passes["albedo"], normals, occlusion, light), []

    def _gain(self, texture: np.ndarray, albedo: np.ndarray) -> np.ndarray:
        """Albedo over photo (3,), linear, on the skin below the eyes."""
        ratios = []
        for u, v in _EYE_SKIN:
            column, row = int(u * self.size), int((1 - v) * self.size)
            reach = self.size // 64
            patch = np.s_[row - reach : row + reach, column - reach : column + reach]
            ratios.append(
                srgb_to_linear(albedo[patch]).mean((0, 1))
                / (srgb_to_linear(texture[patch]).mean((0, 1)) + 1e-3)
            )
        return np.mean(ratios, axis=0)


def pick_device(name: str) -> torch.device:
    """ "auto" takes CUDA, then MPS, then the CPU. FacePBRError for a device this machine lacks."""
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        return torch.device(next(device for device, there in available.items() if there))
    if not available.get(name, False):
        raise FacePBRError(
            f"expected a device of this machine; got --device {name}, which torch {torch.__version__} does not see; "
            "do use --device auto or install the matching torch build"
        )
    return torch.device(name)


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
