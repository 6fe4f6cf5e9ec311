"""Photos of one person -> one identity and one set of passes, and a result for each photo.

Three rounds over the photos, so that only one is in memory at a time: faces are found and fitted together; each photo
is unwrapped and freed of its light, and waits on disk (about 20 MB at 1024) while its small copy tells the merge how to
join it; then each photo gets its light, overlay and report around the shared passes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from .errors import FacePBRError
from .fit_solver import Solver
from .head_fit import fit_alone
from .images import read_focal_px, read_photo
from .joint_fit import LOOK_PX, SAME_LOOK, Look, SamePerson, agreeing, fit_same_person
from .landmarks import Landmarks, detect
from .merge import Merge, SmallCopy, plan_merge
from .report import Progress, Steps
from .result import Result
from .skin_segment import face_polygon
from .unwrap import Geometry, UVTexture, unwrap

if TYPE_CHECKING:
    from .pipeline import Pipeline

_STEPS_FOUND, _STEPS_SHARED, _STEPS_USED = 2, 3, 5
_LIGHT_SIGMA = 0.03
_FLOOR = 0.02


@dataclass(frozen=True)
class _Found:
    """A photo with a face, before the joint fit."""

    path: Path
    landmarks: Landmarks
    solver: Solver
    look: Look


def decompose_together(
    pipeline: Pipeline, photos: Sequence[Path], progress: Progress | None
) -> Iterator[tuple[Path, Result | FacePBRError]]:
    """Each photo with its result or the error that kept it out, in the order given; see the module's docstring."""
    steps = Steps(
        photos[0].stem, len(photos) * (_STEPS_FOUND + _STEPS_USED) + _STEPS_SHARED, progress
    )
    found: list[_Found] = []
    failed: dict[Path, FacePBRError] = {}
    for path in photos:
        steps.of, before = path.stem, steps.done
        try:
            with steps("landmarks"):
                image = read_photo(path)
                landmarks = detect(image, pipeline.detector)
            with steps("fit"):
                found.append(_fitted(pipeline, path, image, landmarks))
        except FacePBRError as error:
            failed[path] = error
            steps.skip(_STEPS_FOUND + _STEPS_USED - (steps.done - before))
    if not found:
        yield from failed.items()
        return
    with steps("joint fit"):
        alike, correlation = agreeing([face.look for face in found])
        person = fit_same_person([face.solver for face in found], pipeline.head, alike)
    person = replace(
        person,
        doubts=tuple(
            doubts if alike[k] else (_stranger(correlation[k]), *doubts)
            for k, doubts in enumerate(person.doubts)
        ),
    )
    with tempfile.TemporaryDirectory(prefix="facepbr-") as shelf:
        joined = _join(pipeline, found, person, Path(shelf), steps)
        number = {face.path: index for index, face in enumerate(found)}
        for path in photos:
            if path in failed:
                yield path, failed[path]
            else:
                yield path, _one_result(pipeline, found, person, joined, number[path], steps)
    steps.finish()


def _fitted(pipeline: Pipeline, path: Path, image: np.ndarray, landmarks: Landmarks) -> _Found:
    """Fit a photo alone, and take a small look at its skin."""
    head = pipeline.head
    solver, fit = fit_alone(landmarks, image.shape[:2], head, read_focal_px(path))
    small = unwrap(image, fit, head, LOOK_PX)
    look = Look.of(small.texture, small.visibility, face_polygon(head, LOOK_PX))
    return _Found(path, landmarks, solver, look)


def _stranger(correlation: float) -> str:
    return (
        f"the skin of this photo agrees with none of the others (correlation {correlation:.2f}, expected "
        f"{SAME_LOOK} or more): another person? It is kept out of the merge"
    )


@dataclass(frozen=True)
class _Joined:
    """What the photos share."""

    passes: dict[str, np.ndarray]
    confidence: np.ndarray
    shares: np.ndarray
    shelf: Path


