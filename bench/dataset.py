"""A data set folder of DESIGN's layout, read for scoring: truth, inputs, mask, split. numpy and core only.

`<ID>/{diffuse,ambient_occlusion,normal,specular,translucency,light_normalized}.png`, inputs
`<ID>/input*.png` or `<textures>/<ID>.png`, optional `<ID>/mask.png`. Predictions of any method have the
same layout, one folder per input: `<ID>/` for the first, `<ID>+<input's name>/` for each of several.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.errors import InputError
from core.images import read_map
from core.passes import PASSES

from .evaluation import Maps, as_channels, resized

SPLITS = ("train", "validation", "test")


def split_of(identity: str) -> str:
    """train, validation or test, 90/5/5 by hash of the ID, as the training splits."""
    value = int.from_bytes(hashlib.sha256(identity.encode()).digest()[:4], "big") / 2**32
    return "train" if value < 0.9 else "validation" if value < 0.95 else "test"


@dataclass(frozen=True)
class Sample:
    """One input texture of one identity."""

    identity: str
    texture: Path
    folder: Path
    several: bool
    """The identity has more inputs than this one."""

    @property
    def name(self) -> str:
        """The folder of a prediction for this input."""
        return f"{self.identity}+{self.texture.stem}" if self.several else self.identity

    def truth(self, size: int) -> tuple[Maps, np.ndarray]:
        """Pass key -> (S, S, C), and the mask (S, S) bool: mask.png, else where the diffuse map is not black."""
        maps = read_passes(self.folder, size)
        own = self.folder / "mask.png"
        if own.is_file():
            return maps, resized({"": read_map(own)}, size)[""][..., 0] > 0.5
        return maps, maps["albedo"].max(2) > 0.02

    def input(self, size: int) -> np.ndarray:
        """The input texture (S, S, 3)."""
        return resized({"": read_map(self.texture)}, size)[""]

    def skin_tone(self) -> str | None:
        """The group meta.json names, if any."""
        meta = self.folder / "meta.json"
        return json.loads(meta.read_text("utf-8")).get("skin_tone") if meta.is_file() else None


def read_passes(folder: Path, size: int) -> Maps:
    """The passes a folder holds, by key; InputError when there is none."""
    found = {r.key: folder / r.dataset_file for r in PASSES if (folder / r.dataset_file).is_file()}
    if not found:
        raise InputError(f"expected passes such as diffuse.png in {folder}; got none")
    maps = resized({key: read_map(path) for key, path in found.items()}, size)
    return {key: as_channels(x, key) for key, x in maps.items()}


def samples(root: Path, split: str, textures: Path | None = None) -> list[Sample]:
    """All inputs of a split ("all": of every ID) with a diffuse map; InputError where there is none."""
    if split not in (*SPLITS, "all"):
        raise InputError(f"expected a split of {(*SPLITS, 'all')}; got {split!r}")
    folders = [p for p in sorted(root.iterdir()) if (p / "diffuse.png").is_file()]
    out = []
    for folder in folders:
        if split not in ("all", split_of(folder.name)):
            continue
        inputs = sorted(folder.glob("input*.png"))
        shared = (textures or root) / f"{folder.name}.png"
        inputs = inputs or ([shared] if shared.is_file() else [])
        out += [Sample(folder.name, path, folder, len(inputs) > 1) for path in inputs]
    if not out:
        raise InputError(
            f"expected IDs of the {split} split with an input texture in {root}; got {len(folders)} IDs and none of "
            "those; do give --split all or --textures DIR"
        )
    return out


def mean_passes(root: Path, size: int, count: int = 64) -> Maps:
    """Means over the first ``count`` identities of the training split (S, S, C), or of mean.npz beside the IDs."""
    ready = root / "mean.npz"
    if ready.is_file():
        with np.load(ready) as file:
            return resized({k: file[k].astype(np.float32) for k in file.files if k != "mask"}, size)
    folders = [p for p in sorted(root.iterdir()) if (p / "diffuse.png").is_file()]
    folders = [p for p in folders if split_of(p.name) == "train"][:count]
    if not folders:
        raise InputError(f"expected IDs of the train split in {root} for the mean map; got none")
    total: Maps = {}
    for folder in folders:
        for key, x in read_passes(folder, size).items():
            total[key] = total.get(key, np.float32(0)) + x / np.float32(len(folders))
    return total
