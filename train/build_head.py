"""Build core/weights/head.safetensors from the layout head and ICT-FaceKit (both MIT; see NOTICE).

    python train/build_head.py --data ../shared/data          about a minute on two cores

Registers the layout head to the ICT neutral, draws our own mesh in the UV layout, carries the modes over, orders and
whitens them, and locates the 68 and 468 landmarks.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

sys.path.insert(
    0, str(Path(__file__).resolve().parents[1])
)  # run by path: the checkout's root holds core and train

from core.head_model import HEAD_FILE, HeadModel  # noqa: E402
from core.weights import INDEX_NAME  # noqa: E402
from train.head.mesh import Spacing, build_mesh  # noqa: E402
from train.head.register import register, registration_error, transfer  # noqa: E402
from train.head.sources import ICT_EYE_LEFT, ICT_EYE_RIGHT, read_ict, read_layout_head  # noqa: E402
from train.head.teeth import build_teeth  # noqa: E402
from train.map_landmarks import dense_landmark_uv  # noqa: E402


def build(data: Path, num_identity: int) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The tensors and metadata of the head file; see ``HeadModel`` for their meaning."""
    ict, layout = read_ict(data), read_layout_head(data)
    registration = register(layout, ict)
    resampled = build_mesh(layout.mesh, registration.vertices, layout.landmarks, Spacing())
    faces = layout.mesh.faces.astype(np.int64)
    identity = resampled.carry(transfer(registration, faces, ict.identity))
    expression = resampled.carry(transfer(registration, faces, ict.expression))
    mean = resampled.carry(registration.vertices)
    eyes = [ict.neutral[slice(*part)] for part in (ICT_EYE_RIGHT, ICT_EYE_LEFT)]
    eye_identity = np.stack(
        [ict.identity[:, slice(*part)].mean(1) for part in (ICT_EYE_RIGHT, ICT_EYE_LEFT)], axis=1
    )
    teeth = build_teeth(ict)
    rotation = principal_rotation(identity, mean)[:num_identity]
    identity, eye_identity, teeth_identity = (
        np.tensordot(rotation, modes, 1) for modes in (identity, eye_identity, teeth.identity)
    )
    mesh = resampled.mesh
    # ICT eyeballs carry a cornea bulge: centre and radius come from the rear half, a sphere
    spheres = [fit_sphere(points[points[:, 2] < points[:, 2].mean()]) for points in eyes]
    tensors = {
        "faces": mesh.faces,
        "uv_faces": mesh.uv_faces,
        "uv": mesh.uv,
        "mean": mean.astype(np.float32),
        "identity": identity.astype(np.float16),
        "expression": expression.astype(np.float16),
        "eye_centers": np.stack([centre for centre, _ in spheres]).astype(np.float32),
        "eye_radius": np.asarray([np.mean([radius for _, radius in spheres])], dtype=np.float32),
        "eye_identity": eye_identity.astype(np.float32),
        "teeth": teeth.points,
        "teeth_gum": teeth.gum,
        "teeth_identity": teeth_identity.astype(np.float32),
        "teeth_expression": teeth.expression,
        "landmarks68_uv": layout.mesh.position_uv[layout.landmarks].astype(np.float32),
        "landmarks468_uv": np.full((468, 2), np.nan, dtype=np.float32),
    }
    error_mm = {
        name: 1e3 * gap for name, gap in registration_error(registration, layout, ict).items()
    }
    metadata = {
        "format": "facepbr-head-1",
        "expression_names": ",".join(ict.expression_names),
        "sources": "ICT-FaceKit (MIT, USC ICT); UV layout of FFHQ-UV's HiFi3D-topology head (MIT, H. Bai)",
        "registration_mm": "; ".join(
            f"{name}: median {np.median(gap):.3f}, 95 % {np.percentile(gap, 95):.3f}, largest {gap.max():.3f}"
            for name, gap in error_mm.items()
        ),
        "license": "MIT (statistics of MIT sources), see NOTICE",
    }
    # safetensors writes the memory as it lies: arrays must be C-contiguous
    return {key: np.ascontiguousarray(value) for key, value in tensors.items()}, metadata


def principal_rotation(identity: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Rotation (K, K) of unit-variance modes (K, V, 3) to principal axes, most energy in the face first."""
    front = 1.0 / (1.0 + np.exp(-(mean[:, 2] - 0.02) / 0.01)) + 0.1
    weighted = (identity * np.sqrt(front)[None, :, None]).reshape(len(identity), -1)
    _, vectors = np.linalg.eigh(weighted @ weighted.T)
    return vectors[:, ::-1].T.astype(np.float32)


def fit_sphere(points: np.ndarray) -> tuple[np.ndarray, float]:
    """Least-squares sphere through points (N, 3): centre (3,) and radius, metres."""
    system = np.concatenate([2 * points, np.ones((len(points), 1))], axis=1)
    solution = np.linalg.lstsq(system, (points**2).sum(1), rcond=None)[0]
    return solution[:3], float(np.sqrt(solution[3] + (solution[:3] ** 2).sum()))


def enter_in_index(path: Path) -> None:
    """Put the file's SHA-256 into its folder's index where there is one; other entries stay."""
    index = path.parent / INDEX_NAME
    if index.is_file():
        entries = json.loads(index.read_text(encoding="utf-8"))
        entries[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
        index.write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Command line: build, then locate the dense landmarks on renders of the mean head."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with ict_facekit/ and hifi3d/"
    )
    parser.add_argument("--out", type=Path, default=HEAD_FILE)
    parser.add_argument("--identities", type=int, default=60, help="identity modes kept")
    args = parser.parse_args()
    tensors, metadata = build(args.data, args.identities)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    draft = args.out.with_suffix(".draft")
    save_file(tensors, draft, metadata)
    model = HeadModel.load(draft)
    tensors["landmarks468_uv"] = dense_landmark_uv(model).astype(np.float32)
    save_file(tensors, draft, metadata)
    draft.replace(args.out)
    enter_in_index(args.out)
    vertices, megabytes = model.embedded_mesh().num_vertices, args.out.stat().st_size / 1e6
    print(
        f"{args.out}: {vertices} vertices, {megabytes:.1f} MB; registration mm: {metadata['registration_mm']}"
    )


if __name__ == "__main__":
    main()