def _join(
    pipeline: Pipeline, found: Sequence[_Found], person: SamePerson, shelf: Path, steps: Steps
) -> _Joined:
    """Unwrap and free each photo of its light, merge, and predict the other passes from the merge."""
    from .pipeline import toned_skin

    size, copies = pipeline.size, []
    confidence = np.zeros((size, size), np.float32)
    for index, (face, fit) in enumerate(zip(found, person.fits, strict=True)):
        steps.of = face.path.stem
        with steps("unwrap"):
            texture = unwrap(read_photo(face.path), fit, pipeline.head, size)
        albedo = pipeline.networks.albedo(
            texture.texture, toned_skin(texture.confidence), pipeline.light_removal, steps
        )
        assert texture.density is not None, "a photo's texture knows its density"
        copies.append(SmallCopy.of(albedo, texture.visibility, texture.density, texture.confidence))
        if person.weights[index] > 0:
            confidence = np.maximum(confidence, texture.confidence)
        kept = {"texture": texture.texture, "albedo": albedo, "visibility": texture.visibility}
        kept["confidence"] = texture.confidence
        np.savez(shelf / f"{index}.npz", **{k: v.astype(np.float16) for k, v in kept.items()})
    steps.of = found[int(person.weights.argmax())].path.stem
    with steps("merge"):
        small = len(copies[0].weight)
        plan = plan_merge(copies, person.weights > 0, face_polygon(pipeline.head, small))
        merge = Merge(plan, size)
        for index in np.flatnonzero(person.weights > 0):
            merge.add(int(index), _kept(shelf, int(index))["albedo"])
        albedo = merge.texture()
    best = _kept(shelf, int(plan.shares.argmax()))
    lit = _under_light_of(albedo, best["texture"], best["albedo"])
    passes = pipeline.networks.passes(albedo, lit, steps)
    return _Joined(passes, confidence, plan.shares, shelf)


def _kept(shelf: Path, index: int) -> dict[str, np.ndarray]:
    with np.load(shelf / f"{index}.npz") as archive:
        return {key: archive[key].astype(np.float32) for key in archive.files}


def _under_light_of(albedo: np.ndarray, texture: np.ndarray, own: np.ndarray) -> np.ndarray:
    """The merged albedo (S, S, 3) under the soft light that lies between a photo's texture and its own albedo."""
    ratio = np.log(texture + _FLOOR) - np.log(own + _FLOOR)
    step = max(len(ratio) // 256, 1)
    small = cv2.resize(ratio, None, fx=1 / step, fy=1 / step, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), _LIGHT_SIGMA * len(small))
    light = cv2.resize(small, ratio.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return np.clip((albedo + _FLOOR) * np.exp(light) - _FLOOR, 0, 1).astype(np.float32)


def _one_result(
    pipeline: Pipeline,
    found: Sequence[_Found],
    person: SamePerson,
    joined: _Joined,
    index: int,
    steps: Steps,
) -> Result:
    """The result of one photo: its own pose, expression, camera and light around the shared passes."""
    from .pipeline import Face

    face, fit, head = found[index], person.fits[index], pipeline.head
    steps.of = face.path.stem
    vertices = head.vertices(head.embedded_mesh(), fit.identity, fit.expression)
    geometry = Geometry.of(vertices, fit.camera, head, pipeline.size)
    kept = _kept(joined.shelf, index)
    texture = UVTexture(
        kept["texture"], kept["visibility"], kept["confidence"], geometry.normals, geometry.position
    )
    return pipeline.assemble(
        face.path,
        read_photo(face.path),
        Face(face.landmarks, fit),
        texture,
        joined.passes,
        steps,
        joined.confidence,
        _block(found, person, joined),
        person.doubts[index],
    )


def _block(found: Sequence[_Found], person: SamePerson, joined: _Joined) -> dict[str, Any]:
    """The ``same_person`` block of every report: what each photo gave, and how far the identities lie apart."""
    rows = [
        {
            "photo": face.path.name,
            "used": bool(person.weights[k] > 0),
            "fit_weight": round(float(person.weights[k]), 3),
            "texture_share": round(float(joined.shares[k]), 3),
            "identity_distance_mm": round(float(person.distance_mm[k]), 3),
        }
        for k, face in enumerate(found)
    ]
    used = person.distance_mm[person.weights > 0]
    return {
        "photos": rows,
        "identity_spread_mm": {
            "mean": round(float(used.mean()), 3),
            "max": round(float(used.max()), 3),
        },
    }
