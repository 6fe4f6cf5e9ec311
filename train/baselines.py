"""Baselines of the paper's tables, retrained on the same split: U-Net-6L, SfSNet-style, RGB2AO-style.

    python -m train.baselines --method unet6l --data DIR --steps 20000 --out runs/unet6l
    python -m train.baselines --method unet6l --data DIR --predict runs/unet6l/test --split test --out runs/unet6l

The first trains (resumes at ``--out``), the second writes what it predicts for a split in the data set's layout,
which bench/tables.py scores with ``--predictions NAME=runs/unet6l/test``. ``--pool DIR`` trains on a pool of
the light stage instead. "Style": the published idea in UV space at our sizes, not the authors' code or weights.
B: batch, S: side of a map; everything in [0, 1], colours sRGB-encoded.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

from core.color import srgb_to_linear
from core.images import write_map
from core.nets.blocks import init_conv
from core.passes import PASS_BY_KEY
from core.sh import sh_basis

from .config import ConfigError
from .data import Batch, DataError, FolderData, Pool, PoolSource, Source, area_resize
from .losses import masked_l1, multiscale_gradient

Passes = dict[str, Tensor]


class ConvBlock(nn.Module):
    """Two 3x3 convolutions with LeakyReLU 0.1."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)
        init_conv(self.first)
        init_conv(self.second)

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.second(F.leaky_relu(self.first(x), 0.1)), 0.1)


