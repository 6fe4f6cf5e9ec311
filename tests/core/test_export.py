"""OBJ and GLB are read back with other people's readers: trimesh and Blender's glTF importer."""

import json
import struct

import numpy as np
import pytest
import trimesh

from core.errors import OutputError
from core.export import Part, vertex_normals, vertex_tangents, write_glb, write_obj
from core.head_model import HeadMesh, read_head_obj


def ball(rings=8, segments=12, radius=0.1, center=(0.0, 0.0, 0.0)):
    """A UV sphere with a seam: vertices shared around it, UVs not. Returns HeadMesh, vertices."""
    theta = np.pi * np.arange(1, rings) / rings
    phi = 2 * np.pi * np.arange(segments) / segments
    ring = np.stack(
        [np.sin(theta)[:, None] * np.sin(phi), np.repeat(np.cos(theta)[:, None], segments, 1),
         np.sin(theta)[:, None] * np.cos(phi)], -1
    )  # fmt: skip
    points = np.concatenate([ring.reshape(-1, 3), [[0, 1, 0], [0, -1, 0]]]) * radius + center
    u, v = np.meshgrid(np.arange(segments + 1) / segments, 1 - theta / np.pi)
    uv = np.concatenate([np.stack([u, v], -1).reshape(-1, 2), [[0.5, 1], [0.5, 0]]])
    faces, uv_faces = [], []
    top, bottom, stride = len(points) - 2, len(points) - 1, segments + 1
    for s in range(segments):
        n = (s + 1) % segments
        faces.append((top, s, n))
        uv_faces.append((len(uv) - 2, s, s + 1))
        last, last_uv = (rings - 2) * segments, (rings - 2) * stride
        faces.append((bottom, last + n, last + s))
        uv_faces.append((len(uv) - 1, last_uv + s + 1, last_uv + s))
        for r in range(rings - 2):
            a, b, c, d = (
                r * segments + s,
                (r + 1) * segments + s,
                (r + 1) * segments + n,
                r * segments + n,
            )
            faces += [(a, b, c), (a, c, d)]
            e, f = r * stride + s, (r + 1) * stride + s
            uv_faces += [(e, f, f + 1), (e, f + 1, e + 1)]
    arrays = np.array(faces, np.int32), uv.astype(np.float32), np.array(uv_faces, np.int32)
    return HeadMesh("ball", *arrays, np.zeros((len(points), 2), np.float32)), points


def maps(size=16):
    rng = np.random.default_rng(0)
    normal = np.zeros((size, size, 3)) + (0.5, 0.5, 1.0)
    return {
        "albedo": rng.uniform(0.2, 0.9, (size, size, 3)), "normal": normal,
        "ambient_occlusion": rng.uniform(size=(size, size, 1)),
        "specular": rng.uniform(size=(size, size)), "translucency": np.zeros((size, size, 1)),
    }  # fmt: skip


def eyes():
    mesh, points = ball(radius=0.012, center=(0.03, 0.02, 0.08))
    iris = np.full((8, 8, 3), 0.4)
    left = Part("eye_left", points, mesh.faces, mesh.uv, mesh.uv_faces, iris)
    right = Part(
        "eye_right", points * (-1, 1, 1), mesh.faces[:, ::-1], mesh.uv, mesh.uv_faces[:, ::-1]
    )
    return [right, left]


def glb_json(path):
    data = path.read_bytes()
    magic, version, total = struct.unpack_from("<4sII", data)
    assert (magic, version, total) == (b"glTF", 2, len(data))
    length, kind = struct.unpack_from("<I4s", data, 12)
    assert kind == b"JSON" and length % 4 == 0
    binary_length, kind = struct.unpack_from("<I4s", data, 20 + length)
    assert kind == b"BIN\0" and binary_length % 4 == 0
    return json.loads(data[20 : 20 + length]), data[28 + length : 28 + length + binary_length]


def test_normals_of_a_ball_point_outwards():
    mesh, points = ball(24, 36)
    normals = vertex_normals(points, mesh.faces)
    cosine = (normals * points).sum(1) / np.linalg.norm(points, axis=1)
    assert cosine.min() > 0.995


