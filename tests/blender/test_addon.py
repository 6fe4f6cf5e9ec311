"""The add-on in real Blenders: installed from its zip, through its own operators."""

import json
import shutil
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from core.export import write_glb
from core.head_model import HeadModel
from core.passes import CONFIDENCE_KEY, PASS_KEYS, PASSES
from core.result import read_result

DATA_MAPS = {row.key for row in PASSES if not row.is_color} | {CONFIDENCE_KEY, "roughness"}


def test_on_and_off_three_times(blender: Any) -> None:
    found = blender("register")
    assert found["panels"] and found["handlers"] == 1
    assert found["torch"] == []
    assert found["version"] == [0, 1, 0]


def test_a_photo_becomes_a_head_and_survives_save_and_reload(
    blender: Any, photo: Path, tmp_path: Path
) -> None:
    """The blocking job on a path with spaces and non-Latin letters."""
    save = tmp_path / "Мой файл 1.blend"
    scene = blender("decompose", photo=photo, save=save)
    (head,) = scene["heads"]
    assert head["name"] == photo.stem and head["children"]
    assert head["vertices"] > 5000 and 0.08 < head["top_m"] < 0.3 and head["front_m"] < -0.05
    assert scene["camera"] == f"{photo.stem} camera" and scene["render"] == [512, 512]
    assert scene["world"].startswith("FacePBR") and scene["left"] == []
    again = blender("reload", save=save)
    assert again["heads"] == scene["heads"]
    for key in (*PASS_KEYS, CONFIDENCE_KEY, "roughness"):
        image = again["images"][f"{photo.stem} {key}"]
        assert image["data"] == (key in DATA_MAPS), key
        assert image["packed"] and image["mean"] > 0.01, key
    assert again["images"][photo.name]["size"] == [512, 512]


def test_images_beside_the_file(blender: Any, result_folder: Path, tmp_path: Path) -> None:
    save = tmp_path / "with space" / "a.blend"
    save.parent.mkdir()
    scene = blender("apply", folder=result_folder, save=save, storage="BESIDE")
    albedo = scene["images"]["астронавт 1 albedo"]
    assert not albedo["packed"] and albedo["path"].startswith("//facepbr")
    assert (save.parent / "facepbr" / "astronaut" / "passes" / "albedo.png").is_file()
    moved = tmp_path / "moved"
    save.parent.rename(moved)  # relative paths: the project may move
    again = blender("reload", save=moved / save.name)
    assert again["images"]["астронавт 1 albedo"]["mean"] > 0.01


def test_a_photo_stored_turned_is_shown_upright(
    blender: Any, result_folder: Path, photo: Path, tmp_path: Path
) -> None:
    image, tags = Image.open(photo).convert("RGB"), Image.Exif()
    tags[0x0112] = 6
    image.rotate(90, expand=True).save(tmp_path / "turned.jpg", exif=tags, quality=95)
    turned = blender("apply", folder=result_folder, photo=tmp_path / "turned.jpg")["background"]
    share = image.getpixel((int(0.1 * image.width), int(0.1 * image.height)))
    assert turned == pytest.approx([value / 255 for value in share], abs=0.1)


def test_expression_shapes(blender: Any, result_folder: Path, tmp_path: Path) -> None:
    """Keys on the face at rest; with the fit's values they give the head of head.obj."""
    folder = tmp_path / "astronaut"
    shutil.copytree(result_folder, folder)
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    head = HeadModel.load()
    mesh, identity = head.embedded_mesh(), np.array(report["fit"]["identity"])
    rest = head.vertices(mesh, identity, np.zeros(head.num_expression))
    shapes = {
        name: head.vertices(mesh, identity, one) - rest
        for name, one in zip(head.expression_names, np.eye(head.num_expression), strict=True)
    }
    posed = read_result(folder).vertices
    assert posed is not None
    write_glb(folder / "head.glb", mesh, posed, {}, (), shapes)
    found = blender("shapes", folder=folder)
    assert found["keys"] == ["Neutral", *shapes]
    np.testing.assert_allclose(found["posed"], posed, atol=5e-6)
    np.testing.assert_allclose(found["rest"], rest, atol=2e-5)


