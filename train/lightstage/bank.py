"""Everything the light stage looks up: heads with their visibility, skies, skin colours, bands.

Built once on the CPU (numpy, ray casts), kept as one safetensors file that is small enough to be
carried to a GPU machine: `python -m train.lightstage.bank --data DIR --out .cache/bank --heads 40`.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.numpy import save_file
from torch import Tensor

from . import visibility
from .chromophores import SkinTable, build_table
from .sources import BAND_RANGE, SOFTLY_LIT, portrait_bands, read_environments, skin_bands

POSITION_SIZE, LIGHT_SIZE, NUM_DIRECTIONS = 256, 128, 320
POSITION_RANGE_M = 0.3
SPLITS = ("train", "val", "test")
NUM_HELD_HEADS, NUM_HELD_PORTRAITS, NUM_HELD_MOTTLES = 5, 3, 1
HELD_SKIES = {
    "val": ("lebombo_1k", "st_fagans_interior_1k"),
    "test": ("quarry_01_1k", "studio_small_03_1k"),
}
FILE_NAME = "bank.safetensors"


@dataclass(frozen=True)
class Head:
    """One head on the device: maps (C, S, S) at POSITION_SIZE and at LIGHT_SIZE (`_light`)."""

    index: int
    position: Tensor
    tangent: Tensor
    bitangent: Tensor
    normal: Tensor
    steps: Tensor
    """(2, S, S) metres per texel along u and v."""
    inside: Tensor
    normal_light: Tensor
    tangent_light: Tensor
    bitangent_light: Tensor
    visible: Tensor
    """(N, D) float visibility over the directions, N = LIGHT_SIZE ** 2."""
    openness: Tensor
    """(1, LIGHT_SIZE, LIGHT_SIZE) macro ambient occlusion."""
    thickness: Tensor
    """(1, LIGHT_SIZE, LIGHT_SIZE) metres."""


@dataclass(frozen=True)
class UnwrapMasks:
    """Where unwrapping trusts a photo: maps (1, s, s) in [0, 1]."""

    reach: Tensor
    """1 on the face, falling to 0 towards neck, ears and scalp."""
    eye_slit: Tensor
    mouth_ring: Tensor


class Bank:
    """The file on a device, seen by one split: `heads`, `skies`, `portraits` and `mottles` list its indices.

    No head, sky, portrait or patch of skin belongs to two splits; the one scan belongs to all.
    """

    def __init__(
        self, path: Path, device: str | torch.device = "cpu", split: str = "train"
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f"expected a split of {SPLITS}; got {split!r}; use one of them")
        path = path / FILE_NAME if path.is_dir() else path
        if not path.is_file():
            raise FileNotFoundError(
                f"expected a light stage bank at {path}; none there; run "
                "python -m train.lightstage.bank --data DIR --out FOLDER"
            )
        self.device = torch.device(device)
        with safe_open(path, framework="pt", device=str(device)) as file:
            self._t = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            meta = file.metadata()
        self.heads, self.skies, self.portraits, self.mottles = (
            list[int](json.loads(meta[part])[split])
            for part in ("heads", "skies", "portraits", "mottles")
        )
        self.directions = self._t["directions"]
        self.landmarks = self._t["landmarks68_uv"]
        self.environments = self._t["environments"].float()
        self.skin_table = SkinTable(self._t["skin_table"])
        self.scan_color = self._t["scan_color"].float()
        """(3, 512, 512) log-albedo band of a scan, about zero mean."""
        self.scan_slope = self._t["scan_slope"].float()
        """(2, 512, 512) relief of a scan: slopes dh/dx, dh/dy, y down."""
        self.mottle = self._t["mottle"].float()
        """(M, 3, 256, 256) tileable log-albedo bands of skin, unit deviation of the grey."""
        self.unwrap_masks = UnwrapMasks(
            *(self._t[k].float()[None] / 255 for k in ("reach", "eye_slit", "mouth_ring"))
        )
        self.head = lru_cache(maxsize=24)(self._head)

    def portrait_band(self, index: int) -> Tensor:
        """Fine log-albedo band (3, 512, 512) of a photo, zero where it was not seen."""
        tone = self._t["portrait_tone"][index].float() * (BAND_RANGE / 127)
        chroma = self._t["portrait_chroma"][index].float()[None] * (BAND_RANGE / 127)
        chroma = F.interpolate(chroma, size=tone.shape, mode="bilinear")[0]
        green = tone - 0.3 * chroma[0] - 0.1 * chroma[1]
        return torch.stack([green + chroma[0], green, green + chroma[1]])

    def _head(self, index: int) -> Head:
        position = self._t["position"][index].float().permute(2, 0, 1) * (POSITION_RANGE_M / 32767)
        inside = self._t["inside"]
        frame = visibility.tangent_frame(position)

        def light(x: Tensor) -> Tensor:
            return F.interpolate(x[None], size=(LIGHT_SIZE, LIGHT_SIZE), mode="area")[0]

        nearest = self._t["nearest"].long()
        frame = [x.flatten(1)[:, nearest].view(x.shape) for x in frame]
        tangent, bitangent, normal, steps = frame
        normal_light = F.normalize(light(normal), dim=0)
        visible = visibility.unpack_bits(self._t["visible"][index])
        openness = visibility.ambient_occlusion(visible, normal_light.flatten(1).T, self.directions)
        return Head(
            index, position, tangent, bitangent, normal, steps, inside, normal_light,
            light(tangent), light(bitangent), visible, openness.view(1, LIGHT_SIZE, LIGHT_SIZE),
            self._t["thickness"][index].float()[None] * (0.03 / 255),
        )  # fmt: skip


def split_indices(count: int, num_held: int) -> dict[str, list[int]]:
    """Indices 0..count-1 per split: the last go to "test", those before to "val", at most a fifth each."""
    if count < len(SPLITS):
        raise ValueError(
            f"expected at least {len(SPLITS)} of each source, one a split; got {count}"
        )
    held = min(num_held, max(1, count // 5))
    last = list(range(count))
    return {
        "train": last[: -2 * held],
        "val": last[-2 * held : -held],
        "test": last[-held:],
    }


def unwrap_masks() -> dict[str, np.ndarray]:
    """Where core/unwrap.py trusts a photo: reach, eye_slit, mouth_ring, (256, 256) uint8."""
    from core.facemesh import EYE_RINGS, LIP_RINGS
    from core.head_model import HeadModel
    from core.skin_segment import face_trust, fill_uv_polygon

    head, size = HeadModel.load(), POSITION_SIZE
    uv = head.landmarks468_uv
    eyes = np.maximum(*(fill_uv_polygon(uv[list(ring)], size) for ring in EYE_RINGS))
    mouth = fill_uv_polygon(uv[list(LIP_RINGS[-1])], size)
    masks = {"reach": face_trust(head, size), "eye_slit": eyes, "mouth_ring": mouth}
    return {k: np.round(v * 255).astype(np.uint8) for k, v in masks.items()}


def nearest_inside(inside: np.ndarray, margin: int = 1) -> np.ndarray:
    """Flat index (S*S,) int32 of the nearest texel that lies `margin` texels inside the mask."""
    from scipy.ndimage import binary_erosion, distance_transform_edt

    core = binary_erosion(inside, iterations=margin) if margin else inside
    row, col = np.asarray(
        distance_transform_edt(np.logical_not(core), return_distances=False, return_indices=True)
    )
    return (row * inside.shape[1] + col).astype(np.int32).reshape(-1)


def bake_head(position: np.ndarray, inside: np.ndarray, outer: np.ndarray) -> dict[str, np.ndarray]:
    """Stored tensors of one head from its position map (256, 256, 3) in metres.

    inside (256, 256): texels of the skin; outer: those of them that show when mouth and eyes are
    shut. The rest, the insides of lips and lids, take light and thickness of the nearest outer one.
    """
    stored = np.round(position / POSITION_RANGE_M * 32767).clip(-32767, 32767).astype(np.int16)
    p = torch.from_numpy(stored.astype(np.float32) * (POSITION_RANGE_M / 32767)).permute(2, 0, 1)
    normal = visibility.tangent_frame(p)[2]

    def shrink(x: Tensor) -> np.ndarray:
        x = F.interpolate(x[None], size=(LIGHT_SIZE, LIGHT_SIZE), mode="area")[0]
        return x.permute(1, 2, 0).numpy()

    nearest = nearest_inside(outer)
    normal = normal.flatten(1)[:, torch.from_numpy(nearest).long()].view(normal.shape)
    small, normals = shrink(p), shrink(normal)
    normals = normals / (np.linalg.norm(normals, axis=-1, keepdims=True) + 1e-9)
    mask = shrink(torch.from_numpy(inside)[None].float())[..., 0] > 0.99
    directions = visibility.fibonacci_directions(NUM_DIRECTIONS)
    source = nearest_inside(
        mask & (shrink(torch.from_numpy(outer)[None].float())[..., 0] > 0.99), 0
    )
    visible = visibility.raycast_visibility(small, normals, mask, directions)[source]
    thickness = visibility.raycast_thickness(small, normals, mask).reshape(-1)[source]
    thickness = thickness.reshape(mask.shape)
    return {
        "position": stored,
        "visible": visibility.pack_bits(visible),
        "thickness": np.round(thickness / 0.03 * 255).clip(0, 255).astype(np.uint8),
    }


def model_heads(count: int, seed: int) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Position maps of random people from the embedded head, their mask, landmark UVs (68, 2)."""
    from core.head_model import HeadModel

    model = HeadModel.load()
    rng = np.random.default_rng(seed)
    mild = [i for i, name in enumerate(model.expression_names) if _mild(name)]
    maps = []
    for _ in range(count):
        identity = rng.normal(0, 0.9, model.num_identity).astype(np.float32).clip(-2.2, 2.2)
        expression = np.zeros(model.num_expression, np.float32)
        chosen = rng.choice(mild, size=rng.integers(0, 5), replace=False)
        expression[chosen] = rng.uniform(0, 0.45, len(chosen))
        maps.append(model.position_map(identity, expression, POSITION_SIZE))
    return maps, model.skin_mask(POSITION_SIZE), model.landmarks68_uv


