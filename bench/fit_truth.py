"""How well the head fit finds heads of known shape, in photographs path-traced from them.

    python bench/fit_truth.py --data ../shared/data --out DIR --heads 8

People are drawn from ICT-FaceKit (bench/truth_heads.py), wear an FFHQ-UV texture in four tones, and are rendered in
Cycles under Blender's own eight HDRIs at yaw 0, 20 and 40 degrees, 384 px, denoised, without subsurface. Detector and
fit see the picture only. Per yaw: mean distance of the face to the truth after rigid and scale alignment beside that
of the mean head (posed, and the neutral head); texture registration in texels at 1024, over the face that both see;
precision and recall of visibility. ``together``: the identity of the three views fitted as one person's. Renders and
their truth are kept in ``DIR/renders`` and not made again. Prints the path of ``result.json`` last.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

# Run by path: the checkout's root holds core and bench.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np  # noqa: E402

from bench.record import provenance, write_record  # noqa: E402
from bench.truth_heads import (  # noqa: E402
    Subject,
    aligned_error_m,
    draw_camera,
    draw_subject,
    toned,
)
from core.camera import Camera  # noqa: E402
from core.errors import FacePBRError  # noqa: E402
from core.head_fit import HeadFit, fit_alone  # noqa: E402
from core.head_model import HEAD_FILE, HeadModel  # noqa: E402
from core.images import read_map, read_photo, resize_area  # noqa: E402
from core.joint_fit import fit_same_person  # noqa: E402
from core.landmarks import detect  # noqa: E402
from core.skin_segment import face_polygon  # noqa: E402
from core.unwrap import Geometry, registration_warp  # noqa: E402

YAWS_DEG = (0.0, 20.0, 40.0)
_GRID = 128
"""Side of the position maps in which shapes are compared."""
_TEXELS = 512
"""Side of the maps on which registration and visibility are compared; texels are stated at 1024."""


@dataclass(frozen=True)
class Picture:
    """One rendered photograph and its truth, kept as ``path`` (PNG) and an .npz of the same name."""

    path: Path
    yaw_deg: float
    posed: np.ndarray
    """(G, G, 3) position map of the head as photographed, metres."""
    neutral: np.ndarray
    """(G, G, 3) the same without expression."""
    pixels: np.ndarray
    """(T, T, 2) where each texel lies in the picture."""
    visibility: np.ndarray
    """(T, T) [0, 1]."""

    @classmethod
    def read(cls, path: Path, yaw_deg: float) -> Picture:
        with np.load(path.with_suffix(".npz")) as kept:
            maps = {key: kept[key].astype(np.float32) for key in kept.files}
        return cls(path, yaw_deg, **maps)


def parse(arguments: list[str]) -> argparse.Namespace:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="fit_truth.py", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with ict_facekit, hifi3d")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--heads", type=int, default=20)
    parser.add_argument("--size", type=int, default=384, help="pixels a side")
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def pictures_of(options: argparse.Namespace, head: HeadModel, index: int) -> list[Picture]:
    """The views of one person; rendered where they are not there yet."""
    subject = draw_subject(head, options.data, index, options.seed)
    wanted, cameras = [], []
    for view, yaw_deg in enumerate(YAWS_DEG):
        name = f"s{options.seed}_h{index:02d}_y{yaw_deg:02.0f}_{options.size}_{options.samples}.png"
        wanted.append((options.out / "renders" / name, yaw_deg))
        key = 10 * index + view
        cameras.append(draw_camera(head, yaw_deg, key, options.size, options.seed))
    missing = [
        (path, camera)
        for (path, _), camera in zip(wanted, cameras, strict=True)
        if not (path.is_file() and path.with_suffix(".npz").is_file())
    ]
    if missing:
        _render(options, head, index, subject, missing)
    return [Picture.read(path, yaw_deg) for path, yaw_deg in wanted]


def keep_truth(path: Path, subject: Subject, camera: Camera, head: HeadModel) -> None:
    """Write the truth of a picture beside it, free of the mesh it was made with."""
    geometry = Geometry.of(subject.posed, camera, head, _TEXELS)
    np.savez_compressed(
        path.with_suffix(".npz"),
        posed=head.vertex_map(subject.posed, _GRID),
        neutral=head.vertex_map(subject.neutral, _GRID),
        pixels=geometry.pixels,
        visibility=geometry.visibility.astype(np.float16),
    )


def _render(
    options: argparse.Namespace,
    head: HeadModel,
    index: int,
    subject: Subject,
    missing: list[tuple[Path, Camera]],
) -> None:
    """Path-trace one person's missing views, each under its own environment."""
    from bench import scene
    from core.export import write_glb
    from core.exposure import BLENDER_HDRIS
    from core.eyes import build_eyes
    from core.report import camera_report

    textures = sorted((options.data / "uv_textures_test_only").glob("ffhq_uv_*.png"))
    texture = resize_area(read_map(textures[index % len(textures)]), (1024, 1024))
    one = np.ones((64, 64, 1), np.float32)
    maps = {
        "albedo": toned(texture, subject.tone),
        "normal": one * np.array([0.5, 0.5, 1.0], np.float32),
        "ambient_occlusion": one,
        "specular": one * 0.5,
    }
    identity = _nearest_identity(head, subject.neutral)
    options.out.joinpath("renders").mkdir(parents=True, exist_ok=True)
    file = options.out / "renders" / "head.glb"
    eyes = build_eyes(head, None, None, identity)
    write_glb(file, head.embedded_mesh(), subject.posed, maps, eyes)
    rng = np.random.default_rng([options.seed, index, 2])
    for path, camera in missing:
        scene.reset()
        loaded = scene.load_result(file.parent)
        loaded.object.data.materials[0] = scene.skin_material(maps)
        scene.photo_camera(camera_report(camera))
        scene.setup_cycles(options.size, options.samples, seed=options.seed)
        light = BLENDER_HDRIS[int(rng.integers(len(BLENDER_HDRIS)))]
        scene.set_world(scene.hdri_path(light), float(rng.uniform(0, 360)))
        partial = path.with_suffix(".part.png")
        scene.render(partial)
        keep_truth(path, subject, camera, head)
        partial.replace(path)


