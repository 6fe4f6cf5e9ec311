"""What a training run is: typed, frozen, every field documented; and the command line onto it."""

from __future__ import annotations

import argparse
import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.errors import InputError

STAGES = ("maginet", "refinement", "pix2pixhd")


class ConfigError(InputError):
    """A setting that cannot be; the message names the flag."""


@dataclass(frozen=True)
class LossWeights:
    """Weight of every loss term; 0 switches it off. Colours are compared sRGB-encoded in [-1, 1]."""

    mse: float = 1.0
    """Masked mean squared error (the paper: 1.0)."""
    l1: float = 0.0
    """Masked mean absolute error."""
    edge: float = 5.0
    """L1 between Sobel gradients (the paper: 5.0)."""
    vgg: float = 10.5
    """L1 between VGG-19 relu1_2, 2_2, 3_4, 4_4 (the paper: 10.5). Needs the trunk on the machine."""
    lpips: float = 1.2
    """LPIPS on three random 128^2 patches (the paper: 1.2). Needs the trunk on the machine."""
    gradient: float = 0.0
    """L1 between gradients at four scales: detail without a trunk ("offline" recipe)."""
    gain: float = 0.0
    """Squared error after the best gain per image: texture, whatever the exposure ("offline")."""
    ssim: float = 0.0
    """1 - SSIM of the channel mean ("offline")."""
    tone: float = 0.0
    """L1 between the mean colours of the face: keeps a dark skin dark ("offline")."""
    adversarial: float = 0.0
    """LSGAN against the multi-scale discriminator (Pix2PixHD: 1.0)."""
    features: float = 0.0
    """Feature matching in the discriminator (Pix2PixHD: 10.0)."""
    outside: float = 0.0
    """Weight of texels outside the face mask, inside being 1 (the paper: 0)."""


@dataclass(frozen=True)
class Config:
    """One run of one stage."""

    stage: str
    """maginet, refinement or pix2pixhd."""
    preset: str = "custom"
    """Name of the preset it came from; for the record."""
    size: int = 512
    """Side of the stage's input map in texels (Stage II returns twice as many)."""
    crop: int = 0
    """Stage II: side of the random crops of its output it is trained on; 0 = whole maps."""
    batch: int = 2
    """Samples (Stage II with crops: crops) per step."""
    net: dict[str, Any] = field(default_factory=dict)
    """Constructor arguments of the network."""
    loss: LossWeights = field(default_factory=LossWeights)
    """Loss weights."""
    epochs: int = 0
    """Passes over a folder of data; 0 where `steps` or `minutes` rules."""
    steps: int = 0
    """Optimiser steps; 0 where `epochs` or `minutes` rules."""
    minutes: float = 0.0
    """Wall-clock limit that the schedule is stretched over; 0 = none."""
    lr: float = 5e-5
    """Peak learning rate."""
    lr_min: float = 1e-6
    """Where the cosine ends."""
    restarts: int = 1
    """Cosine cycles in the run (warm restarts)."""
    warmup: float = 0.0
    """Share of the run in which the rate rises linearly."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Adam's."""
    ema: float = 0.999
    """Decay of the averaged weights, which are the ones exported."""
    clip: float = 1.0
    """Largest gradient norm; 0 = no limit."""
    true_albedo: float = 0.5
    """Stages II, III: share of batches fed the true albedo instead of the frozen Stage I's."""
    only: str = ""
    """Train only tensors whose names start with this (e.g. "local"), the rest frozen; "" = all."""
    precision: str = "auto"
    """auto, float32 or bfloat16 (auto: bfloat16 where this processor multiplies it natively)."""
    device: str = "auto"
    """auto, cpu or cuda."""
    threads: int = 0
    """CPU threads; 0 = torch's choice."""
    seed: int = 0
    """Of weights and data order."""
    sheet_every: int = 500
    """Steps between sample sheets (PNG)."""
    save_every_s: float = 60.0
    """Seconds between checkpoints."""

    def __post_init__(self) -> None:
        if self.stage not in STAGES:
            raise ConfigError(f"expected --stage of {STAGES}; got {self.stage!r}")
        if self.size < 32 or self.size % 16:
            raise ConfigError(f"expected --size >= 32 and a multiple of 16; got {self.size}")
        if self.batch < 1:
            raise ConfigError(f"expected --batch >= 1; got {self.batch}")
        if not (self.epochs or self.steps or self.minutes):
            raise ConfigError("expected --minutes, --steps or --epochs; got none; give one")
        if self.precision not in ("auto", "float32", "bfloat16"):
            raise ConfigError(
                f"expected --precision auto, float32 or bfloat16; got {self.precision}"
            )
        if self.crop and (self.stage != "refinement" or self.crop % 2 or self.crop > 2 * self.size):
            raise ConfigError(f"expected --crop even, <= 2 * size, Stage II only; got {self.crop}")

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @staticmethod
    def from_json(text: str) -> Config:
        values = json.loads(text)
        values["loss"] = LossWeights(**values["loss"])
        values["betas"] = tuple(values["betas"])
        return Config(**values)

    def replace(self, **changes: Any) -> Config:
        return dataclasses.replace(self, **changes)


