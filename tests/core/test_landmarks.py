"""core/landmarks.py: the embedded detector on a public photo, hard framings, and refusals."""

import numpy as np
import pytest
from skimage import data

from core import landmarks
from core.errors import InputError, NoFaceError, WeightsError


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    """(512, 512, 3) float32 sRGB [0, 1]; NASA, public domain, comes with scikit-image."""
    return data.astronaut().astype(np.float32) / 255.0


@pytest.fixture(scope="module")
def found(astronaut: np.ndarray) -> landmarks.Landmarks:
    return landmarks.detect(astronaut)


def test_points_lie_where_the_face_is(found: landmarks.Landmarks) -> None:
    assert (
        found.points.shape == (68, 2)
        and found.dense.shape == (468, 2)
        and found.iris.shape == (10, 2)
    )
    assert found.detector == "mediapipe" and found.num_faces == 1 and 0.3 < found.score <= 1.0
    eyes = found.points[36:48].reshape(2, 6, 2).mean(1)
    np.testing.assert_allclose(eyes, [(206, 107), (247, 112)], atol=8)
    assert 40 < found.interocular_px < 90


def test_order_is_ibug(found: landmarks.Landmarks) -> None:
    points = found.points
    assert (np.diff(points[1:16, 0]) > 0).all(), "jaw runs from the subject's right to the left"
    assert (np.diff(points[17:27, 0]) > 0).all() and (np.diff(points[27:31, 1]) > 0).all()
    assert points[48, 0] < points[51, 0] < points[54, 0] and points[51, 1] < points[57, 1]
    assert np.argmax(points[:, 1]) == 8, "the chin is the lowest point of an upright face"


def test_mirrored_photo_gives_mirrored_points(
    astronaut: np.ndarray, found: landmarks.Landmarks
) -> None:
    mirrored = landmarks.detect(astronaut[:, ::-1])
    back = (np.array([512.0, 0.0]) + mirrored.dense * [-1.0, 1.0])[
        landmarks.mediapipe_mirror()[:468]
    ]
    assert np.linalg.norm(back - found.dense, axis=1).mean() < 0.02 * found.interocular_px


def test_mirror_table_is_an_involution() -> None:
    partner = landmarks.mediapipe_mirror()
    np.testing.assert_array_equal(partner[partner], np.arange(478))
    assert partner[33] == 263 and partner[61] == 291 and partner[1] == 1


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_turned_photo(astronaut: np.ndarray, turn: int) -> None:
    found = landmarks.detect(np.rot90(astronaut[:300, 80:380], turn))
    assert found.interocular_px > 40


def test_small_face_in_a_large_frame(astronaut: np.ndarray, found: landmarks.Landmarks) -> None:
    frame = np.full((1800, 2400, 3), 0.5, np.float32)
    frame[900:1412, 1500:2012] = astronaut
    small = landmarks.detect(frame)
    np.testing.assert_allclose(small.points.mean(0), found.points.mean(0) + (1500, 900), atol=4)


def test_grey_photo(astronaut: np.ndarray, found: landmarks.Landmarks) -> None:
    grey = landmarks.detect(astronaut.mean(-1))
    assert np.linalg.norm(grey.dense - found.dense, axis=1).mean() < 0.05 * found.interocular_px


def test_two_faces_gives_the_larger(astronaut: np.ndarray) -> None:
    face = astronaut[20:220, 120:320]
    canvas = np.full((500, 800, 3), 0.6, np.float32)
    canvas[50:450, 20:420] = np.repeat(np.repeat(face, 2, 0), 2, 1)
    canvas[150:350, 560:760] = face
    found = landmarks.detect(canvas)
    assert found.num_faces == 2 and found.points[:, 0].max() < 420


def test_no_face_is_refused() -> None:
    noise = np.random.default_rng(0).random((256, 256, 3), np.float32)
    for image in (
        np.full((200, 300, 3), 0.5, np.float32),
        noise,
        data.rocket().astype(np.float32) / 255.0,
    ):
        with pytest.raises(NoFaceError, match="expected a photo with a visible face"):
            landmarks.detect(image)


def test_cap_over_the_face_is_refused(shared_data) -> None:
    from core.images import read_photo

    with pytest.raises(NoFaceError):
        landmarks.detect(read_photo(shared_data / "portraits" / "024.jpg"))


def test_uv_texture_has_a_face(shared_data) -> None:
    from core.images import read_photo

    found = landmarks.detect(
        read_photo(shared_data / "uv_textures_test_only" / "ffhq_uv_01223.png")
    )
    assert (
        abs(found.points[30, 0] / 1024 - 0.5) < 0.02
        and abs(found.points[30, 1] / 1024 - 0.457) < 0.03
    )


def test_bad_arguments() -> None:
    with pytest.raises(InputError, match="detector"):
        landmarks.detect(np.zeros((64, 64, 3), np.float32), "dlib")
    with pytest.raises(InputError, match="H, W, 3"):
        landmarks.detect(np.zeros((64, 64, 4), np.float32))


def test_face_alignment_without_weights_is_refused(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match="--detector mediapipe"):
        landmarks.detect(np.full((64, 64, 3), 0.5, np.float32), "face-alignment")
    assert not list(tmp_path.rglob("*.zip")), "nothing is downloaded"