def test_skin_is_one_group_into_principled(blender: Any, result_folder: Path) -> None:
    found = blender("material", folder=result_folder)
    for key in ("base_color", "roughness", "normal", "specular", "subsurface"):
        assert found["linked"][key], key
    assert found["ior"] == pytest.approx(1.4)
    assert found["method"].startswith("RANDOM_WALK")
    wired = {name for name, linked in found["inputs"].items() if linked}
    assert wired == {
        "Albedo", "Ambient Occlusion", "Normal Map", "Specular", "Translucency", "Roughness"
    }  # fmt: skip
    assert found["defaults"]["AO Factor"] == 0 and found["defaults"]["Normal Strength"] == 1
    assert found["frames"] == sorted(
        f"Pass: {key}" for key in (*PASS_KEYS, "confidence", "roughness")
    )
    assert found["solo"] == {
        "normal": ["EMISSION", "normal"],
        "confidence": ["EMISSION", "confidence"],
        "NONE": ["BSDF_PRINCIPLED", ""],
    }
    assert found["groups"] == ["FacePBR Skin"]  # the second head shares it


def test_relight_keeps_the_users_world(blender: Any, result_folder: Path) -> None:
    found = blender("light", folder=result_folder)
    assert found["names"][1:] == ["FacePBR forest", "FacePBR studio"]
    assert found["last"] == "Mine" and found["worlds"] == 2
    assert found["turned"] == pytest.approx(-1) and found["brighter"] == pytest.approx(2)
    assert found["strengths"]["FOREST"] != pytest.approx(found["strengths"]["STUDIO"], rel=0.01)
    assert "Expected an HDRI; got /nowhere/sky.exr" in found["error"]


def test_export(blender: Any, result_folder: Path, tmp_path: Path) -> None:
    found = blender("export", folder=result_folder, out=tmp_path)
    assert found["maps"] == sorted(f"{key}.png" for key in (*PASS_KEYS, "confidence", "roughness"))
    written = (tmp_path / "maps" / "normal.png").read_bytes()
    assert written == (result_folder / "passes" / "normal.png").read_bytes()
    data = (tmp_path / "head.glb").read_bytes()
    content = json.loads(data[20 : 20 + struct.unpack_from("<I", data, 12)[0]])
    assert len(content["meshes"]) == 3
    skin = next(row for row in content["materials"] if "normalTexture" in row)
    assert "occlusionTexture" in skin and "baseColorTexture" in skin["pbrMetallicRoughness"]
    assert "metallicRoughnessTexture" in skin["pbrMetallicRoughness"]


def test_pictures(blender: Any, result_folder: Path, tmp_path: Path) -> None:
    """The photo's camera finds the cheek; the albedo alone is the map's colour there, whatever the light."""
    report = json.loads((result_folder / "report.json").read_text(encoding="utf-8"))
    points = report["landmarks"]["points_px"]
    share = [(points[31][0] + points[3][0]) / 2 / 512, (points[31][1] + points[3][1]) / 2 / 512]
    seen = blender("render", folder=result_folder, out=tmp_path, size=64, face=share)
    assert min(seen["shaded"]) > 0.02
    albedo = Image.open(result_folder / "passes" / "albedo.png").convert("RGB")
    cheek = albedo.getpixel((int(0.37 * albedo.width), int(0.5 * albedo.height)))
    assert seen["albedo"] == pytest.approx([value / 255 for value in cheek], abs=0.12)


def test_refusals_are_one_clear_line(
    blender: Any, wall: Path, result_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    bare = Path(sys.base_prefix) / "bin" / "python3"
    if not bare.is_file():
        pytest.skip(f"no Python without packages at {bare}")
    errors = blender(
        "refusals",
        wall=wall,
        folder=result_folder,
        empty=tmp_path / "empty",
        bare_python=bare,
    )
    for case, words in {
        "no photo": "Expected a photo; got none",
        "photo gone": "got nothing at /nowhere/a.jpg",
        "no face": "face",
        "broken result": "expected a whole result",
        "not saved": "saved .blend",
        "unwritable": "do choose Pack",
        "runtime gone": "got nothing there",
        "runtime bare": "do check the runtime",
        "check bare": "requirements.lock",
    }.items():
        assert words in errors[case], (case, errors[case])
        assert "Traceback" not in errors[case]


def test_cancel_leaves_nothing(blender: Any, photo: Path) -> None:
    found = blender("cancel", photo=photo)
    assert found["stage"] != "starting" and found["seconds"] < 1
    assert found["alive"] == [False, False] and not found["folder"]
    assert found["current"] == ["None", "None"] and not found["made"]
