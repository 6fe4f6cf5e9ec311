"""The statistical head in the HiFi3D UV layout: mean, identity and expression modes, and any mesh dressed with them.

The statistics live on the vertices of our own mesh, whose edges follow lids and lips, and are read anywhere in UV by
barycentric interpolation; position maps are rasterised from them, so no texel straddles an open mouth.
V: vertices, T: UV points, F: triangles, K: identity modes, E: expression modes, S: map size, N: queries.
Everything in metres, +Y up, +Z out of the face, the subject's right at -x.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from .errors import HeadError
from .uv_raster import UVLocator, UVRaster, rasterize_uv

HEAD_FILE = Path(__file__).parent / "weights" / "head.safetensors"
HIFI3D_COUNTS = (20481, 20792, 40832)
"""Vertices, UVs and triangles of the HiFi3D topology."""


@dataclass(frozen=True)
class HeadMesh:
    """A mesh in the UV layout.

    faces, uv_faces: (F, 3) int32 into vertices and uv; uv: (T, 2);
    position_uv: (V, 2), where each vertex reads the model.
    """

    name: str
    faces: np.ndarray
    uv: np.ndarray
    uv_faces: np.ndarray
    position_uv: np.ndarray

    @property
    def num_vertices(self) -> int:
        """V."""
        return len(self.position_uv)


@dataclass(frozen=True)
class HeadBasis:
    """The linear model at N points: mean (N, 3), identity (K, N, 3), expression (E, N, 3), float32 metres."""

    mean: np.ndarray
    identity: np.ndarray
    expression: np.ndarray

    def points(self, identity: np.ndarray, expression: np.ndarray) -> np.ndarray:
        """Coefficients (K,), (E,) -> points (N, 3)."""
        moved = np.tensordot(identity.astype(np.float32), self.identity, 1)
        return self.mean + moved + np.tensordot(expression.astype(np.float32), self.expression, 1)


def load_head_obj(path: Path) -> HeadMesh:
    """Read an OBJ of HiFi3D topology, vertex order kept. Raises HeadError when the file is not such an OBJ."""
    return read_head_obj(path)[0]


def read_head_obj(path: Path) -> tuple[HeadMesh, np.ndarray]:
    """``load_head_obj`` with the OBJ's own positions (V, 3), in its own unit."""
    path = Path(path)
    vertices: list[list[float]] = []
    uv: list[list[float]] = []
    faces: list[list[int]] = []
    uv_faces: list[list[int]] = []
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        for line in lines:
            parts = line.split()
            if not parts:
                continue
            if parts[0] == "v":
                vertices.append([float(x) for x in parts[1:4]])
            elif parts[0] == "vt":
                uv.append([float(x) for x in parts[1:3]])
            elif parts[0] == "f":
                corners = [corner.split("/") for corner in parts[1:]]
                for k in range(1, len(corners) - 1):
                    triple = (corners[0], corners[k], corners[k + 1])
                    faces.append([int(c[0]) - 1 for c in triple])
                    uv_faces.append([int(c[1]) - 1 for c in triple])
    except (OSError, ValueError, IndexError) as error:
        raise HeadError(
            f"expected a head OBJ with UVs; got {path} ({error}); give a HiFi3D-layout OBJ"
        ) from error
    counts = (len(vertices), len(uv), len(faces))
    if counts != HIFI3D_COUNTS:
        raise HeadError(
            "expected HiFi3D topology with {:,} vertices, {:,} UVs, {:,} triangles; got {:,}, {:,}, {:,} in {}; "
            "give a HiFi3D head or leave --head out".format(*HIFI3D_COUNTS, *counts, path.name)
        )
    face_array = np.asarray(faces, dtype=np.int32)
    uv_face_array = np.asarray(uv_faces, dtype=np.int32)
    uv_array = np.asarray(uv, dtype=np.float32)
    mesh = HeadMesh(
        "hifi3d",
        face_array,
        uv_array,
        uv_face_array,
        _position_uv(face_array, uv_face_array, uv_array),
    )
    return mesh, np.asarray(vertices, dtype=np.float64)


