"""VGG-19 feature loss and LPIPS, where their trunks are on this machine; nothing is downloaded.

The trunks are looked for where torch keeps downloads (`$TORCH_HOME/hub/checkpoints`), under the names
torchvision gives them. Without them the run says so and uses the `offline` recipe.
"""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import LossWeights
from .losses import masked_l1

VGG19_FILE, VGG16_FILE = "vgg19-dcbb9e9d.pth", "vgg16-397923af.pth"
VGG19_WIDTHS = (64, 64, 0, 128, 128, 0, 256, 256, 256, 256, 0, 512, 512, 512, 512)
VGG16_WIDTHS = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512)
VGG19_TAPS = (2, 4, 8, 12)  # relu1_2, relu2_2, relu3_4, relu4_4, counted in convolutions
VGG16_TAPS = (2, 4, 7, 10, 13)  # LPIPS: the last ReLU of every block
PATCH_PX, NUM_PATCHES = 128, 3


class Trunk(nn.Module):
    """VGG convolutions with taps; width 0 is a 2x2 max pooling. Input (B, 3, H, W) in [-1, 1]."""

    def __init__(self, widths: tuple[int, ...], taps: tuple[int, ...]) -> None:
        super().__init__()
        self.taps = taps
        layers: dict[str, nn.Module] = {}
        channels, index = 3, 0
        for width in widths:
            if width:
                layers[str(index)] = nn.Conv2d(channels, width, 3, padding=1)
                layers[str(index + 1)] = nn.ReLU()
                channels, index = width, index + 2
            else:
                layers[str(index)] = nn.MaxPool2d(2)
                index += 1
        self.features = nn.ModuleDict(layers)  # torchvision's names: features.<index>
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406])[:, None, None])
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225])[:, None, None])

    def load_trunk(self, path: Path) -> None:
        weights = torch.load(path, map_location="cpu", weights_only=True)
        own = {k for k in self.state_dict() if k.startswith("features.")}
        self.load_state_dict({k: weights[k] for k in own}, strict=False)
        self.eval().requires_grad_(False)

    def forward(self, signed: Tensor) -> list[Tensor]:
        x = (signed * 0.5 + 0.5 - self.mean) / self.std
        results, convolutions = [], 0
        for layer in self.features.values():
            x = layer(x)
            if isinstance(layer, nn.ReLU):
                convolutions += 1
                if convolutions in self.taps:
                    results.append(x)
        return results


def trunk_path(name: str) -> Path | None:
    """Where a trunk lies on this machine, or None."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    return path if path.is_file() else None


def lpips_heads() -> Path | None:
    """The LPIPS v0.1 linear heads for VGG-16, from the installed wheel (which is not imported)."""
    spec = importlib.util.find_spec("lpips")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "weights" / "v0.1" / "vgg.pth"
    return path if path.is_file() else None


def offline(weights: LossWeights) -> LossWeights:
    """The weights with discriminator features, SSIM and gradients standing in for the trunks."""
    return replace(
        weights,
        features=weights.features or 10.0,
        adversarial=weights.adversarial or 0.1,  # the features must be trained by something
        ssim=weights.ssim or 0.2,
        gradient=weights.gradient or 2.0,
    )


class Perceptual:
    """The two perceptual terms of a run; `recipe` says in words what is used.

    `effective` are the loss weights to use: as given, or with the `offline` terms joined.
    """

    def __init__(self, weights: LossWeights, device: torch.device) -> None:
        self.weights = weights
        self.vgg: Trunk | None = None
        self.lpips: Trunk | None = None
        missing = []
        if weights.vgg > 0:
            if path := trunk_path(VGG19_FILE):
                self.vgg = Trunk(VGG19_WIDTHS, VGG19_TAPS).to(device)
                self.vgg.load_trunk(path)
            else:
                missing.append(VGG19_FILE)
        if weights.lpips > 0:
            path, heads = trunk_path(VGG16_FILE), lpips_heads()
            if path and heads:
                self.lpips = Trunk(VGG16_WIDTHS, VGG16_TAPS).to(device)
                self.lpips.load_trunk(path)
                linear = torch.load(heads, map_location=device, weights_only=True)
                self.heads = [linear[f"lin{i}.model.1.weight"] for i in range(len(VGG16_TAPS))]
            else:
                missing.append(VGG16_FILE if heads else "the lpips wheel")
        if missing:
            self.recipe = f"offline recipe (not on this machine: {', '.join(missing)})"
        elif weights.vgg > 0 or weights.lpips > 0:
            self.recipe = "perceptual losses on"
        else:
            self.recipe = "offline recipe"
        self.missing = tuple(missing)
        self.effective = offline(weights) if missing else weights

    def terms(
        self, prediction: Tensor, target: Tensor, weight: Tensor, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Weighted terms for signed images of any number of RGB triples, (B, 3n, H, W)."""
        if self.vgg is None and self.lpips is None:
            return {}
        p, t = (x.reshape(-1, 3, *x.shape[2:]) for x in (prediction, target))
        w = weight.repeat_interleave(prediction.shape[1] // 3, dim=0)
        terms = {}
        if self.vgg is not None:
            terms["vgg"] = self.weights.vgg * self._vgg(self.vgg, p, t, w)
        if self.lpips is not None:
            terms["lpips"] = self.weights.lpips * self._lpips(self.lpips, p, t, generator)
        return terms

    @staticmethod
    def _vgg(trunk: Trunk, p: Tensor, t: Tensor, w: Tensor) -> Tensor:
        with torch.no_grad():
            true = trunk(t)
        pairs = zip(trunk(p), true, strict=True)
        return torch.stack(
            [masked_l1(a, b, F.adaptive_avg_pool2d(w, a.shape[2:])) for a, b in pairs]
        ).mean()

    def _lpips(self, trunk: Trunk, p: Tensor, t: Tensor, generator: torch.Generator) -> Tensor:
        """LPIPS v0.1 (Zhang et al. 2018) on random patches."""
        side = min(PATCH_PX, *p.shape[2:])
        total = []
        for _ in range(NUM_PATCHES):
            row, col = (
                int(torch.randint(0, s - side + 1, (1,), generator=generator)) for s in p.shape[2:]
            )
            a, b = (trunk(x[..., row : row + side, col : col + side]) for x in (p, t))
            for fa, fb, head in zip(a, b, self.heads, strict=True):
                difference = (F.normalize(fa, dim=1) - F.normalize(fb, dim=1)).square()
                total.append((difference * head).sum(dim=1).mean())
        return torch.stack(total).sum() / NUM_PATCHES
