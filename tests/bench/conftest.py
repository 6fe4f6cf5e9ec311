"""A result folder with a box for a head: what bench's scripts read, made without networks."""

import json

import numpy as np
import pytest

from core.export import Part, write_glb
from core.head_model import HeadMesh
from core.images import write_exr, write_map


def box():
    """A closed box of a head's size, its front on the UV square."""
    x, y, z = np.meshgrid([-0.08, 0.08], [-0.12, 0.12], [-0.08, 0.08], indexing="ij")
    points = np.stack([x, y, z], -1).reshape(-1, 3)
    quads = [(1, 5, 7, 3), (4, 0, 2, 6), (5, 4, 6, 7), (0, 1, 3, 2), (3, 7, 6, 2), (0, 4, 5, 1)]
    faces = np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))], np.int32)
    uv = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    uv_faces = np.array([(0, 1, 2), (0, 2, 3)] * 6, np.int32)
    return HeadMesh("box", faces, uv, uv_faces, np.zeros((8, 2), np.float32)), points


@pytest.fixture(scope="session")
def result(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results") / "some one"
    (folder / "passes").mkdir(parents=True)
    mesh, points = box()
    maps = {
        "albedo": np.full((16, 16, 3), (0.7, 0.3, 0.3)), "normal": np.full((16, 16, 3), (0.5, 0.5, 1)),
        "specular": np.full((16, 16, 1), 0.5), "translucency": np.full((16, 16, 1), 0.3),
        "ambient_occlusion": np.ones((16, 16, 1)), "raw_diffuse": np.full((16, 16, 3), 0.5),
    }  # fmt: skip
    for key, values in maps.items():
        write_map(folder / "passes" / f"{key}.png", values)
    eye = Part("eye_left", points * 0.1 + (0.03, 0.04, 0.08), mesh.faces, mesh.uv, mesh.uv_faces)
    write_glb(folder / "head.glb", mesh, points, maps, [eye])
    dim = np.full((16, 32, 3), 0.2)
    dim[4:8, 20:28, 2] = 30.0  # a blue lamp before the face
    write_exr(folder / "environment.exr", dim)
    points_px = [[60.0, 50.0], [100.0, 50.0], [80.0, 100.0]]
    (folder / "report.json").write_text(json.dumps({"landmarks": {"points_px": points_px}}))
    return folder
