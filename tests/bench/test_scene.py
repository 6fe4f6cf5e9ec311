"""Blender's side, by small Cycles renders: where light comes from, how much, cameras, materials."""

import numpy as np
import pytest

pytest.importorskip("bpy", reason="bpy is not installed")

import bpy
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Vector

from bench import scene
from bench.scene import head as heads
from core import environment, shading
from core.environment import head_to_blender
from core.exposure import BLENDER_HDRIS, face_exposure
from core.images import write_exr
from core.passes import PASS_BY_KEY
from core.principled import socket


def unit(values):
    values = np.asarray(values, np.float64)
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def matt_ball(albedo):
    bpy.ops.mesh.primitive_uv_sphere_add(segments=96, ring_count=48, radius=0.1)
    ball = bpy.context.object
    bpy.ops.object.shade_smooth()
    ball.data.materials.append(scene.matt_material(albedo))
    return ball


def look_along(direction, distance=5.0):
    """A nearly orthographic camera that sees the ball at the origin from head-space ``direction``."""
    thing = heads._new_camera("look")
    position = Vector(head_to_blender(np.asarray(direction, float))) * distance
    thing.location, thing.rotation_euler = position, (-position).to_track_quat("-Z", "Y").to_euler()
    thing.data.type, thing.data.ortho_scale = "ORTHO", 0.2
    return thing


def center_of(image):
    h, w = image.shape[:2]
    return image[h // 2 - 1 : h // 2 + 1, w // 2 - 1 : w // 2 + 1].mean((0, 1))


DIRECTIONS = [(0, 0, 1), (1, 0, 0), (-1, 0, 0.2), (0.5, 0.6, 0.6), (0.3, -0.7, 0.5), (0, 0.2, -1)]


def test_world_lights_a_head_as_its_coefficients_say(tmp_path):
    """environment_from_sh -> EXR -> Blender's World -> Cycles equals shade_diffuse, all round."""
    cosine = np.clip(environment.equirect_directions(64) @ unit((0.5, 0.6, 0.6)), 0, 1)
    sun = 0.3 + 1.5 * cosine[..., None] ** 4 * np.array([1.0, 0.7, 0.4])
    light = environment.sh_from_environment(sun)
    write_exr(tmp_path / "environment.exr", environment.environment_from_sh(light))
    albedo = np.array([0.6, 0.4, 0.3])
    scene.reset()
    matt_ball(tuple(albedo))
    assert scene.set_world(tmp_path / "environment.exr", strength=1.0) == 1.0
    scene.setup_cycles(8, 512, denoise=False)
    for direction in DIRECTIONS:
        look_along(unit(direction))
        seen = center_of(scene.render_linear(tmp_path / "ball.exr"))
        expected = shading.shade_diffuse(albedo[None], unit([direction]), np.ones(1), light)[0]
        np.testing.assert_allclose(seen, expected, rtol=0.06, err_msg=str(direction))


def test_equirect_convention_is_blenders(tmp_path):
    """A camera at the origin sees, in every direction, the texel that equirect_uv names."""
    height, width = 32, 64
    u, v = np.meshgrid((np.arange(width) + 0.5) / width, 1 - (np.arange(height) + 0.5) / height)
    scene.reset()
    scene.set_world(np.stack([u, v, 0 * u], -1), strength=1.0, soft_background=False)
    scene.setup_cycles(4, 4, denoise=False)
    for direction in unit([(0, 0, 1), (1, 0.1, 0.5), (0.4, 0.8, 0.3), (-0.5, -0.6, 0.4)]):
        camera = look_along(direction, distance=1e-3)  # behind the origin, looking back along it
        camera.data.type, camera.data.angle = "PERSP", 0.01
        seen = center_of(scene.render_linear(tmp_path / "sky.exr"))
        np.testing.assert_allclose(seen[:2], environment.equirect_uv(-direction), atol=0.02)


def test_rotation_turns_the_world_and_exposure_follows(tmp_path):
    image = np.full((32, 64, 3), 0.05)
    image[8:24, 44:52] = 20.0  # a window in front of the face (u = 0.75)
    assert face_exposure(image) < face_exposure(image, 180) / 3
    scene.reset()
    matt_ball((1, 1, 1))
    strength = scene.set_world(image, rotation_deg=90)  # now at the head's left
    assert strength == pytest.approx(face_exposure(image, 90))
    scene.setup_cycles(8, 128, denoise=False)
    brightness = {}
    for direction in [(0, 0, 1), (1, 0, 0), (-1, 0, 0)]:
        look_along(direction)
        brightness[direction] = center_of(scene.render_linear(tmp_path / "ball.exr")).mean()
    assert brightness[1, 0, 0] > 3 * brightness[0, 0, 1]
    assert brightness[1, 0, 0] > 10 * brightness[-1, 0, 0]


def test_output_is_plain_srgb(tmp_path):
    """Linear 0.2140 is 0.5 in sRGB: no AgX, no Filmic, no exposure between albedo and picture."""
    scene.reset()
    scene.set_world(np.full((4, 8, 3), 0.2140), strength=1.0)
    look_along((0, 0, 1))
    scene.setup_cycles((6, 10), 1, denoise=False)
    picture = scene.render(tmp_path / "grey.png")
    assert picture.shape == (6, 10, 3)
    np.testing.assert_allclose(picture, 0.5, atol=2 / 255)


def test_photo_camera_projects_like_the_fit():
    """OpenCV pixels of points equal Blender's camera view of the same points."""
    yaw = np.radians(20)
    yaw_matrix = np.array(
        [[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]]
    )
    rotation = np.diag([1.0, -1.0, -1.0]) @ yaw_matrix
    for width, height in [(640, 480), (300, 500)]:
        report = {
            "width_px": width, "height_px": height, "focal_px": 900.0, "center_px": [290.0, 260.0],
            "rotation_head_to_camera": rotation.tolist(), "translation_m": [0.03, -0.02, 0.8],
        }  # fmt: skip
        points = np.array([[0, 0, 0.1], [0.05, 0.08, 0.0], [-0.07, -0.05, 0.03]])
        inside = points @ rotation.T + report["translation_m"]
        expected = 900.0 * inside[:, :2] / inside[:, 2:] + report["center_px"]
        world = scene.reset()
        camera = scene.photo_camera(report)
        scene.setup_cycles((height, width), 1)
        bpy.context.view_layer.update()
        views = [world_to_camera_view(world, camera, Vector(p)) for p in head_to_blender(points)]
        seen = np.array([[view.x * width, (1 - view.y) * height] for view in views])
        np.testing.assert_allclose(seen, expected, atol=0.05)


def square():
    corners = np.array([[-0.1, -0.1, 0], [0.1, -0.1, 0], [0.1, 0.1, 0], [-0.1, 0.1, 0]])
    uv = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float)
    return scene.add_mesh("square", corners, np.array([[0, 1, 2], [0, 2, 3]]), uv)


