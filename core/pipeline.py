"""The only assembler: photo -> landmarks -> fit -> texture -> three networks -> passes, light and head."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from .networks import Networks
from .overlay import draw_overlay
from .report import Progress, Steps, make_report
from .rerender import draw_over_photo, head_space_normals, shade_texture, tangent_frames
from .result import Result
from .shading import environment_from_sh, estimate_light
from .teeth import build_teeth, line_mouth
from .unwrap import UVTexture, unwrap

_EYE_SKIN = ((0.34, 0.57), (0.66, 0.57))
"""UV just below the eyes, where the light on the irises is read."""
_TONE_BOX = ((0.27, 0.30), (0.73, 0.76))
"""UV corners of the face, from chin to forehead, where the skin tone is read."""


@dataclass(frozen=True)
class Face:
    """The face of one photo: where the detector saw it, and the head fitted to it."""

    landmarks: Landmarks
    fit: HeadFit


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
        self.networks = Networks(self.device, weights_dir)

    def decompose(
        self, photo: Path | str, *, uv_texture: bool = False, progress: Progress | None = None
    ) -> Result:
        """Decompose one photo, or one texture in the UV layout. Raises the FacePBRError family."""
        path = Path(photo)
        steps = Steps(path.stem, 5 if uv_texture else 9, progress)
        face: Face | None = None
        with steps("reading"):
            image = read_photo(path)
        if uv_texture:
            texture = self._as_texture(path, image)
        else:
            with steps("landmarks"):
                landmarks = detect(image, self.detector)
            with steps("fit"):
                fit = fit_head(landmarks, image.shape[:2], self.head, read_focal_px(path))
                face = Face(landmarks, fit)
            with steps("unwrap"):
                texture = unwrap(image, face.fit, self.head, self.size)
        passes = self.networks.predict(
            texture.texture, toned_skin(texture.confidence), self.light_removal, steps
        )
        result = self.assemble(path, image, face, texture, passes, steps)
        steps.finish()
        return result

    def decompose_same_person(
        self, photos: Sequence[Path | str], progress: Progress | None = None
    ) -> Iterator[tuple[Path, Result | FacePBRError]]:
        """Decompose photos of one person: one identity, one set of passes, a result for each photo.

        Yields each photo with its result, or with the error that kept it out; the others go on without it. Textures
        wait on disk, and of the results only one is held at a time.
        """
        from .same_person import decompose_together

        return decompose_together(self, [Path(photo) for photo in photos], progress)

    def assemble(
        self,
        path: Path,
        image: np.ndarray,
        face: Face | None,
        texture: UVTexture,
        passes: dict[str, np.ndarray],
        steps: Steps,
        confidence: np.ndarray | None = None,
        same_person: dict[str, Any] | None = None,
        more_warnings: Sequence[str] = (),
    ) -> Result:
        """The result of one photo around its passes: light, overlay, re-render, eyes, head, report.

        texture: the photo's own, unwrapped; confidence: (S, S) of the passes where they are not its own alone;
        same_person: block of the report.
        """
        fit, landmarks = (face.fit, face.landmarks) if face else (None, None)
        with steps("light"):
            light, shaded, warnings = self._light(texture, passes)
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
            settings=self._settings(face is None, same_person is not None),
            seconds=steps.taken(),
            weights=self.networks.hashes,
            head=self.mesh.name,
            landmarks=landmarks,
            fit=fit,
            warnings=[*warnings, *more_warnings],
            same_person=same_person,
        )
        return Result(
            name=path.stem,
            passes=passes | {"albedo": line_mouth(passes["albedo"], self.head)},
            confidence=(texture.confidence if confidence is None else confidence).astype(
                np.float32
            ),
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
            eyes=[
                *build_eyes(self.head, fit, iris, identity),
                *build_teeth(self.head, identity, expression),
            ],
            environment=None if light is None else environment_from_sh(light),
            photo=image,
            overlay=overlay,
            rerender=rerender,
            fit=fit,
            landmarks=landmarks,
            warnings=list(report["warnings"]),
        )

    def _settings(self, uv_texture: bool, same_person: bool) -> dict[str, Any]:
        return {
            "detector": self.detector,
            "light_removal": self.light_removal,
            "size": self.size,
            "uv_texture": uv_texture,
            "same_person": same_person,
        }

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

    def _light(
        self, texture: UVTexture, passes: dict[str, np.ndarray]
    ) -> tuple[np.ndarray | None, np.ndarray | None, list[str]]:
        """SH light (9, 3), the albedo shaded by it (S, S, 3), and what is to be warned of."""
        weight = texture.visibility * (texture.confidence > 0.5)
        albedo, occlusion = passes["albedo"], passes["ambient_occlusion"]
        try:
            light = estimate_light(texture.texture, albedo, texture.normals, occlusion, weight)
        except FitError as error:
            return None, None, [f"the light of the photo is not estimated: {error}"]
        normals = head_space_normals(passes["normal"], texture.normals, texture.position)
        return light, shade_texture(albedo, normals, occlusion, light), []

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


def toned_skin(confidence: np.ndarray) -> np.ndarray:
    """(S, S) bool: well-seen texels of the face, chin to forehead, whose tone anchors the albedo's."""
    size = len(confidence)
    (left, bottom), (right, top) = _TONE_BOX
    rows = slice(int((1 - top) * size), int((1 - bottom) * size))
    columns = slice(int(left * size), int(right * size))
    skin = np.zeros((size, size), dtype=bool)
    skin[rows, columns] = confidence[rows, columns] > 0.9
    return skin


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