def _position_uv(faces: np.ndarray, uv_faces: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """One UV per vertex (V, 2): the largest index wins last, so the choice is stable for a given file."""
    choice = np.zeros(faces.max() + 1, dtype=np.int64)
    np.maximum.at(choice, faces.ravel(), uv_faces.ravel())
    return uv[choice]


class HeadModel:
    """Mean head with identity modes (unit variance) and expression modes ([0, 1]) on the embedded mesh."""

    def __init__(self, tensors: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
        self.metadata = metadata
        self.expression_names = tuple(metadata["expression_names"].split(","))
        self.mean = tensors["mean"].astype(np.float32)
        self.identity = tensors["identity"].astype(np.float32)
        self.expression = tensors["expression"].astype(np.float32)
        self.eye_centers = tensors["eye_centers"].astype(np.float32)
        self.eye_radius_m = float(tensors["eye_radius"][0])
        self.eye_identity = tensors["eye_identity"].astype(np.float32)
        self.teeth = tensors["teeth"].astype(np.float32)
        self.teeth_gum = tensors["teeth_gum"].astype(np.float32)
        self.teeth_identity = tensors["teeth_identity"].astype(np.float32)
        self.teeth_expression = tensors["teeth_expression"].astype(np.float32)
        self.landmarks68_uv = tensors["landmarks68_uv"].astype(np.float32)
        self.landmarks468_uv = tensors["landmarks468_uv"].astype(np.float32)
        faces, uv_faces, uv = (
            tensors["faces"],
            tensors["uv_faces"],
            tensors["uv"].astype(np.float32),
        )
        self._mesh = HeadMesh("facepbr", faces, uv, uv_faces, _position_uv(faces, uv_faces, uv))
        self._vertex_of_uv = np.zeros(len(uv), dtype=np.int64)
        self._vertex_of_uv[uv_faces.ravel()] = faces.ravel()
        self._locator = UVLocator(uv, uv_faces)
        self._rasters: dict[int, UVRaster] = {}
        self._bases: dict[int, tuple[HeadMesh, HeadBasis]] = {}

    @classmethod
    def load(cls, path: Path | None = None) -> HeadModel:
        """Read a head file (default: the embedded one). Raises HeadError when it is missing or damaged."""
        path = Path(path) if path else HEAD_FILE
        try:
            with safe_open(path, framework="numpy") as file:
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
                metadata = file.metadata() or {}
            return cls(tensors, metadata)
        except (OSError, SafetensorError, KeyError) as error:
            raise HeadError(
                f"expected a head model in safetensors; got {path.name} ({error}); reinstall or rebuild it with "
                "train/build_head.py"
            ) from error

    @property
    def num_identity(self) -> int:
        """K."""
        return len(self.identity)

    @property
    def num_expression(self) -> int:
        """E."""
        return len(self.expression)

    def embedded_mesh(self) -> HeadMesh:
        """The mesh of our own the statistics live on."""
        return self._mesh

    def basis(self, uv: np.ndarray) -> HeadBasis:
        """The model at UV points (N, 2); points just outside the layout snap to its nearest triangle."""
        triangle, weights, _ = self._locator.locate(uv)
        corners = self._mesh.faces[triangle]

        def mix(values: np.ndarray) -> np.ndarray:
            return np.einsum("nk,...nkd->...nd", weights, values[..., corners, :])

        return HeadBasis(mix(self.mean), mix(self.identity), mix(self.expression))

    def mesh_basis(self, mesh: HeadMesh) -> HeadBasis:
        """The model at a mesh's vertices, kept for the next call with the same mesh."""
        if mesh is self._mesh:
            return HeadBasis(self.mean, self.identity, self.expression)
        if id(mesh) not in self._bases:
            self._bases[id(mesh)] = (mesh, self.basis(mesh.position_uv))
        return self._bases[id(mesh)][1]

    def vertices(self, mesh: HeadMesh, identity: np.ndarray, expression: np.ndarray) -> np.ndarray:
        """Vertices (V, 3) of any mesh in the layout for coefficients (K,), (E,)."""
        return self.mesh_basis(mesh).points(identity, expression)

    def raster(self, size: int) -> UVRaster:
        """Texel coverage of the embedded mesh, kept per size."""
        if size not in self._rasters:
            self._rasters[size] = rasterize_uv(self._mesh.uv, self._mesh.uv_faces, size)
        return self._rasters[size]

    def vertex_map(self, values: np.ndarray, size: int, fill: bool = True) -> np.ndarray:
        """Vertex values (V, C) -> map (S, S, C); texels outside the layout take the nearest value when ``fill``."""
        return self.raster(size).interpolate(values[self._vertex_of_uv], self._mesh.uv_faces, fill)

    def position_map(
        self, identity: np.ndarray, expression: np.ndarray, size: int = 512
    ) -> np.ndarray:
        """UV position map (S, S, 3) in metres."""
        return self.vertex_map(self.vertices(self._mesh, identity, expression), size)

    def position_map_torch(
        self, identity: torch.Tensor, expression: torch.Tensor, size: int = 512
    ) -> torch.Tensor:
        """Differentiable twin of ``position_map``: (B, K), (B, E) -> (B, 3, S, S); zero outside the layout."""
        device = identity.device
        modes = torch.as_tensor(np.concatenate([self.identity, self.expression]), device=device)
        coefficients = torch.cat([identity, expression], 1)
        vertices = torch.as_tensor(self.mean, device=device) + torch.einsum(
            "bk,kvd->bvd", coefficients, modes
        )
        raster = self.raster(size)
        inside = torch.as_tensor(raster.mask, device=device)
        corners = torch.as_tensor(
            self._mesh.faces[raster.triangle[raster.mask]].astype(np.int64), device=device
        )
        weights = torch.as_tensor(raster.weights[raster.mask], device=device)
        points = (vertices[:, corners] * weights[None, :, :, None]).sum(2)
        out = torch.zeros(len(vertices), size, size, 3, device=device)
        out[:, inside] = points
        return out.permute(0, 3, 1, 2)

    @cached_property
    def mean_map(self) -> np.ndarray:
        """UV position map of the mean head (512, 512, 3)."""
        return self.position_map(np.zeros(self.num_identity), np.zeros(self.num_expression), 512)

    @cached_property
    def mask(self) -> np.ndarray:
        """(512, 512) bool: texels the layout covers with skin (the main UV island)."""
        return self.skin_mask(512)

    def skin_mask(self, size: int) -> np.ndarray:
        """(S, S) bool: texels of the main UV island (face, scalp, ears, neck), without sockets and mouth cavity."""
        raster = self.raster(size)
        skin = self._skin_triangles
        return raster.mask & skin[np.maximum(raster.triangle, 0)]

    def mouth_mask(self, size: int) -> np.ndarray:
        """(S, S) bool: texels of the mouth cavity's islands."""
        raster = self.raster(size)
        below = self.mean[self._mesh.faces, 1].mean(1) < self.eye_centers[:, 1].mean() - 0.02
        inside = below & ~self._skin_triangles
        return raster.mask & inside[np.maximum(raster.triangle, 0)]

    @cached_property
    def _skin_triangles(self) -> np.ndarray:
        """(F,) bool: triangles of the main island, the one with most triangles."""
        from scipy.sparse import coo_matrix
        from scipy.sparse.csgraph import connected_components

        uv_faces, count = self._mesh.uv_faces, len(self._mesh.uv)
        pairs = np.concatenate([uv_faces[:, [0, 1]], uv_faces[:, [1, 2]]])
        graph = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), (count, count))
        _, label = connected_components(graph, directed=False)
        of_face = label[uv_faces[:, 0]]
        return of_face == np.bincount(of_face).argmax()

    def eyes(self, identity: np.ndarray) -> np.ndarray:
        """Eyeball centres (2, 3) in metres for identity (K,): the subject's right eye (-x) first."""
        return self.eye_centers + np.tensordot(identity.astype(np.float32), self.eye_identity, 1)