def test_skin_material_is_wired_by_name_and_data_maps_are_data():
    scene.reset()
    maps = {key: np.full((4, 4, 3), 0.5, np.float32) for key in PASS_BY_KEY}
    material = scene.skin_material(maps)
    nodes = material.node_tree.nodes
    shader = next(node for node in nodes if node.type == "BSDF_PRINCIPLED")
    for key in ("base_color", "normal", "specular", "subsurface", "roughness"):
        assert socket(shader, key).is_linked, key
    assert socket(shader, "ior").default_value == pytest.approx(1.4)
    assert socket(shader, "subsurface_scale").default_value == pytest.approx(0.004)
    assert shader.subsurface_method == "RANDOM_WALK_SKIN"
    for node in nodes:
        if node.type == "TEX_IMAGE":
            assert node.image.colorspace_settings.is_data == (node.label != "albedo"), node.label
    assert not any(node.label in ("ambient_occlusion", "raw_diffuse") for node in nodes)
    assert any(n.label == "ambient_occlusion" for n in scene.skin_material(
        maps, scene.SkinOptions(occlusion=0.5)).node_tree.nodes)  # fmt: skip


def test_albedo_comes_out_as_albedo_and_the_right_way_up(tmp_path):
    """In constant light of radiance 1 a matt square shows its albedo map, top row at the top."""
    scene.reset()
    albedo = np.zeros((64, 64, 3), np.float32) + (0.6, 0.4, 0.3)
    albedo[:32] = (0.2, 0.5, 0.7)
    options = scene.SkinOptions(specular=0.0, subsurface=0.0)
    thing = square()
    thing.data.materials.append(
        scene.skin_material({"albedo": albedo, "specular": np.zeros((4, 4))}, options)
    )
    scene.set_world(np.ones((4, 8, 3)), strength=1.0)
    look_along((0, 0, 1))
    scene.setup_cycles(16, 64, denoise=False)
    picture = scene.render(tmp_path / "square.png")
    np.testing.assert_allclose(picture[2:6, 2:-2].mean((0, 1)), (0.2, 0.5, 0.7), atol=0.02)
    np.testing.assert_allclose(picture[-6:-2, 2:-2].mean((0, 1)), (0.6, 0.4, 0.3), atol=0.02)


def test_normal_map_green_is_up(tmp_path):
    """OpenGL normals: a texel leaning up (+Y) is brighter under light from above."""
    scene.reset()
    normal = np.zeros((8, 8, 3), np.float32) + (0.5, 0.5 + 0.35, 0.85)
    flat = np.zeros((8, 8, 3), np.float32) + (0.5, 0.5, 1.0)
    sky = np.zeros((16, 32, 3))
    sky[:6] = 3.0
    scene.set_world(sky, strength=1.0)
    look_along((0, 0, 1))
    scene.setup_cycles(8, 64, denoise=False)
    thing = square()
    thing.data.materials.append(None)
    shown = []
    for bent in (normal, flat):
        options = scene.SkinOptions(specular=0.0)
        maps = {"albedo": np.full((4, 4, 3), 0.7), "normal": bent, "specular": np.zeros((4, 4))}
        thing.data.materials[0] = scene.skin_material(maps, options)
        shown.append(scene.render_linear(tmp_path / "square.exr").mean())
    assert shown[0] > 1.3 * shown[1]


def test_hdris_are_there_and_unknown_ones_are_named():
    for name in BLENDER_HDRIS:
        assert scene.hdri_path(name).is_file()
    with pytest.raises(ValueError, match="forest"):
        scene.hdri_path("beach")
