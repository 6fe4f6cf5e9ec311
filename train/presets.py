"""The three recipes: what the paper did, what ships, and a minute's check."""

from __future__ import annotations

from collections.abc import Callable

from .config import STAGES, Config, ConfigError, LossWeights

PAPER_ALBEDO = LossWeights()
PAPER_PASSES = LossWeights(
    mse=0.0, l1=0.0, edge=0.0, vgg=10.0, lpips=0.0, adversarial=1.0, features=10.0
)
OFFLINE_ALBEDO = LossWeights(
    mse=1.0, l1=1.0, edge=0.0, vgg=0.0, lpips=0.0, gradient=2.0, gain=2.0, ssim=0.2, tone=1.0,
    outside=0.15,
)  # fmt: skip
OFFLINE_PASSES = LossWeights(
    mse=2.0, l1=1.0, edge=0.0, vgg=0.0, lpips=0.0, gradient=0.2, outside=0.15
)


def paper(stage: str) -> Config:
    """The paper's networks, losses and schedule, on FFHQ-UV-Intrinsics.

    `python train/run.py --preset paper --stage maginet --data FFHQ-UV-Intrinsics --out runs/p1`,
    then the stages refinement and pix2pixhd with `--maginet runs/p1`. 60 epochs, batch 2, Adam
    5e-5 (.9, .999), cosine with warm restarts to 1e-6; 30 epochs of Stage III with Pix2PixHD's
    Adam 2e-4 (.5, .999), albedo frozen. Wall time and hardware: not run by us.
    """
    if stage == "pix2pixhd":
        return Config(
            stage,
            "paper",
            size=1024,
            batch=2,
            net={"ngf": 64, "num_down": 4, "num_blocks": 9},
            loss=PAPER_PASSES,
            epochs=30,
            lr=2e-4,
            betas=(0.5, 0.999),
            true_albedo=0.0,
            clip=0.0,
        )
    net = {"base": 64, "output": "direct"} if stage == "maginet" else {"base": 64}
    return Config(
        stage, "paper", size=512, batch=2, net=net, loss=PAPER_ALBEDO, epochs=60, restarts=3,
        true_albedo=0.0, clip=0.0,
    )  # fmt: skip


def embedded(stage: str) -> Config:
    """What ships: small widths, the light stage as data, the offline losses, minutes on a CPU.

    `python train/run.py --stage maginet --pool runs/pool --pool-size 512 --out runs/m`, then the stages
    refinement and pix2pixhd with `--maginet runs/m`. Stage III comes coarse to fine: first
    `--size 256 --batch 4 --net local_width=0 --minutes 12`, then `--init` that run. On one idle core with
    bfloat16 a step takes about 0.9 s (Stage I, 256^2, batch 4) and 2.5 s (Stage III, 512^2, batch 2).
    """
    if stage == "maginet":
        net = {"base": 24, "output": "ratio", "uv_octaves": 3}
        return Config(
            stage, "embedded", size=256, batch=4, net=net, loss=OFFLINE_ALBEDO, minutes=30.0,
            lr=1e-3, lr_min=2e-5, warmup=0.02, ema=0.995, betas=(0.9, 0.99),
        )  # fmt: skip
    if stage == "refinement":
        return Config(
            stage, "embedded", size=512, crop=256, batch=8, net={"base": 16, "guide": True},
            loss=OFFLINE_ALBEDO, minutes=10.0, lr=2e-3, lr_min=2e-5, warmup=0.02, ema=0.99,
            betas=(0.9, 0.99),
        )  # fmt: skip
    net = {
        "ngf": 16, "num_down": 4, "num_blocks": 6, "uv_octaves": 3, "guide": True, "prior_size": 128,
        "local_width": 24,
    }  # fmt: skip
    return Config(
        stage, "embedded", size=512, batch=2, net=net, loss=OFFLINE_PASSES, minutes=60.0,
        lr=1e-3, lr_min=2e-5, warmup=0.02, ema=0.995, betas=(0.9, 0.99),
    )  # fmt: skip


def smoke(stage: str) -> Config:
    """A few steps of tiny nets at 64^2, under a minute on two cores: does everything turn?"""
    net = {
        "maginet": {"base": 4, "output": "ratio", "uv_octaves": 1},
        "refinement": {"base": 4, "guide": True},
        "pix2pixhd": {
            "ngf": 4,
            "num_down": 2,
            "num_blocks": 1,
            "guide": True,
            "prior_size": 16,
            "local_width": 4,
        },
    }[stage]
    loss = OFFLINE_PASSES if stage == "pix2pixhd" else OFFLINE_ALBEDO
    return Config(
        stage, "smoke", size=64, batch=2, net=net, loss=loss, steps=6, lr=1e-3, sheet_every=3,
        precision="float32",
    )  # fmt: skip


PRESETS: dict[str, Callable[[str], Config]] = {
    "paper": paper,
    "embedded": embedded,
    "smoke": smoke,
}


def preset(name: str, stage: str) -> Config:
    """The named recipe for one stage."""
    if name not in PRESETS:
        raise ConfigError(f"expected --preset of {tuple(PRESETS)}; got {name!r}")
    if stage not in STAGES:
        raise ConfigError(f"expected --stage of {STAGES}; got {stage!r}")
    return PRESETS[name](stage)