def _nearest_identity(head: HeadModel, neutral: np.ndarray) -> np.ndarray:
    """(K,) modes nearest to neutral vertices (V, 3): only the eyeballs are placed by it."""
    modes = head.identity.reshape(head.num_identity, -1).astype(np.float64)
    hessian = modes @ modes.T + 1e-6 * np.eye(len(modes))
    return np.linalg.solve(hessian, modes @ (neutral - head.mean).ravel()).astype(np.float32)


def shape_errors(head: HeadModel, fit: HeadFit, picture: Picture) -> dict[str, float]:
    """Mean distances in mm over the face: posed and neutral fit, and the mean head, to the truth."""
    face = (face_polygon(head, _GRID) > 0.5) & head.skin_mask(_GRID)
    still = np.zeros_like(fit.expression)
    rows = {
        "posed_mm": (head.position_map(fit.identity, fit.expression, _GRID), picture.posed),
        "neutral_mm": (head.position_map(fit.identity, still, _GRID), picture.neutral),
        "mean_head_mm": (head.vertex_map(head.mean, _GRID), picture.posed),
    }
    return {
        key: float(aligned_error_m(guess[face], truth[face]).mean() * 1000)
        for key, (guess, truth) in rows.items()
    }


def registration(head: HeadModel, fit: HeadFit, picture: Picture) -> dict[str, float]:
    """Texture registration in texels at 1024 and visibility against the truth's z-buffer, on the face."""
    vertices = head.vertices(head.embedded_mesh(), fit.identity, fit.expression)
    found = Geometry.of(vertices, fit.camera, head, _TEXELS)
    pixels = found.pixels + registration_warp(fit, head, _TEXELS)
    face = (face_polygon(head, _TEXELS) > 0.5) & head.skin_mask(_TEXELS)
    seen, claimed = picture.visibility > 0.5, found.visibility > 0.5
    both = face & seen & claimed
    along_u, along_v = np.gradient(picture.pixels, axis=1), np.gradient(picture.pixels, axis=0)
    jacobian = np.stack([along_u, along_v], -1)[both].astype(np.float64)
    whole = np.abs(np.linalg.det(jacobian)) > 1e-3
    offset = (pixels - picture.pixels)[both][whole].astype(np.float64)
    shift = np.linalg.solve(jacobian[whole], offset[..., None])[..., 0]
    texels = np.linalg.norm(shift, axis=1) * 1024 / _TEXELS
    return {
        "registration_median_texels": float(np.median(texels)),
        "registration_p90_texels": float(np.quantile(texels, 0.9)),
        "visibility_precision": float(both.sum() / max((face & claimed).sum(), 1)),
        "visibility_recall": float(both.sum() / max((face & seen).sum(), 1)),
    }


