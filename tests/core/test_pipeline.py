"""The whole path on a real photo, with tiny untrained networks; and what only the trained ones can show."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.color import srgb_to_linear
from core.errors import FacePBRError, InputError, NoFaceError, WeightsError
from core.nets import MAGINet, Pix2PixHD, RefinementNet
from core.passes import PASSES
from core.pipeline import Pipeline, pick_device
from core.result import Result, write_result
from core.weights import save_stage, write_index

SIZE = 256


@pytest.fixture(scope="module")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    networks = {
        "maginet": MAGINet(4, output="ratio"),
        "refinement": RefinementNet(4),
        "pix2pixhd": Pix2PixHD(4, num_down=2, num_blocks=1),
    }
    for stage, network in networks.items():
        save_stage(folder / f"{stage}.safetensors", network, {"stage": stage, "size": "128"})
    write_index(folder)
    return folder


@pytest.fixture(scope="module")
def pipeline(tiny_weights: Path) -> Pipeline:
    return Pipeline(device="cpu", weights_dir=tiny_weights, size=SIZE)


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = pytest.importorskip("skimage.data")
    path = tmp_path_factory.mktemp("photo") / "astronaut.png"
    Image.fromarray(data.astronaut()).save(path)
    return path


def test_photo_becomes_a_complete_result(pipeline: Pipeline, photo: Path, tmp_path: Path) -> None:
    stages: list[tuple[str, int, int]] = []
    result = pipeline.decompose(
        photo, progress=lambda stage, of, done, total, message: stages.append((stage, done, total))
    )
    for row in PASSES:
        image = result.passes[row.key]
        assert image.shape == (SIZE, SIZE, row.channels) and image.dtype == np.float32
        assert 0 <= image.min() and image.max() <= 1
    lengths = np.linalg.norm(result.passes["normal"] * 2 - 1, axis=-1)
    np.testing.assert_allclose(lengths, 1, atol=1e-4)
    assert stages[0][0] == "reading" and stages[-1] == ("done", stages[-1][2], stages[-1][2])
    assert [done for _, done, _ in stages] == sorted(done for _, done, _ in stages)
    assert result.environment is not None and result.environment.min() >= 0
    assert sum(part.name.startswith("eye_") for part in result.eyes) == 2
    assert result.overlay is not None and result.rerender is not None
    folder = write_result(result, tmp_path / "astronaut")
    report = json.loads((folder / "report.json").read_text())
    assert set(report["seconds"]) >= {
        "landmarks",
        "fit",
        "unwrap",
        "maginet",
        "refinement",
        "pix2pixhd",
    }
    assert "maginet.safetensors" in report["weights_sha256"]


def test_no_light_removal_keeps_the_photo(tiny_weights: Path, photo: Path) -> None:
    kept = Pipeline(device="cpu", weights_dir=tiny_weights, size=SIZE, light_removal=0.0)
    texture = tmp_texture(photo.parent / "texture.png")
    result = kept.decompose(texture, uv_texture=True)
    given = np.asarray(Image.open(texture), np.float32) / 255
    skin = kept.head.skin_mask(SIZE)  # beside the skin, the mouth's lining is painted
    np.testing.assert_allclose(result.passes["albedo"][skin], given[skin], atol=2e-3)
    assert result.fit is None and result.landmarks is None


def tmp_texture(path: Path) -> Path:
    rng = np.random.default_rng(0)
    coarse = rng.uniform(0.3, 0.8, (8, 8, 3)) * 255
    Image.fromarray(coarse.astype(np.uint8)).resize((SIZE, SIZE), Image.Resampling.BICUBIC).save(
        path
    )
    return path


def test_photos_of_one_person_share_head_and_passes(
    pipeline: Pipeline, photo: Path, tmp_path: Path
) -> None:
    picture = np.asarray(Image.open(photo))
    mirrored = tmp_path / "mirrored.png"
    Image.fromarray(np.clip(picture[:, ::-1] * 1.1, 0, 255).astype(np.uint8)).save(mirrored)
    wall = tmp_path / "wall.png"
    Image.new("RGB", (300, 300), (120, 110, 100)).save(wall)
    stages: list[tuple[int, int]] = []
    outcomes = dict(
        pipeline.decompose_same_person(
            [photo, wall, mirrored],
            lambda stage, of, done, total, message: stages.append((done, total)),
        )
    )
    assert list(outcomes) == [photo, wall, mirrored]
    assert isinstance(outcomes[wall], NoFaceError)
    first, second = outcomes[photo], outcomes[mirrored]
    assert isinstance(first, Result) and isinstance(second, Result)
    np.testing.assert_array_equal(first.passes["albedo"], second.passes["albedo"])
    np.testing.assert_array_equal(first.neutral_vertices, second.neutral_vertices)
    assert first.fit and second.fit
    assert first.fit.camera.yaw_pitch_roll_deg[0] * second.fit.camera.yaw_pitch_roll_deg[0] < 0
    block = first.report["same_person"]
    assert [row["photo"] for row in block["photos"]] == ["astronaut.png", "mirrored.png"]
    assert abs(sum(row["texture_share"] for row in block["photos"]) - 1) < 0.01
    assert 0 < block["identity_spread_mm"]["mean"] < 3
    assert stages[-1][0] == stages[-1][1] and [d for d, _ in stages] == sorted(d for d, _ in stages)


def test_texture_must_be_square(pipeline: Pipeline, tmp_path: Path) -> None:
    path = tmp_path / "wide.png"
    Image.new("RGB", (200, 100), "white").save(path)
    with pytest.raises(InputError, match="square texture.*got 200 x 100"):
        pipeline.decompose(path, uv_texture=True)


def test_picture_without_a_face_is_refused(pipeline: Pipeline, tmp_path: Path) -> None:
    path = tmp_path / "wall.png"
    Image.new("RGB", (300, 300), (120, 110, 100)).save(path)
    with pytest.raises(NoFaceError):
        pipeline.decompose(path)


def test_missing_weights_and_devices_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError):
        Pipeline(device="cpu", weights_dir=tmp_path)
    if pick_device("auto").type == "cpu":
        with pytest.raises(FacePBRError, match="--device cuda"):
            pick_device("cuda")


def test_hifi3d_head_keeps_its_vertex_order(
    tiny_weights: Path, photo: Path, shared_data: Path
) -> None:
    head = shared_data / "hifi3d" / "head.obj"
    result = Pipeline(device="cpu", weights_dir=tiny_weights, size=SIZE, head=head).decompose(photo)
    assert result.mesh is not None and result.vertices is not None
    assert result.mesh.name == "hifi3d" and result.vertices.shape == (20481, 3)
    nose, chin = result.vertices[7279], result.vertices[6648]
    assert nose[2] > chin[2] and nose[1] > chin[1]


def test_trained_model_takes_side_light_off(embedded_weights: Path, tmp_path: Path) -> None:
    """A smooth face-coloured texture lit from one side comes out more even than it went in."""
    pipeline = Pipeline(device="cpu", weights_dir=embedded_weights, size=512)
    position = pipeline.head.position_map(
        np.zeros(pipeline.head.num_identity), np.zeros(pipeline.head.num_expression), 512
    )
    side = np.clip(position[..., 0] / 0.08, -1, 1)[..., None]
    texture = np.array([0.75, 0.56, 0.46]) * (0.78 + 0.22 * side)
    path = tmp_path / "lit.png"
    Image.fromarray(np.round(texture * 255).astype(np.uint8)).save(path)
    albedo = pipeline.decompose(path, uv_texture=True).passes["albedo"]

    def contrast(image: np.ndarray) -> float:
        luma = srgb_to_linear(image).mean(-1)
        left, right = luma[220:300, 130:200].mean(), luma[220:300, 312:382].mean()
        return abs(float(np.log(left / right)))

    assert contrast(albedo) < 0.7 * contrast(texture.astype(np.float32))
