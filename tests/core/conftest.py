"""A small but true result, made without networks, for the tests of everything that handles results."""

from collections.abc import Callable

import numpy as np
import pytest

from core.head_model import HeadMesh
from core.passes import PASSES
from core.report import make_report
from core.result import Result


@pytest.fixture
def make_result() -> Callable[..., Result]:
    """make_result(name, size=16) -> Result with random maps on a two-triangle head."""

    def make(name: str = "anna", size: int = 16, seed: int = 0) -> Result:
        random = np.random.default_rng(seed)
        uv = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
        faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
        vertices = np.concatenate([uv - 0.5, np.zeros((4, 1), np.float32)], 1) * 0.2
        passes = {
            row.key: random.random((size, size, row.channels)).astype(np.float32) for row in PASSES
        }
        report = make_report(
            name=name,
            photo=f"{name}.jpg",
            device="cpu",
            settings={"size": size},
            seconds={"landmarks": 0.25, "total": 0.5},
            weights={"maginet.safetensors": "0" * 64},
            head="square",
            warnings=["a warning"],
        )
        return Result(
            name=name,
            passes=passes,
            confidence=random.random((size, size)).astype(np.float32),
            report=report,
            mesh=HeadMesh("square", faces, uv, faces.copy(), uv.copy()),
            vertices=vertices,
            neutral_vertices=vertices,
            environment=random.random((8, 16, 3)).astype(np.float32) * 4,
            photo=random.random((32, 24, 3)).astype(np.float32),
        )

    return make