def test_tangents_follow_u_and_v_up():
    corners = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0.0]])
    faces, front = np.array([[0, 1, 2], [0, 2, 3]]), np.tile([[0.0, 0.0, 1.0]], (4, 1))
    uv = corners[:, :2]
    np.testing.assert_allclose(vertex_tangents(corners, front, uv, faces), [[1, 0, 0, 1]] * 4)
    turned = np.stack([uv[:, 1], -uv[:, 0]], 1)  # u along +y, v along -x
    np.testing.assert_allclose(vertex_tangents(corners, front, turned, faces), [[0, 1, 0, 1]] * 4)
    mirrored = uv * (-1, 1)
    np.testing.assert_allclose(
        vertex_tangents(corners, front, mirrored, faces), [[-1, 0, 0, -1]] * 4
    )
    collapsed = vertex_tangents(corners, front, uv * 0, faces)
    np.testing.assert_allclose(np.linalg.norm(collapsed[:, :3], axis=1), 1)


def test_obj_keeps_order_uvs_and_positions(tmp_path):
    mesh, points = ball()
    path = tmp_path / "head.obj"
    write_obj(path, mesh, points, vertex_normals(points, mesh.faces))
    rows = [line.split() for line in path.read_text().splitlines()]
    np.testing.assert_allclose(
        [list(map(float, r[1:])) for r in rows if r[0] == "v"], points, atol=1e-6
    )
    np.testing.assert_allclose(
        [list(map(float, r[1:])) for r in rows if r[0] == "vt"], mesh.uv, atol=1e-5
    )
    corners = np.array([[c.split("/") for c in r[1:]] for r in rows if r[0] == "f"], int) - 1
    np.testing.assert_array_equal(corners[..., 0], mesh.faces)
    np.testing.assert_array_equal(corners[..., 1], mesh.uv_faces)
    np.testing.assert_array_equal(corners[..., 2], mesh.faces)
    assert len(trimesh.load(path).faces) == len(mesh.faces)


def test_obj_of_the_hifi3d_head_reads_back_as_hifi3d(tmp_path, shared_data):
    mesh, vertices = read_head_obj(shared_data / "hifi3d" / "head.obj")
    write_obj(tmp_path / "head.obj", mesh, vertices * 0.1, texture="passes/albedo.png")
    again, moved = read_head_obj(tmp_path / "head.obj")
    np.testing.assert_array_equal(again.faces, mesh.faces)
    np.testing.assert_array_equal(again.uv_faces, mesh.uv_faces)
    np.testing.assert_allclose(moved, vertices * 0.1, atol=1e-6)
    assert "map_Kd passes/albedo.png" in (tmp_path / "head.mtl").read_text()


def test_glb_is_valid_where_the_specification_can_be_checked(tmp_path):
    mesh, points = ball()
    shapes = {
        "smile": points * 0.1,
        "still": points * 0,
        "nod": np.where(points[:, :1] > 0, 0.01, 0.0) * [[0, 1, 0]],
    }
    path = tmp_path / "head.glb"
    write_glb(path, mesh, points, maps(), eyes(), shapes)
    gltf, binary = glb_json(path)
    assert gltf["buffers"] == [{"byteLength": len(binary)}]
    for view in gltf["bufferViews"]:
        assert view["byteOffset"] % 4 == 0 and view["byteOffset"] + view["byteLength"] <= len(
            binary
        )
    for entry in gltf["meshes"]:
        primitive = entry["primitives"][0]
        position = gltf["accessors"][primitive["attributes"]["POSITION"]]
        counts = {gltf["accessors"][i]["count"] for i in primitive["attributes"].values()}
        assert counts == {position["count"]}
        view = gltf["bufferViews"][position["bufferView"]]
        values = np.frombuffer(binary, "<f4", position["count"] * 3, view["byteOffset"]).reshape(
            -1, 3
        )
        assert (
            position["min"] == values.min(0).tolist() and position["max"] == values.max(0).tolist()
        )
        indices = gltf["accessors"][primitive["indices"]]
        view = gltf["bufferViews"][indices["bufferView"]]
        numbers = np.frombuffer(binary, "<u2", indices["count"], view["byteOffset"])
        assert numbers.max() == position["count"] - 1
    for image in gltf["images"]:
        start = gltf["bufferViews"][image["bufferView"]]["byteOffset"]
        assert binary[start : start + 8] == b"\x89PNG\r\n\x1a\n"
    head = next(entry for entry in gltf["meshes"] if entry["name"] == "head")
    assert head["extras"]["targetNames"] == ["smile", "still", "nod"] and head["weights"] == [
        0,
        0,
        0,
    ]
    smile, still, nod = (gltf["accessors"][t["POSITION"]] for t in head["primitives"][0]["targets"])
    assert "sparse" not in still and 0 < nod["sparse"]["count"] < nod["count"] == smile["count"]
    skin = gltf["materials"][0]
    assert skin["extensions"]["KHR_materials_ior"]["ior"] == pytest.approx(1.4)
    assert set(gltf["extensionsUsed"]) == {"KHR_materials_ior", "KHR_materials_specular"}