class UNet(nn.Module):
    """Plain U-Net (Ronneberger et al. 2015): ``levels`` max-pools, widths doubling up to 8 x base, skips joined.

    No attention, no gates, no residual blocks: what MAGINet adds is measured against this.
    """

    def __init__(self, outputs: int, base: int = 32, levels: int = 6) -> None:
        super().__init__()
        widths = [base * min(2**i, 8) for i in range(levels + 1)]
        self.downs = nn.ModuleList(
            ConvBlock(a, b) for a, b in zip([3, *widths[:-1]], widths, strict=True)
        )
        self.ups = nn.ModuleList(
            ConvBlock(deep + skip, skip)
            for deep, skip in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.head = nn.Conv2d(base, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for i, down in enumerate(self.downs):
            x = down(F.max_pool2d(x, 2) if i else x)
            skips.append(x)
        skips.pop()
        for up in self.ups:
            skip = skips.pop()
            x = F.interpolate(x, size=skip.shape[2:], mode="bilinear", align_corners=False)
            x = up(torch.cat([x, skip], dim=1))
        return self.head(x)


class UNet6L(nn.Module):
    """Photo texture (B, 3, S, S) -> albedo, by a plain six-level U-Net."""

    def __init__(self, base: int = 32) -> None:
        super().__init__()
        self.unet = UNet(3, base)

    def forward(self, photo: Tensor) -> Passes:
        return {"albedo": torch.sigmoid(self.unet(photo * 2 - 1))}

    def loss(self, made: Passes, batch: Batch) -> Tensor:
        return _colour_loss(made["albedo"], batch["albedo"], batch["mask"])


class ResidualStack(nn.Module):
    """``count`` blocks x + conv(relu(conv(relu(x))))."""

    def __init__(self, width: int, count: int = 5) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.ReLU(), nn.Conv2d(width, width, 3, padding=1),
                nn.ReLU(), nn.Conv2d(width, width, 3, padding=1),
            )
            for _ in range(count)
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = x + block(x)
        return x


class SfSNet(nn.Module):
    """SfSNet-style (Sengupta et al., CVPR 2018): shared features, a residual branch each for normal and albedo,
    nine harmonics a channel for the light, and the photo rebuilt from the three.

    The normal is the tangent-space one of the layout, so the light is what is left of it there.
    """

    def __init__(self, base: int = 32) -> None:
        super().__init__()
        wide = 2 * base
        self.encoder = nn.Sequential(
            nn.Conv2d(3, base, 7, padding=3), nn.ReLU(), nn.Conv2d(base, wide, 3, padding=1), nn.ReLU(),
            nn.Conv2d(wide, wide, 3, stride=2, padding=1), nn.ReLU(),
        )  # fmt: skip
        self.normal_branch, self.albedo_branch = ResidualStack(wide), ResidualStack(wide)
        self.normal_head = nn.Conv2d(wide, 3, 3, padding=1)
        self.albedo_head = nn.Conv2d(wide, 3, 3, padding=1)
        self.light = nn.Sequential(nn.Linear(3 * wide, wide), nn.ReLU(), nn.Linear(wide, 27))

    def forward(self, photo: Tensor) -> Passes:
        x = self.encoder(photo * 2 - 1)
        normals, albedos = self.normal_branch(x), self.albedo_branch(x)
        size = photo.shape[2:]

        def full(y: Tensor) -> Tensor:
            return F.interpolate(y, size=size, mode="bilinear", align_corners=False)

        up = torch.tensor([0.0, 0.0, 2.0], device=x.device).view(1, 3, 1, 1)
        normal = F.normalize(full(self.normal_head(normals)) + up, dim=1)
        pooled = torch.cat([y.mean(dim=(2, 3)) for y in (x, normals, albedos)], dim=1)
        light = self.light(pooled).view(-1, 9, 3)
        basis = sh_basis(normal.permute(0, 2, 3, 1), 2)
        shading = torch.einsum("bhwc,bck->bkhw", basis, light) + 1.0
        albedo = torch.sigmoid(full(self.albedo_head(albedos)))
        return {"albedo": albedo, "normal": normal * 0.5 + 0.5, "shading": shading}

    def loss(self, made: Passes, batch: Batch) -> Tensor:
        mask = batch["mask"]
        rebuilt = srgb_to_linear(made["albedo"]) * made["shading"]
        return (
            _colour_loss(made["albedo"], batch["albedo"], mask)
            + masked_l1(made["normal"], batch["normal"], mask)
            + 0.5 * masked_l1(rebuilt, srgb_to_linear(batch["input"]), mask)
        )


class RGB2AO(nn.Module):
    """RGB2AO-style (Inoue et al. 2020): one colour picture -> ambient occlusion (B, 1, S, S), by a U-Net."""

    def __init__(self, base: int = 32) -> None:
        super().__init__()
        self.unet = UNet(1, base, levels=5)

    def forward(self, photo: Tensor) -> Passes:
        return {"ambient_occlusion": torch.sigmoid(self.unet(photo * 2 - 1) + 2.0)}

    def loss(self, made: Passes, batch: Batch) -> Tensor:
        return _colour_loss(made["ambient_occlusion"], batch["ambient_occlusion"], batch["mask"])


BASELINES: dict[str, type[nn.Module]] = {"unet6l": UNet6L, "sfsnet": SfSNet, "rgb2ao": RGB2AO}


def _colour_loss(made: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    return masked_l1(made, truth, mask) + multiscale_gradient(made, truth, mask)


def train(net: nn.Module, source: Source, options: argparse.Namespace) -> None:
    """Adam with a cosine to zero over ``--steps``; a checkpoint a minute and at the end."""
    optimizer = torch.optim.Adam(net.parameters(), lr=options.lr)
    path = options.out / "baseline.pt"
    start = 0
    if path.is_file():
        state = torch.load(path, weights_only=True, map_location=options.device)
        net.load_state_dict(state["net"])
        optimizer.load_state_dict(state["optimizer"])
        start = int(state["step"])
    options.out.mkdir(parents=True, exist_ok=True)
    saved = time.monotonic()
    bar = tqdm(range(start, options.steps), initial=start, total=options.steps, unit="step")
    for step in bar:
        for group in optimizer.param_groups:
            phase = torch.tensor(torch.pi * step / options.steps)
            group["lr"] = options.lr * 0.5 * (1 + float(torch.cos(phase)))
        batch = {k: v.to(options.device) for k, v in source.batch_at(step).items()}
        loss = net.loss(net(batch["input"]), batch)  # type: ignore[operator]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        bar.set_postfix(loss=f"{float(loss.detach()):.4f}")
        if time.monotonic() - saved > 60 or step + 1 == options.steps:
            state = {"net": net.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}
            torch.save(state, path.with_suffix(".partial"))
            os.replace(path.with_suffix(".partial"), path)
            saved = time.monotonic()
    save_file(
        {k: v.contiguous() for k, v in net.state_dict().items()},
        options.out / "baseline.safetensors",
        metadata={"method": options.method, "steps": str(options.steps), "size": str(options.size)},
    )


def predict(net: nn.Module, data: FolderData, options: argparse.Namespace) -> int:
    """Write ``<predict>/<ID or ID+input>/<pass file>`` for every input of the split; how many."""
    written = 0
    with torch.no_grad():
        for name in data.ids:
            own = [p.stem for p in sorted((data.root / name).glob("input*.png"))]
            for which in range(data.num_inputs(name)):
                made = net(data.sample(name, which)["input"].to(options.device))
                folder = options.predict / (f"{name}+{own[which]}" if len(own) > 1 else name)
                folder.mkdir(parents=True, exist_ok=True)
                for key, x in made.items():
                    if key in PASS_BY_KEY:
                        x = area_resize(x, options.size)[0].permute(1, 2, 0).cpu().numpy()
                        write_map(folder / PASS_BY_KEY[key].dataset_file, x)
                written += 1
    return written


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--method", choices=tuple(BASELINES), required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--textures", type=Path)
    parser.add_argument("--pool", type=Path, help="train on a filled pool of the light stage")
    parser.add_argument("--predict", type=Path, help="write predictions instead of training")
    parser.add_argument(
        "--split", default="test", help="of --predict: train, validation, test, all"
    )
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--base", type=int, default=32)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--lr", type=float, default=2e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    options = parse(argv)
    torch.manual_seed(options.seed)
    net: Any = BASELINES[options.method](base=options.base).to(options.device)
    if options.predict:
        if options.data is None:
            raise ConfigError("expected --data DIR with --predict; got none")
        net.load_state_dict(load_file(options.out / "baseline.safetensors"))
        splits = ("train", "validation", "test") if options.split == "all" else (options.split,)
        written = 0
        for split in splits:
            try:
                data = FolderData(
                    options.data, split, options.size, 1, 0, options.textures, False, False
                )
            except DataError as error:  # a small set has splits without IDs
                if options.split != "all":
                    raise
                print(f"{split}: {error}")
                continue
            written += predict(net.eval(), data, options)
        print(f"{written} predictions in {options.predict}")
        return
    source: Source
    if options.pool is not None:
        source = PoolSource(Pool(options.pool), options.batch, options.seed, size=options.size)
    elif options.data is not None:
        source = FolderData(
            options.data, "train", options.size, options.batch, options.seed, options.textures
        )
    else:
        raise ConfigError("expected --data DIR or --pool DIR; got neither")
    train(net, source, options)
    print(options.out / "baseline.safetensors")


if __name__ == "__main__":
    main()
