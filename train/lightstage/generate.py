"""The light stage's only assembler: bank + dice -> batches of faulty photos with exact truth.

`python -m train.lightstage.generate --bank .cache/bank --sheet sheet.png` draws samples to look at.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from torch import Tensor

from core.color import linear_to_srgb

from . import camera, faults
from .bank import Bank, Head
from .config import LightStageConfig
from .detail import Relief, sample_creases, sample_relief
from .lights import Illumination, residual_light, sample_illumination
from .regions import Regions, face_mask, jittered
from .shade import shade, soft_light, view_direction
from .skin import Skin, sample_skin
from .texture import Dice, resize, smoothstep

TRUTH_KEYS = ("albedo", "ambient_occlusion", "normal", "specular", "translucency", "raw_diffuse")
_SPLIT_SEEDS = {"train": 0, "val": 1_000_003, "test": 1_500_007}


@dataclass
class Face:
    """One person: geometry, colour, relief. Everything about it that no light changes."""

    head: Head
    regions: Regions
    skin: Skin
    relief: Relief
    truth: dict[str, Tensor]
    identity_id: int


class LightStage:
    """An endless source of batches; the same seed gives the same batches on one device.

    size: side of the maps, 256, 512 or 1024. split: "train", "val" or "test", with disjoint heads,
    skies, portraits and seeds. Batches follow the training contract: `input` and colours sRGB in
    [0, 1], `normal` encoded, `mask` soft in [0, 1], plus `ita_deg` and `identity_id`, both (B,).
    """

    def __init__(
        self,
        bank_path: Path,
        size: int = 512,
        seed: int = 0,
        device: str | torch.device = "cpu",
        config: LightStageConfig | None = None,
        split: str = "train",
    ) -> None:
        if size not in (128, 256, 512, 1024):
            raise ValueError(f"expected a size of 128, 256, 512 or 1024; got {size}")
        self.size, self.split = size, split
        self.config = config or LightStageConfig()
        self.bank = Bank(Path(bank_path), device, split)
        self.device = self.bank.device
        self._seed = seed * 2_000_003 + _SPLIT_SEEDS[split]
        self._count = 0
        self._residual = residual_light(self.bank.directions)

    def sample(self, batch_size: int) -> dict[str, Tensor]:
        """A batch of different faces, one light each: (B, C, S, S) maps."""
        return self._stack([self.sample_views(1) for _ in range(batch_size)])

    def sample_pairs(self, batch_size: int, lights: int = 2) -> dict[str, Tensor]:
        """A batch in which each face comes under `lights` lights in a row: (B * lights, C, S, S)."""
        return self._stack([self.sample_views(lights) for _ in range(batch_size)])

    def sample_views(self, lights: int) -> dict[str, Tensor]:
        """One face under several lights and cameras: (lights, C, S, S)."""
        self._count += 1
        dice = Dice(self._seed + self._count * 7919, self.device)
        with torch.no_grad():
            face = self.make_face(dice.fork())
            photos = [self.photograph(dice.fork(), face) for _ in range(lights)]
        batch = {k: v[None].expand(lights, -1, -1, -1) for k, v in face.truth.items()}
        batch["input"] = torch.stack([photo for photo, _ in photos])
        batch["visibility"] = torch.stack([seen for _, seen in photos])
        batch["ita_deg"] = torch.full((lights,), face.skin.ita_deg, device=self.device)
        batch["identity_id"] = torch.full((lights,), face.identity_id, device=self.device)
        return batch

    @staticmethod
    def _stack(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}

    def make_face(self, dice: Dice) -> Face:
        """A person with the truth maps, each (C, S, S)."""
        head = self.bank.head(dice.choice(self.bank.heads))
        regions = jittered(dice, self.size, self.bank.landmarks)
        age = 16 + 66 * dice.uniform(0, 1) ** 1.5
        creases = sample_creases(dice, self.config, regions, age)
        skin = sample_skin(dice, self.config, self.bank, regions, creases.cover, age)
        relief = sample_relief(dice, self.config, self.bank, head, regions, creases, skin)
        rest = soft_light(head, self.bank.directions, self._residual, relief.normal) * relief.cavity
        truth = {
            "albedo": linear_to_srgb(skin.albedo),
            "ambient_occlusion": relief.ambient_occlusion,
            "normal": relief.normal * 0.5 + 0.5,
            "specular": relief.specular,
            "translucency": relief.translucency,
            "raw_diffuse": linear_to_srgb((skin.albedo * rest).clamp(0, 1)),
            "mask": face_mask(self.size, self.bank.landmarks, head.inside)
            * smoothstep(0.2, 0.7, resize(self.bank.unwrap_masks.reach, self.size)),
        }
        return Face(head, regions, skin, relief, truth, self._count)

    def light_for(self, dice: Dice) -> Illumination:
        """A light of this split's skies."""
        return sample_illumination(
            dice, self.config, self.bank.environments, self.bank.skies, self.bank.directions
        )

    def photograph(self, dice: Dice, face: Face, light: Illumination | None = None):
        """A photo of a face, unwrapped: texture (3, S, S) sRGB and visibility (1, S, S)."""
        config, head, skin = self.config, face.head, face.skin
        light = light or self.light_for(dice.fork())
        yaw = max(-60.0, min(60.0, dice.normal(0, config.yaw_deg)))
        pitch = max(-25.0, min(25.0, dice.normal(0, config.pitch_deg)))
        view = view_direction(yaw, pitch, self.device)
        mask = face.truth["mask"]
        tone = (skin.albedo * mask).sum((1, 2)) / mask.sum().clamp_min(1)
        brim = faults.HatBrim(dice, self.device) if dice.chance(config.hat_shadow) else None
        lit = shade(
            head, self.bank.directions, light, face.relief.normal, face.relief.cavity, view,
            dice.uniform(0.28, 0.5), bleed=dice.chance(config.subsurface), bounce=tone,
            gloss=config.specular, shadows=config.cast_shadows,
            visible=brim and brim.visible(head, self.bank.directions),
            shadow_of=brim and (lambda direction: brim.blocks(head.position, direction)),
        )  # fmt: skip
        shine = dice.log_uniform(0.15, 0.95) * (0.4 if light.mild and dice.chance(0.5) else 1.0)
        shine = shine * (2.0 * face.relief.specular) * (1 - 0.7 * skin.hair[None])
        scene = skin.scene_albedo * lit.diffuse + lit.specular * shine
        level = lit.diffuse
        if config.unwrap_faults and dice.chance(0.75):
            scene = faults.eye_pixels(dice, face.regions, scene, level)
            if dice.chance(0.2):
                scene = faults.teeth(dice, face.regions, scene, level)
        scene = faults.occlude(dice, config, face.regions, scene, skin.albedo, level)
        if config.camera:
            linear = camera.expose(dice, scene, level, mask, float(tone.mean()))
            photo = camera.photograph(dice, linear)
        else:
            mean = (level * mask).sum() / (3 * mask.sum()).clamp_min(1)
            photo = linear_to_srgb((scene / mean).clamp(0, 1))
        seen = torch.ones_like(mask)
        if config.unwrap_faults:
            photo, seen = faults.unwrap(
                dice, photo, head, view, self.bank.unwrap_masks, skin.cut, skin.whole
            )
        return photo, seen