def test_parts_keep_their_shapes_at_their_weights(tmp_path):
    mesh, points = ball()
    drop = points * 0 + (0, -0.01, 0)
    teeth = Part("teeth_lower", points, mesh.faces, mesh.uv, mesh.uv_faces,
                 shapes={"jawOpen": drop}, weights={"jawOpen": 0.4})  # fmt: skip
    write_glb(tmp_path / "head.glb", mesh, points, maps(), [teeth], {"jawOpen": drop})
    gltf, _ = glb_json(tmp_path / "head.glb")
    head, row = gltf["meshes"]
    assert head["weights"] == [0.0], "the head is posed already"
    assert row["weights"] == [0.4] and row["extras"]["targetNames"] == ["jawOpen"]
    moved = gltf["accessors"][row["primitives"][0]["targets"][0]["POSITION"]]
    assert moved["min"] == pytest.approx([0, -0.01, 0], abs=1e-6)


def test_glb_reads_back_with_trimesh(tmp_path):
    mesh, points = ball()
    path = tmp_path / "head.glb"
    write_glb(path, mesh, points, maps(), eyes())
    scene = trimesh.load(path)
    assert set(scene.geometry) == {"head", "eye_left", "eye_right"}
    head = scene.geometry["head"]
    split = len(np.unique(np.stack([mesh.faces, mesh.uv_faces], -1).reshape(-1, 2), axis=0))
    assert len(head.faces) == len(mesh.faces) and len(head.vertices) == split
    np.testing.assert_allclose(head.bounds, [points.min(0), points.max(0)], atol=1e-6)
    assert head.visual.material.baseColorTexture.size == (16, 16)
    loaded = np.asarray(head.visual.material.baseColorTexture.convert("RGB")) / 255
    np.testing.assert_allclose(loaded, maps()["albedo"], atol=0.5 / 255 + 1e-6)


def test_glb_in_blender_has_its_maps_wired_and_eyes(tmp_path):
    bpy = pytest.importorskip("bpy", reason="bpy is not installed")
    mesh, points = ball()
    path = tmp_path / "head.glb"
    write_glb(path, mesh, points, maps(), eyes(), {"smile": points * 0.1})
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.import_scene.gltf(filepath=str(path))
    head = bpy.data.objects["head"]
    assert {"eye_left", "eye_right"} <= set(bpy.data.objects.keys())
    assert len(head.data.polygons) == len(mesh.faces)
    assert [key.name for key in head.data.shape_keys.key_blocks] == ["Basis", "smile"]
    front = max(head.data.vertices, key=lambda vertex: -vertex.co.y)  # +Z out of the face -> -Y
    assert front.co.y == pytest.approx(-0.1, abs=1e-5)
    nodes = head.data.materials[0].node_tree.nodes
    shader = next(node for node in nodes if node.type == "BSDF_PRINCIPLED")

    def source(socket):
        """The image an input gets through normal map, maths and separate nodes."""
        node = shader.inputs[socket].links[0].from_node
        while node.type != "TEX_IMAGE":
            node = next(i for i in node.inputs if i.is_linked).links[0].from_node
        return node.image

    assert source("Base Color").colorspace_settings.name == "sRGB"
    assert shader.inputs["Normal"].links[0].from_node.type == "NORMAL_MAP"
    for socket in ("Normal", "Roughness"):
        assert source(socket).colorspace_settings.is_data, socket
    specular = source("Specular IOR Level")  # read from alpha, which no colour space touches
    assert specular.name == "specular" and specular.alpha_mode == "CHANNEL_PACKED"
    assert shader.inputs["IOR"].default_value == pytest.approx(1.4)
    assert list(shader.inputs["Specular Tint"].default_value)[:3] == [2, 2, 2]
    assert any(node.type == "GROUP" and "Occlusion" in node.inputs for node in nodes)


def test_missing_maps_and_wrong_shapes(tmp_path):
    mesh, points = ball()
    write_glb(tmp_path / "bare.glb", mesh, points, {})
    assert trimesh.load(tmp_path / "bare.glb").geometry
    with pytest.raises(ValueError, match="expected vertices"):
        write_glb(tmp_path / "x.glb", mesh, points[:-1], {})
    with pytest.raises(OutputError, match="expected to write"):
        write_obj(tmp_path / "missing" / "x.obj", mesh, points)