def _mild(name: str) -> bool:
    return not any(part in name for part in ("Blink", "jaw", "eyeLook", "mouthFunnel", "Wide"))


def build_bank(
    data: Path,
    out: Path,
    maps: list[np.ndarray],
    inside: np.ndarray,
    landmarks: np.ndarray,
    portraits: tuple[str, ...] = SOFTLY_LIT,
) -> Path:
    """Bake heads and sources into out/bank.safetensors; data is the folder of source data."""
    masks = unwrap_masks()
    outer = inside & (masks["mouth_ring"] < 128) & (masks["eye_slit"] < 128)
    tensors: dict[str, list[np.ndarray]] = {"position": [], "visible": [], "thickness": []}
    for number, position in enumerate(maps):
        for name, value in bake_head(position, inside, outer).items():
            tensors[name].append(value)
        print(f"\rhead {number + 1}/{len(maps)}", end="", flush=True)
    print()
    names, environments = read_environments(data / "hdri")
    home = {name: split for split, held in HELD_SKIES.items() for name in held}
    skies = {s: [i for i, n in enumerate(names) if home.get(n, "train") == s] for s in SPLITS}
    arrays = {name: np.stack(values) for name, values in tensors.items()}
    arrays |= {
        "inside": inside,
        "nearest": nearest_inside(outer),
        **masks,
        "directions": visibility.fibonacci_directions(NUM_DIRECTIONS),
        "landmarks68_uv": landmarks.astype(np.float32),
        "environments": environments.astype(np.float16),
        "skin_table": build_table(data / "skin" / "chromophores_400_720.csv"),
    }
    arrays |= {k: v.astype(np.float16) for k, v in skin_bands(data, landmarks).items()}
    arrays |= portrait_bands(data / "portraits", portraits)
    out.mkdir(parents=True, exist_ok=True)
    path = out / FILE_NAME
    splits = {
        "heads": split_indices(len(maps), NUM_HELD_HEADS),
        "skies": skies,
        "portraits": split_indices(len(arrays["portrait_tone"]), NUM_HELD_PORTRAITS),
        "mottles": split_indices(len(arrays["mottle"]), NUM_HELD_MOTTLES),
    }
    meta = {part: json.dumps(indices) for part, indices in splits.items()}
    partial = path.with_suffix(".partial")
    save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, partial, metadata=meta)
    os.replace(partial, path)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=os.environ.get("FACEPBR_SHARED"))
    parser.add_argument("--out", type=Path, default=Path(".cache/bank"))
    parser.add_argument("--heads", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    data = args.data or Path(__file__).resolve().parents[3] / "shared" / "data"
    maps, inside, landmarks = model_heads(args.heads, args.seed)
    path = build_bank(Path(data), args.out, maps, inside, landmarks)
    print(f"{path} {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
