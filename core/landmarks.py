"""Photo -> 68 iBUG landmarks (and MediaPipe's 468 dense points): detectors behind one function.

``mediapipe`` is the embedded detector: its wheel carries the models, nothing is downloaded.
``face-alignment`` (68-point FAN, Bulat & Tzimiropoulos, ICCV 2017) is used only when its weight
files already lie in torch's hub cache. Pixels: origin top-left, pixel centres at +0.5.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from .errors import InputError, NoFaceError, WeightsError

DETECTORS = ("auto", "mediapipe", "face-alignment")

MEDIAPIPE_68: tuple[int, ...] = (
    *(
        127,
        234,
        93,
        132,
        58,
        136,
        150,
        176,
        152,
        400,
        379,
        365,
        288,
        361,
        323,
        454,
        356,
    ),  # jaw 0-16
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),  # brows 17-26
    *(168, 197, 5, 4, 75, 97, 2, 326, 305),  # nose 27-35
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),  # eyes 36-47
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),  # outer lip 48-59
    *(78, 82, 13, 312, 308, 317, 14, 87),  # inner lip 60-67
)
"""Index into the 468 dense points of each of the 68 iBUG landmarks (nearest in meaning)."""

FAN_FILES = ("2DFAN4-cd938726ad.zip", "s3fd-619a316812.pth")
"""face-alignment's weights, looked for in ``torch.hub.get_dir()/checkpoints``, never fetched."""

_NUM_DENSE = 468
_IRIS_MIRROR = (5, 8, 7, 6, 9, 0, 3, 2, 1, 4)
_ANCHOR_PAIRS = (
    *((33, 263), (133, 362), (61, 291), (234, 454), (127, 356), (70, 300), (145, 374), (159, 386)),
    *((10, 10), (152, 152), (1, 1), (0, 0), (17, 17), (13, 13), (14, 14)),
)
_MAX_SIDE_PX = 1600
_CROP_PX = 640
_AGREEMENT_SCALE = 0.05
_CONFIRMED = 0.15


@dataclass(frozen=True)
class Landmarks:
    """Facial landmarks of one face in one image; float32 pixels, x right, y down."""

    points: np.ndarray
    """(68, 2) iBUG landmarks; index 0 is the subject's right jaw end."""
    dense: np.ndarray | None
    """(468, 2) MediaPipe FaceMesh points, or None where the detector has none."""
    iris: np.ndarray | None
    """(10, 2) iris centre and four rim points of the subject's right, then left eye, or None."""
    detector: str
    """``mediapipe`` or ``face-alignment``."""
    num_faces: int
    """Faces found in the image; the points are those of the largest."""
    score: float
    """(0, 1]; MediaPipe: agreement with the detection in the mirrored image; FAN: mean heat."""

    @property
    def interocular_px(self) -> float:
        """Distance between the outer eye corners (landmarks 36 and 45), pixels."""
        return float(np.linalg.norm(self.points[36] - self.points[45]))


def detect(image: np.ndarray, detector: str = "auto") -> Landmarks:
    """Find the largest face of an image and its landmarks.

    image: (H, W, 3) or (H, W) float, sRGB-encoded [0, 1]; photos and UV textures alike.
    detector: ``mediapipe``, ``face-alignment``, or ``auto``: MediaPipe, then, for a face it misses
        and where its weights are on this machine, FAN.
    Raises NoFaceError where no face is found, WeightsError where FAN is asked for and not there.
    """
    if detector not in DETECTORS:
        raise InputError(
            f"expected detector {' | '.join(DETECTORS)}; got {detector!r}; choose one of these"
        )
    pixels, scale = _to_uint8(image)
    if detector == "face-alignment":
        found = _detect_fan(pixels)
    else:
        try:
            found = _detect_mediapipe(pixels)
        except NoFaceError:
            if detector == "mediapipe" or not has_face_alignment():
                raise
            found = _detect_fan(pixels)
    points, dense, iris = (
        None if p is None else (p * scale).astype(np.float32)
        for p in (found.points, found.dense, found.iris)
    )
    return replace(found, points=points, dense=dense, iris=iris)


def _to_uint8(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(H, W[, 1|3]) float [0, 1] -> (h, w, 3) uint8 of at most _MAX_SIDE_PX, and (2,) scale back to (W, H)."""
    array = np.asarray(image)
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3):
        raise InputError(
            f"expected an image (H, W, 3); got shape {np.shape(image)}; pass read_photo's array"
        )
    height, width = array.shape[:2]
    reduction = _MAX_SIDE_PX / max(height, width)
    if reduction < 1.0:
        size = (max(round(width * reduction), 1), max(round(height * reduction), 1))
        array = cv2.resize(array, size, interpolation=cv2.INTER_AREA).reshape(*size[::-1], -1)
    if array.dtype != np.uint8:
        array = np.rint(np.clip(np.nan_to_num(array), 0.0, 1.0) * 255.0).astype(np.uint8)
    scale = np.array([width / array.shape[1], height / array.shape[0]])
    return np.ascontiguousarray(np.broadcast_to(array, (*array.shape[:2], 3))), scale


# ------------------------------------------------------------------------------- MediaPipe


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Silence MediaPipe's C++ graphs, which write to descriptor 2 past Python's logging."""
    sys.stderr.flush()
    saved, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)