@dataclass(frozen=True)
class Options:
    """A run plus where things lie on this machine."""

    config: Config
    out: Path
    """Folder of checkpoints, curves and sheets."""
    data: Path | None = None
    """Data set folder (FFHQ-UV-Intrinsics layout)."""
    textures: Path | None = None
    """Folder of the input textures `<ID>.png`, where they are not in the data set folder."""
    pool: Path | None = None
    """Replay pool of light-stage samples; shared by runs of one size."""
    pool_size: int = 0
    """Side of the pool's maps when it is made; a multiple of what training asks; 0 = just that."""
    pool_capacity: int = 1200
    """Samples the pool holds."""
    writers: int = 1
    """Background processes that keep the pool fresh; 0 = use it as it is."""
    bank: Path = Path(".cache/bank")
    """The light stage's bank of heads, skies and skins."""
    split: str = "train"
    """Heads and skies that `fill` draws from: train, val (to choose by) or test (to report)."""
    lights: int = 1
    """`fill`: lights that every face is shown under, in a row (spread between lights needs 2)."""
    held_out: Path | None = None
    """Pool of held-out samples that `validate` scores on."""
    init: Path | None = None
    """Run folder, checkpoint or safetensors to start from."""
    maginet: Path | None = None
    """Stage I weights (safetensors or run folder) that feed stages II and III."""
    real: Path | None = None
    """Folder of unwrapped real textures shown in the sheets, never trained on."""
    skip_bad: bool = False
    """Skip bad or incomplete IDs of a data set instead of stopping."""
    dry_run: bool = False
    """Build everything, print the plan, take no step."""
    export: Path | None = None
    """Write the averaged weights of `out` here instead of training."""
    validate: Path | None = None
    """Write validation.json here instead of training."""
    fill: int = 0
    """Write this many samples into the pool instead of training."""


def parser() -> argparse.ArgumentParser:
    """Flags of train/run.py. Anything not given comes from the preset."""
    p = argparse.ArgumentParser(
        prog="train/run.py", description="Train, validate or export one stage of FacePBR."
    )
    p.add_argument("--stage", choices=STAGES, default="maginet")
    p.add_argument("--preset", default="embedded", help="paper, embedded (default) or smoke")
    p.add_argument(
        "--out", type=Path, default=Path("runs/latest"), help="run folder; resumes there"
    )
    p.add_argument("--data", type=Path, help="FFHQ-UV-Intrinsics folder (else the light stage)")
    p.add_argument("--textures", type=Path, help="folder of input textures <ID>.png")
    p.add_argument("--pool", type=Path, help="replay pool of light-stage samples")
    p.add_argument("--pool-size", type=int, default=0, help="side of a new pool's maps")
    p.add_argument("--pool-capacity", type=int, default=1200)
    p.add_argument(
        "--writers", type=int, default=1, help="background generators (0: pool as it is)"
    )
    p.add_argument(
        "--fill", type=int, default=0, help="only write N samples into --pool, then stop"
    )
    p.add_argument("--split", choices=("train", "val", "test"), default="train", help="of --fill")
    p.add_argument("--lights", type=int, default=1, help="lights per face of --fill")
    p.add_argument("--bank", type=Path, default=Path(".cache/bank"), help="the light stage's bank")
    p.add_argument("--held-out", type=Path, help="pool filled with --split val, for --validate")
    p.add_argument("--init", type=Path, help="warm start: run folder, checkpoint or .safetensors")
    p.add_argument("--maginet", type=Path, help="Stage I weights that feed stages II and III")
    p.add_argument("--real", type=Path, help="folder of unwrapped real textures for the sheets")
    p.add_argument("--export", type=Path, help="write the trained weights of --out to this folder")
    p.add_argument(
        "--validate", type=Path, help="score the weights in this folder or run on --data"
    )
    p.add_argument("--skip-bad", action="store_true")
    p.add_argument("--dry-run", action="store_true")
    for name in ("size", "crop", "batch", "epochs", "steps", "threads", "seed"):
        p.add_argument(f"--{name}", type=int)
    p.add_argument("--sheet-every", type=int)
    for name in ("minutes", "lr", "ema", "true-albedo"):
        p.add_argument(f"--{name}", type=float)
    p.add_argument("--only", help="train only tensors whose names start with this")
    p.add_argument("--precision", choices=("auto", "float32", "bfloat16"))
    p.add_argument("--device", choices=("auto", "cpu", "cuda"))
    p.add_argument("--net", default="", help="network arguments, e.g. base=24,uv_octaves=3")
    p.add_argument("--weights", default="", help="loss weights, e.g. ssim=0.3,gradient=2")
    return p


def parse_pairs(text: str, flag: str) -> dict[str, Any]:
    """ "a=1,b=true,c=x" -> {"a": 1, "b": True, "c": "x"}."""
    values: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        if not equals:
            raise ConfigError(f"expected {flag} name=value,...; got {part!r}")
        try:
            values[name.strip()] = json.loads(value)
        except json.JSONDecodeError:
            values[name.strip()] = value.strip()
    return values


def parse(argv: list[str] | None = None) -> Options:
    """Command line -> Options; ConfigError names the flag at fault."""
    from .presets import preset

    args = parser().parse_args(argv)
    names = {f.name for f in dataclasses.fields(Config)} - {"stage", "preset", "net", "loss"}
    changes = {k: v for k, v in vars(args).items() if k in names and v is not None}
    if any(k in changes for k in ("minutes", "steps", "epochs")):
        changes = {"minutes": 0.0, "steps": 0, "epochs": 0} | changes
    config = preset(args.preset, args.stage)
    loss = parse_pairs(args.weights, "--weights")
    unknown = set(loss) - {f.name for f in dataclasses.fields(LossWeights)}
    if unknown:
        raise ConfigError(f"expected --weights of LossWeights' fields; got {sorted(unknown)}")
    changes["loss"] = dataclasses.replace(config.loss, **loss)
    changes["net"] = config.net | parse_pairs(args.net, "--net")
    config = config.replace(**changes)
    shared = {f.name for f in dataclasses.fields(Options)} - {"config"}
    return Options(config=config, **{k: v for k, v in vars(args).items() if k in shared})
