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

from core.camera import blender_camera
from core.export import Part, write_glb
from core.head_model import HeadModel
from core.passes import CONFIDENCE_KEY, PASS_KEYS, PASSES
from core.result import read_result

OTHER_MAPS = (CONFIDENCE_KEY, "occlusion_roughness_metallic")
DATA_MAPS = {row.key for row in PASSES if not row.is_color} | set(OTHER_MAPS)


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
    for key in (*PASS_KEYS, *OTHER_MAPS):
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
    linked = found["linked"]
    for key in ("base_color", "roughness", "normal", "specular", "subsurface"):
        assert linked[key], key
    # the scatter's depth in metres: its own input from 4.0 on, in the radius before
    assert linked["subsurface_scale" if "subsurface_scale" in linked else "subsurface_radius"]
    assert found["ior"] == pytest.approx(1.4)
    assert found["method"].startswith("RANDOM_WALK")
    wired = {name for name, is_linked in found["inputs"].items() if is_linked}
    assert wired == {
        "Albedo", "Raw Diffuse Map", "Ambient Occlusion", "Normal Map", "Specular", "Translucency",
        "Roughness",
    }  # fmt: skip
    assert found["defaults"]["AO Factor"] == 0 and found["defaults"]["Normal Strength"] == 1
    assert found["defaults"]["Scatter Depth"] == pytest.approx(0.004)
    assert found["described"] == []
    assert found["frames"] == sorted(f"Pass: {key}" for key in (*PASS_KEYS, *OTHER_MAPS))
    assert found["solo"] == {
        "NONE": ["BSDF_PRINCIPLED", "", "NONE"],
        "normal": ["EMISSION", "normal", "normal"],
        "confidence": ["EMISSION", "confidence", "confidence"],
    }
    assert found["solo_of_second"] == "NONE"
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
    assert found["maps"] == sorted(f"{key}.png" for key in (*PASS_KEYS, *OTHER_MAPS))
    written = (tmp_path / "maps" / "normal.png").read_bytes()
    assert written == (result_folder / "passes" / "normal.png").read_bytes()
    for name in ("head.glb", "scene.glb"):
        data = (tmp_path / name).read_bytes()
        content = json.loads(data[20 : 20 + struct.unpack_from("<I", data, 12)[0]])
        assert len(content["meshes"]) == found["parts"] + 1, name
        skin = next(row for row in content["materials"] if "normalTexture" in row)
        assert "occlusionTexture" in skin and "baseColorTexture" in skin["pbrMetallicRoughness"]
        assert "metallicRoughnessTexture" in skin["pbrMetallicRoughness"], name


def test_a_mesh_of_the_users_is_dressed(blender: Any, photo: Path, repository: Path) -> None:
    obj = repository.parent / "shared" / "data" / "hifi3d" / "head.obj"
    if not obj.is_file():
        pytest.skip("no head in the HiFi3D topology beside the checkout")
    found = blender("mesh", photo=photo, obj=obj)
    assert "Expected a mesh to dress" in found["missing"]
    assert found["name"] == photo.stem and found["vertices"] == 20481
    assert found["groups"] == ["Nose"]
    assert found["materials"] == [[f"{photo.stem} skin"], ["Mine"]]
    assert found["shape"] == [f"FacePBR {photo.stem}", 1.0]
    assert found["apart_m"] < 1e-5 and found["mine_moved_m"] < 1e-5


def test_teeth_are_a_part_and_heads_stand_side_by_side(
    blender: Any, result_folder: Path, tmp_path: Path
) -> None:
    """Teeth of one colour: a child of the head with a material of its own. In a crowded scene heads stand free."""
    folder = tmp_path / "astronaut"
    shutil.copytree(result_folder, folder)
    head = HeadModel.load()
    mesh, posed = head.embedded_mesh(), read_result(folder).vertices
    assert posed is not None
    square = np.array([[0, 0, 0], [0.02, 0, 0], [0.02, 0.01, 0]])
    faces, uv = np.array([[0, 1, 2]]), np.zeros((3, 2))
    teeth = Part("teeth", square, faces, uv, base_color=(0.8, 0.7, 0.6), roughness=0.2)
    write_glb(folder / "head.glb", mesh, posed, {}, (teeth,))
    scene = blender("apply", folder=folder, crowded=True)
    first, second = scene["heads"]
    # beside the cube, then beside the first
    assert 2 < first["place_m"][0] < second["place_m"][0] < 5
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    center = blender_camera(report["camera"]).matrix_world[0, 3]
    assert scene["camera_m"][0] == pytest.approx(center + second["place_m"][0], abs=1e-5)
    assert first["children"] == [f"{first['name']} teeth"]
    assert scene["counts"]["materials"] == 4


@pytest.mark.parametrize(
    "blender", ["bpy"], indirect=True
)  # half a minute; little of it is Blender
def test_environment_of_the_addon(blender: Any, wheels: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    found = blender("runtime", wheels=wheels, out=tmp_path, empty=tmp_path / "empty")
    assert "do set up an environment" in found["none"]
    if not found["online"]:
        assert "online access is off" in found["offline"]
    assert "Expected wheels" in found["no wheels"]
    assert "Expected a CUDA build of torch; the index has 2.13.0" in found["wrong build"]
    assert not found["left"]
    assert Path(found["interpreter"]).is_relative_to(tmp_path / "my environment")
    assert "torch 2.13.0, cpu, " in found["state"]
    assert "Expected a new or empty folder" in found["again"]
    assert found["removed"] and found["cancelled at"] != "environment"
    assert found["cancel"][:2] == ["Cancelled", False] and found["cancel"][2] < 5
    assert "No environment of FacePBR" in found["not ours"]
    assert "Expected a new or empty folder" in found["not empty"]


def test_words(blender: Any) -> None:
    found = blender("words")
    assert found["bare"] == [] and found["classes"] > 15
    assert found["text"] in ({"on": "Feinrelief"}, {})  # {}: a Blender built without languages


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
        "check bare": "do set up an environment",
    }.items():
        assert words in errors[case], (case, errors[case])
        assert "Traceback" not in errors[case]


def test_cancel_leaves_nothing(blender: Any, photo: Path) -> None:
    found = blender("cancel", photo=photo)
    assert found["stage"] != "starting" and found["returned_s"] < 0.5 and found["gone_s"] < 5
    assert found["alive"] == [False, False] and not found["folder"]
    assert found["current"] == ["None", "None"] and not found["made"]