@functools.lru_cache(maxsize=1)
def _mediapipe_models() -> tuple[Any, Any]:
    """(FaceMesh, full-range FaceDetection), made once per process; both eat (H, W, 3) uint8."""
    os.environ.setdefault("GLOG_minloglevel", "3")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _quiet_stderr(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mediapipe.python.solutions import face_detection, face_mesh

        mesh = face_mesh.FaceMesh(
            static_image_mode=True,
            max_num_faces=4,
            refine_landmarks=True,
            min_detection_confidence=0.5,
        )
        finder = face_detection.FaceDetection(model_selection=1, min_detection_confidence=0.5)
        blank = np.zeros((64, 64, 3), np.uint8)
        mesh.process(blank)
        finder.process(blank)
    warnings.filterwarnings("ignore", message=".*GetPrototype.*", category=UserWarning)
    return mesh, finder


@functools.lru_cache(maxsize=1)
def mediapipe_mirror() -> np.ndarray:
    """(478,) int: the point that takes each point's place in a mirrored image (468 dense, 10 iris).

    Read off the FaceMesh tessellation: a point is as many edges from the anchors as its mirror is
    from the mirrored anchors.
    """
    from mediapipe.python.solutions.face_mesh_connections import FACEMESH_TESSELATION
    from scipy.optimize import linear_sum_assignment
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import dijkstra

    edges, anchors = np.array(sorted(FACEMESH_TESSELATION)), np.array(_ANCHOR_PAIRS)
    graph = coo_matrix((np.ones(len(edges)), edges.T), shape=(_NUM_DENSE, _NUM_DENSE)).tocsr()
    distance = dijkstra(graph, directed=False, unweighted=True, indices=anchors.ravel()).reshape(
        -1, 2, _NUM_DENSE
    )
    code, mirrored = distance.reshape(-1, _NUM_DENSE).T, distance[:, ::-1].reshape(-1, _NUM_DENSE).T
    _, partner = linear_sum_assignment(np.abs(code[:, None] - mirrored[None]).sum(-1))
    return np.concatenate([partner, np.array(_IRIS_MIRROR) + _NUM_DENSE])


def _mesh_faces(pixels: np.ndarray) -> list[np.ndarray]:
    """All faces FaceMesh finds in (H, W, 3) uint8, each (478, 2) float64 px."""
    mesh, _ = _mediapipe_models()
    with _quiet_stderr():
        found = mesh.process(np.ascontiguousarray(pixels)).multi_face_landmarks or []
    size = np.array([pixels.shape[1], pixels.shape[0]], float)
    return [np.array([(p.x, p.y) for p in face.landmark]) * size for face in found]


def _crop_matrix(center: np.ndarray, extent: float, angle_deg: float = 0.0) -> np.ndarray:
    """(2, 3) affine from image px to a _CROP_PX square around ``center``, ``extent`` px wide."""
    scale, angle = _CROP_PX / extent, np.deg2rad(angle_deg)
    linear = scale * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return np.column_stack([linear, _CROP_PX / 2 - linear @ center])


def _faces_in_crop(
    pixels: np.ndarray, matrix: np.ndarray, mirror: bool = False
) -> list[np.ndarray]:
    """FaceMesh on a warped crop (or its mirror); points (478, 2) px of the uncropped image."""
    shifted = matrix.copy()
    shifted[:, 2] += (
        matrix[:, :2] @ np.array([0.5, 0.5]) - 0.5
    )  # OpenCV warps with centres at integers
    crop = cv2.warpAffine(
        pixels, shifted, (_CROP_PX, _CROP_PX), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE
    )
    faces = _mesh_faces(crop[:, ::-1] if mirror else crop)
    if mirror:
        faces = [
            (np.array([_CROP_PX, 0.0]) + face * np.array([-1.0, 1.0]))[mediapipe_mirror()]
            for face in faces
        ]
    inverse = np.linalg.inv(matrix[:, :2])
    return [(face - matrix[:, 2]) @ inverse.T for face in faces]


def _extent(face: np.ndarray) -> float:
    return float(np.ptp(face[:_NUM_DENSE], axis=0).max())


def _center(face: np.ndarray) -> np.ndarray:
    return 0.5 * (face[:_NUM_DENSE].min(0) + face[:_NUM_DENSE].max(0))


def _add_new(faces: list[np.ndarray], more: list[np.ndarray]) -> None:
    """Append the faces whose centre lies in none of those already there."""
    for face in more:
        if all(
            np.linalg.norm(_center(face) - _center(other)) > 0.35 * _extent(other)
            for other in faces
        ):
            faces.append(face)


def _upright_faces(pixels: np.ndarray) -> list[np.ndarray]:
    """Faces of the whole image and of crops at the full-range detector's boxes."""
    height, width = pixels.shape[:2]
    faces: list[np.ndarray] = []
    _add_new(faces, _mesh_faces(pixels))
    _, finder = _mediapipe_models()
    for hit in finder.process(pixels).detections or []:
        box = hit.location_data.relative_bounding_box
        extent = max(box.width * width, box.height * height)
        center = np.array(
            [(box.xmin + box.width / 2) * width, (box.ymin + box.height / 2) * height]
        )
        if extent >= 12:
            _add_new(faces, _faces_in_crop(pixels, _crop_matrix(center, 2.0 * extent)))
    return faces


def _harder_crops(height: int, width: int) -> Iterator[np.ndarray]:
    """Crop matrices for faces that fill the frame, lie on their side, or are very small."""
    middle, side = np.array([width, height]) / 2, float(max(width, height))
    for angle_deg in (0.0, 35.0, -35.0, 90.0, -90.0, 180.0):
        yield _crop_matrix(middle, 1.6 * side, angle_deg)
    for fraction in (0.5, 0.25):
        tile = fraction * side
        for y in np.arange(tile / 2, height, 0.6 * tile):
            for x in np.arange(tile / 2, width, 0.6 * tile):
                yield _crop_matrix(np.array([x, y]), tile)


def _look_again(pixels: np.ndarray, face: np.ndarray) -> tuple[np.ndarray, float]:
    """Detect once more in the upright crop around a face and in its mirror image: (mean, score).

    Averaging halves the jitter, and how far the two lie apart says how far either can be trusted.
    A face that only one of them confirms scores 0.1, one that neither does scores 0.
    """
    eyes = face[263] - face[33]
    angle_deg = float(np.rad2deg(np.arctan2(eyes[1], eyes[0])))
    matrix = _crop_matrix(_center(face), 2.0 * _extent(face), angle_deg)
    looks = []
    for mirror in (False, True):
        again = _faces_in_crop(pixels, matrix, mirror)
        center, reach = _center(face), 0.25 * _extent(face)
        looks += [f for f in again if np.linalg.norm(_center(f) - center) < reach][:1]
    if not looks:
        return face, 0.0
    if len(looks) == 1:
        return looks[0], 0.1
    apart = np.linalg.norm(looks[0] - looks[1], axis=1)[:_NUM_DENSE].mean()
    score = float(np.exp(-apart / max(np.linalg.norm(eyes), 1e-6) / _AGREEMENT_SCALE))
    return np.mean(looks, axis=0), score


def _detect_mediapipe(pixels: np.ndarray) -> Landmarks:
    faces = sorted(_upright_faces(pixels), key=_extent, reverse=True)
    looks = [_look_again(pixels, face) for face in faces]
    crops = _harder_crops(*pixels.shape[:2])
    while not any(score > _CONFIRMED for _, score in looks):
        matrix = next(crops, None)
        if matrix is None:
            break
        looks += [_look_again(pixels, face) for face in _faces_in_crop(pixels, matrix)]
    looks = [look for look in looks if look[1] > _CONFIRMED] or [k for k in looks if k[1] > 0.0]
    if not looks:
        raise NoFaceError(_no_face(pixels))
    face, score = max(looks, key=lambda look: _extent(look[0]))
    dense, iris = face[:_NUM_DENSE], face[_NUM_DENSE:]
    return Landmarks(dense[list(MEDIAPIPE_68)], dense, iris, "mediapipe", len(looks), score)


def _no_face(pixels: np.ndarray) -> str:
    height, width = pixels.shape[:2]
    return (
        f"expected a photo with a visible face; got {width}x{height} pixels without one; "
        "take a photo in which eyes, nose and mouth can be seen"
    )


# --------------------------------------------------------------------------- face-alignment


def _fan_cache() -> Path:
    from torch import hub

    return Path(hub.get_dir()) / "checkpoints"


def has_face_alignment() -> bool:
    """True where the face-alignment package and both of its weight files are on this machine."""
    if importlib.util.find_spec("face_alignment") is None:
        return False
    return all((_fan_cache() / name).is_file() for name in FAN_FILES)


@functools.lru_cache(maxsize=1)
def _fan() -> Any:
    from face_alignment import FaceAlignment, LandmarksType

    return FaceAlignment(LandmarksType.TWO_D, device="cpu")


def _detect_fan(pixels: np.ndarray) -> Landmarks:
    if not has_face_alignment():
        raise WeightsError(
            f"expected face-alignment's {' and '.join(FAN_FILES)} in torch's hub cache; "
            "got none; put them there or use --detector mediapipe"
        )
    points, scores, boxes = _fan().get_landmarks_from_image(
        pixels, return_bboxes=True, return_landmark_score=True
    )
    if not points:
        raise NoFaceError(_no_face(pixels))
    best = int(np.argmax([(b[2] - b[0]) * (b[3] - b[1]) for b in boxes]))
    face = np.asarray(points[best], np.float32)[:, :2] + 0.5
    return Landmarks(
        face, None, None, "face-alignment", len(points), float(np.clip(np.mean(scores[best]), 0, 1))
    )
