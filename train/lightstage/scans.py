"""Synthetic scan heads: people never trained on, as the bench's truth, with their true mesh.

`python -m train.lightstage.scans --data DIR --out runs/scans` writes ten heads in the data set's
layout: `<ID>/{diffuse,ambient_occlusion,normal,specular,translucency,light_normalized,mask}.png`,
`head.obj`, `head.glb` (with eyes), `meta.json` (seed, coefficients, skin tone), and beside them
`mean.npz`, the mean maps of the training split, for the trivial rows. No input texture: the bench
photographs the heads in Cycles. Seeds SCAN_SEED .. SCAN_SEED + 9999 are used by nothing else; heads
are drawn here, and no portrait gives a band. Skin tones go in equal steps of ITA
from very dark to very light, so three heads in ten are dark. A finished ID is not made again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from core.color import ita_group
from core.export import write_glb, write_obj
from core.eyes import build_eyes
from core.head_model import HEAD_FILE, HeadModel
from core.images import write_map
from core.passes import PASSES

from .bank import build_bank
from .config import LightStageConfig
from .generate import Face, LightStage
from .texture import Dice, resize

SCAN_SEED = 9_000_000
"""First seed of the scans' heads and skins; training's and validation's lie below."""
MEAN_SIZE, MEAN_NAME = 256, "mean.npz"
IDENTITY_LIMIT, EXPRESSION_LIMIT = 2.2, 0.3


def scan_shape(model: HeadModel, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Identity (K,) and a slight expression (E,) of scan `index`; every third one is neutral."""
    rng = np.random.default_rng(SCAN_SEED + index)
    identity = rng.normal(0, 0.9, model.num_identity).clip(-IDENTITY_LIMIT, IDENTITY_LIMIT)
    expression = np.zeros(model.num_expression)
    shut = ("Blink", "jaw", "eyeLook", "Funnel", "Wide", "Squint")
    mild = [i for i, n in enumerate(model.expression_names) if not any(s in n for s in shut)]
    if index % 3:
        chosen = rng.choice(mild, size=3, replace=False)
        expression[chosen] = rng.uniform(0, EXPRESSION_LIMIT, 3)
    return identity.astype(np.float32), expression.astype(np.float32)


def scan_config(index: int, count: int) -> LightStageConfig:
    """Scan `index` of `count` has its own step of the skin-tone range; whole
    layout, no hair before the face, and no band of a photo that training may have seen."""
    low, high = LightStageConfig().ita_range_deg
    step = (high - low) / count
    return replace(
        LightStageConfig(), ita_range_deg=(low + index * step, low + (index + 1) * step),
        hide_hair=0.0, fringe=0.0, vitiligo=0.0, portrait_bands=0.0, whole_layout=1.0,
    )  # fmt: skip


def make_scan(stage: LightStage, index: int, count: int) -> Face:
    """Face of scan `index`, on head `index` of the scans' own bank."""
    stage.config, stage.bank.heads = scan_config(index, count), [index]
    with torch.no_grad():
        return stage.make_face(Dice(SCAN_SEED + index, stage.device))


def write_scan(
    folder: Path, face: Face, model: HeadModel, shape: tuple[np.ndarray, np.ndarray], meta: dict
) -> None:
    """All files of one scan; the folder appears whole or not at all."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    maps = {key: x.permute(1, 2, 0).cpu().numpy() for key, x in face.truth.items()}
    for row in PASSES:
        write_map(partial / row.dataset_file, maps[row.key])
    write_map(partial / "mask.png", maps["mask"])
    mesh, (identity, expression) = model.embedded_mesh(), shape
    vertices = model.vertices(mesh, identity, expression)
    passes = {row.key: maps[row.key] for row in PASSES}
    write_obj(partial / "head.obj", mesh, vertices, texture="diffuse.png")
    write_glb(partial / "head.glb", mesh, vertices, passes, build_eyes(model, None, None, identity))
    (partial / "meta.json").write_text(json.dumps(meta, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, folder)


def head_hash() -> str:
    """First 16 digits of the statistical head's SHA-256: coefficients mean nothing on another."""
    return hashlib.sha256(HEAD_FILE.read_bytes()).hexdigest()[:16]


def mean_maps(bank: Path, count: int) -> dict[str, np.ndarray]:
    """Mean stored maps (S, S, C) of `count` training faces: what a predictor knows that sees nothing."""
    stage = LightStage(bank, MEAN_SIZE, seed=SCAN_SEED, split="train")
    total: dict[str, torch.Tensor] = {}
    with torch.no_grad():
        for index in range(count):
            truth = stage.make_face(Dice(SCAN_SEED + 5000 + index, stage.device)).truth
            for key, x in truth.items():
                total[key] = total.get(key, torch.zeros(())) + resize(x, MEAN_SIZE) / count
    return {key: x.permute(1, 2, 0).numpy().astype(np.float16) for key, x in total.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=os.environ.get("FACEPBR_SHARED"))
    parser.add_argument("--bank", type=Path, default=Path(".cache/bank"), help="training's bank")
    parser.add_argument("--out", type=Path, default=Path("runs/scans"))
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--size", type=int, default=1024, help="side of the maps: 256, 512, 1024")
    parser.add_argument("--mean-faces", type=int, default=48, help="faces in the mean map")
    args = parser.parse_args()
    data = Path(args.data or Path(__file__).resolve().parents[3] / "shared" / "data")
    args.out.mkdir(parents=True, exist_ok=True)
    if not (args.out / MEAN_NAME).is_file():
        np.savez_compressed(args.out / MEAN_NAME, **mean_maps(args.bank, args.mean_faces))
    names = [f"scan{index:02d}" for index in range(args.count)]
    missing = [i for i, name in enumerate(names) if not (args.out / name / "meta.json").is_file()]
    if missing:
        model = HeadModel.load()
        shapes = [scan_shape(model, index) for index in range(args.count)]
        own = args.out.with_name(f"{args.out.name}-bank")  # beside: in it, it would pass for an ID
        if not (own / "bank.safetensors").is_file():
            positions = [model.position_map(*shape, 256) for shape in shapes]
            build_bank(data, own, positions, model.skin_mask(256), model.landmarks68_uv)
        stage = LightStage(own, args.size, split="test")
        for index in missing:
            face = make_scan(stage, index, args.count)
            identity, expression = (np.round(x, 5).tolist() for x in shapes[index])
            meta = {
                "id": names[index],
                "seed": SCAN_SEED + index,
                "ita_deg": round(face.skin.ita_deg, 2),
                "skin_tone": ita_group(face.skin.ita_deg),
                "age": round(face.skin.age, 1),
                "unit": "m",
                "head": head_hash(),
                "identity": identity,
                "expression": expression,
            }
            write_scan(args.out / names[index], face, model, shapes[index], meta)
            print(f"{args.out / names[index]}  ITA {meta['ita_deg']} ({meta['skin_tone']})")
    print(args.out)


if __name__ == "__main__":
    main()