def measure(options: argparse.Namespace) -> Path:
    """Render, fit, compare; writes result.json and returns its path."""
    head = HeadModel.load()
    rows: list[dict] = []
    for index in range(options.heads):
        pictures = pictures_of(options, head, index)
        solvers = []
        for picture in pictures:
            image = read_photo(picture.path)
            row: dict = {"head": index, "yaw_deg": picture.yaw_deg}
            try:
                landmarks = detect(image)
                started = time.perf_counter()
                solver, fit = fit_alone(landmarks, image.shape[:2], head)
            except FacePBRError as error:
                rows.append({**row, "error": str(error)})
                continue
            row["fit_s"] = time.perf_counter() - started
            row |= shape_errors(head, fit, picture)
            row |= registration(head, fit, picture)
            rows.append({**row, "residual_iod": fit.residual_iod})
            solvers.append(solver)
        if len(solvers) > 1:
            together = fit_same_person(solvers, head)
            errors = shape_errors(head, together.fits[0], pictures[0])
            errors.pop("posed_mm")  # the joint fit has one neutral head, and a pose per photo
            rows.append({"head": index, "yaw_deg": "together", **errors})
        print(_line(rows, index), flush=True)
    return write_record(options.out, describe(options, rows))


def _line(rows: list[dict], index: int) -> str:
    parts = [
        f"{row['yaw_deg']}: {row['neutral_mm']:.2f} of {row['mean_head_mm']:.2f} mm"
        for row in rows
        if row["head"] == index and "neutral_mm" in row
    ]
    return f"head {index}  neutral  " + "   ".join(parts)


def describe(options: argparse.Namespace, rows: list[dict]) -> dict:
    """result.json: where and how it was measured, every row, and means per yaw under ``summary``."""
    summary: dict[str, float] = {"failed": float(sum("error" in row for row in rows))}
    for yaw in (*YAWS_DEG, "together"):
        group = [row for row in rows if row["yaw_deg"] == yaw and "error" not in row]
        label = yaw if isinstance(yaw, str) else f"yaw_{yaw:.0f}"
        for key in group[0] if group else ():
            if key not in ("head", "yaw_deg"):
                summary[f"{label}_{key}"] = float(np.mean([row[key] for row in group]))
    settings = {"heads": options.heads, "size_px": options.size, "samples": options.samples}
    head = {"head_sha256": hashlib.sha256(HEAD_FILE.read_bytes()).hexdigest()[:16]}
    return {
        **provenance("fit_truth", options.seed, **settings, **head),
        "rows": rows,
        "summary": summary,
    }


def main() -> int:
    """Entry."""
    options = parse(sys.argv[1:])
    report = measure(options)
    for key, value in json.loads(report.read_text())["summary"].items():
        print(f"{key:40s} {value:8.3f}")
    print(report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