def sheet(batch: dict[str, Tensor], side: int = 256) -> Tensor:
    """A picture (3, H, W) of a batch: one column a sample, one row a map."""
    rows = []
    for key in ("input", *TRUTH_KEYS, "mask"):
        tiles = [resize(x.expand(3, -1, -1), side) for x in batch[key]]
        rows.append(torch.cat(tiles, dim=2))
    return torch.cat(rows, dim=1)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bank", type=Path, default=Path(".cache/bank"))
    parser.add_argument("--sheet", type=Path, required=True, help="PNG to write")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--split", choices=tuple(_SPLIT_SEEDS), default="train")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--pairs", action="store_true", help="each face under two lights")
    parser.add_argument("--tile", type=int, default=256, help="side of one picture")
    parser.add_argument(
        "--off", nargs="*", default=[], metavar="FACTOR", help="chances to set to 0"
    )
    return parser.parse_args()


def main() -> None:
    from core.images import write_map

    args = _arguments()
    known = {f.name for f in fields(LightStageConfig)}
    if unknown := set(args.off) - known:
        raise SystemExit(f"expected factors among {sorted(known)}; got {sorted(unknown)}")
    config = LightStageConfig(
        **{name: type(getattr(LightStageConfig, name))(0) for name in args.off}
    )
    stage = LightStage(args.bank, args.size, args.seed, args.device, config, args.split)
    stage.sample(1)
    start = time.perf_counter()
    batch = stage.sample_pairs(args.samples // 2) if args.pairs else stage.sample(args.samples)
    seconds = time.perf_counter() - start
    print(f"{len(batch['input']) / seconds:.2f} samples/s at {args.size} on {args.device}")
    write_map(args.sheet, sheet(batch, args.tile).permute(1, 2, 0).cpu().numpy())
    print(args.sheet)


if __name__ == "__main__":
    main()
