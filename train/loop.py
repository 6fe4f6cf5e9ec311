"""The training loop: steps, schedule, averaged weights, curves, sheets, resume."""

from __future__ import annotations

import copy
import math
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from core.errors import FacePBRError
from core.nets import MAGINet, MultiscaleDiscriminator
from core.nets.pix2pixhd import RAW_DIFFUSE

from . import checkpoint
from .config import Config, ConfigError
from .curves import Curves
from .data import Source
from .losses import feature_matching, lsgan
from .parallel import ALONE, Ranks
from .perceptual import Perceptual
from .sheets import write_sheet
from .tasks import Example, Task, build_net, describe

MAX_BAD_STEPS = 20
PRIOR_BATCHES = 12
LOCAL_BATCHES, LOCAL_STRIDE = 24, 23


class TrainingError(FacePBRError):
    """Training cannot go on."""


def native_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 in hardware (without, it is slower than float32)."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def choose_device(name: str) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("expected a CUDA device for --device cuda; got none; use --device cpu")
    return torch.device(
        ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name
    )


def learning_rate(config: Config, progress: float) -> float:
    """Linear warm-up, then cosine from lr to lr_min, `restarts` times; progress in [0, 1]."""
    progress = min(max(progress, 0.0), 1.0)
    if progress < config.warmup:
        return config.lr * max(progress / config.warmup, 0.02)
    phase = (progress - config.warmup) / (1 - config.warmup) * config.restarts
    phase = phase - math.floor(phase) if progress < 1 else 1.0
    return config.lr_min + 0.5 * (config.lr - config.lr_min) * (1 + math.cos(math.pi * phase))


def _atanh(x: Tensor) -> Tensor:
    return torch.atanh(x.float().clamp(-0.98, 0.98))


class Trainer:
    """One run of one stage on one device."""

    def __init__(
        self,
        config: Config,
        source: Source,
        out: Path,
        *,
        init: Path | None = None,
        maginet: MAGINet | None = None,
        real: list[Tensor] | None = None,
        ranks: Ranks = ALONE,
        quiet: bool = False,
    ) -> None:
        self.source, self.out, self.ranks = source, out, ranks
        self.quiet = quiet or not ranks.leads
        expected = config.size * (2 if config.stage == "refinement" else 1)
        if source.size != expected:
            raise ConfigError(
                f"expected data of size {expected} for {config.stage}; got {source.size}"
            )
        self.config = config
        if config.threads:
            torch.set_num_threads(config.threads)
        self.device = choose_device(config.device)
        wants_bf16 = self.device.type == "cuda" or native_bfloat16()
        self.bfloat16 = config.precision == "bfloat16" or (
            config.precision == "auto" and wants_bf16
        )
        torch.manual_seed(config.seed)
        self.net = build_net(config).to(self.device)
        self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.perceptual = Perceptual(config.loss, self.device)
        config = self.config = config.replace(loss=self.perceptual.effective)
        rows = ranks.rows(config.batch)
        source.rows = slice(None) if config.crop else rows  # crops are shared out, not maps
        self.task = Task(config, maginet, self.device, rows)
        for name, parameter in self.net.named_parameters():
            parameter.requires_grad_(name.startswith(config.only))
        trained = [parameter for parameter in self.net.parameters() if parameter.requires_grad]
        if not trained:
            raise ConfigError(f"expected --only to begin a tensor's name; got {config.only!r}")
        self.optimizer = torch.optim.Adam(trained, lr=config.lr, betas=config.betas)
        self.discriminator: nn.Module | None = None
        if config.loss.adversarial > 0 or config.loss.features > 0:
            channels = 3 + self.task.out_channels
            self.discriminator = MultiscaleDiscriminator(channels).to(self.device)
            self.optimizer_d = torch.optim.Adam(
                self.discriminator.parameters(), lr=config.lr, betas=(0.5, 0.999)
            )
        self.ema = copy.deepcopy(self.net).eval().requires_grad_(False)
        self.real = real or []
        self.step, self.elapsed_s, self.bad_steps = 0, 0.0, 0
        state = checkpoint.load(out)
        if state is not None:
            self._restore(state)
            self.say(f"resumed {out} at step {self.step}, {self.elapsed_s / 60:.1f} min")
        elif init is not None:
            new = checkpoint.warm_start(self.net, init)
            self.ema.load_state_dict(self.net.state_dict())
            parts = ", ".join(sorted({name.split(".")[0] for name in new}))
            self.say(f"started from {init}" + (f"; new: {parts}" if new else ""))
        elif getattr(self.net, "prior", None) is not None:
            self._start_at_mean()
        local = getattr(self.net, "local", None)
        if state is None and local is not None and not local.last.weight.any():
            self._start_local()

    @torch.no_grad()
    def _start_at_mean(self) -> None:
        """Set the learned prior of a new Stage III net to the mean of some training targets."""
        rng = np.random.default_rng((self.config.seed, 4))
        batches = (self.source.batch_at(10**8 + i) for i in range(PRIOR_BATCHES))
        targets = [self.task.example(b, rng).target.mean(0, keepdim=True) for b in batches]
        self.net.set_prior(self.ranks.mean(torch.stack(targets).mean(0)))  # type: ignore[operator]
        self.ema.load_state_dict(self.net.state_dict())

    @torch.no_grad()
    def _start_local(self) -> None:
        """Set the local branch's last layer to the ridge solution on its random features.

        A zero layer learns slowly from L1's noisy signs; the solution is exact for the start (Huang et al. 2006).
        """
        net: Any = self.net
        rng = np.random.default_rng((self.config.seed, 5))
        width = net.local.last.in_channels
        normal = torch.zeros(width + 1, width + 1, dtype=torch.float64)
        right = torch.zeros(width + 1, self.task.out_channels, dtype=torch.float64)
        for i in range(LOCAL_BATCHES):
            example = self.task.example(self.source.batch_at(10**9 + i), rng)
            missing = _atanh(example.target) - _atanh(net(*example.inputs))
            features = net.local.features(net.joined(*example.inputs))
            on_face = (example.weight > 0.5)[:, 0]
            x = features.permute(0, 2, 3, 1)[on_face][::LOCAL_STRIDE].double().cpu()
            y = missing.permute(0, 2, 3, 1)[on_face][::LOCAL_STRIDE].double().cpu()
            x = torch.cat([x, x.new_ones(len(x), 1)], dim=1)
            normal += x.T @ x
            right += x.T @ y
        normal, right = self.ranks.mean(normal), self.ranks.mean(right)
        ridge = 1e-3 * normal.diagonal().mean() * torch.eye(width + 1, dtype=torch.float64)
        solution = torch.linalg.solve(normal + ridge, right).float()
        if net.level_skip:  # the raw diffuse keeps its own ratio
            solution[:, RAW_DIFFUSE] = 0
        net.local.last.weight.copy_(solution[:-1].T[:, :, None, None])
        net.local.last.bias.copy_(solution[-1])
        self.ema.load_state_dict(net.state_dict())

    def say(self, text: str) -> None:
        if not self.quiet:
            tqdm.write(text)

    @property
    def total_steps(self) -> int:
        """Steps of the run; 0 where only the clock rules."""
        if self.config.steps:
            return self.config.steps
        if self.config.epochs:
            ids = getattr(self.source, "ids", None)
            if ids is None:
                raise ConfigError(
                    "expected --steps or --minutes with an endless source; got --epochs"
                )
            return self.config.epochs * math.ceil(len(ids) / self.config.batch)
        return 0

    @property
    def progress(self) -> float:
        """Share of the run done, by steps or by the clock, whichever is further."""
        by_step = self.step / self.total_steps if self.total_steps else 0.0
        limit = self.config.minutes * 60
        return max(by_step, self.elapsed_s / limit if limit else 0.0)

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16)

    def _learned_terms(self, prediction: Tensor, example: Example) -> dict[str, Tensor]:
        """Terms that run a network of their own (under autocast)."""
        generator = torch.Generator().manual_seed(self.step)
        terms = self.perceptual.terms(prediction, example.target, example.weight, generator)
        if self.discriminator is not None:
            fake = self.discriminator(torch.cat([example.condition, prediction], 1))
            if self.config.loss.adversarial > 0:
                terms["adversarial"] = self.config.loss.adversarial * lsgan(fake, True)
            if self.config.loss.features > 0:
                real = self.discriminator(torch.cat([example.condition, example.target], 1))
                terms["features"] = self.config.loss.features * feature_matching(fake, real)
        return terms

    def _train_discriminator(self, prediction: Tensor, example: Example) -> float:
        assert self.discriminator is not None
        with self._autocast():
            fake = self.discriminator(torch.cat([example.condition, prediction.detach()], 1))
            real = self.discriminator(torch.cat([example.condition, example.target], 1))
        loss = 0.5 * (lsgan(fake, False) + lsgan(real, True))
        self.optimizer_d.zero_grad(set_to_none=True)
        loss.backward()
        self.ranks.average_gradients(self.discriminator.parameters())
        self.optimizer_d.step()
        return float(loss.detach())

    def train_step(self) -> dict[str, float]:
        """One optimiser step; returns every loss term, `total` and the learning rate."""
        rate = learning_rate(self.config, self.progress)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        rng = np.random.default_rng((self.config.seed, 2, self.step))
        example = self.task.example(self.source.batch_at(self.step), rng)
        inputs = [x.contiguous(memory_format=torch.channels_last) for x in example.inputs]
        with self._autocast():
            prediction = self.net(*inputs)
            terms = self._learned_terms(prediction, example)
        terms = self.task.terms(prediction, example) | terms
        total = torch.stack([t.float() for t in terms.values()]).sum()
        means = self.ranks.mean(
            torch.stack([*(t.detach().float() for t in terms.values()), total.detach()])
        )
        scalars = dict(zip([*terms, "total"], means.tolist(), strict=True)) | {
            "learning_rate": rate
        }
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        self.ranks.average_gradients(self.net.parameters())
        norm = nn.utils.clip_grad_norm_(self.net.parameters(), self.config.clip or math.inf)
        scalars["gradient_norm"] = float(norm)
        if math.isfinite(scalars["total"]) and math.isfinite(scalars["gradient_norm"]):
            self.optimizer.step()
            self.bad_steps = 0
            self._average()
            if self.discriminator is not None:
                scalars["discriminator"] = self._train_discriminator(prediction, example)
        else:
            self.bad_steps += 1
            if self.bad_steps >= MAX_BAD_STEPS:
                raise TrainingError(
                    f"expected finite losses; got {MAX_BAD_STEPS} bad steps in a row at step "
                    f"{self.step}; lower --lr or pass --precision float32"
                )
        self.step += 1
        return scalars

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        pairs = zip(self.ema.parameters(), self.net.parameters(), strict=True)
        averages, values = zip(*pairs, strict=True)
        torch._foreach_lerp_(list(averages), list(values), 1 - decay)  # type: ignore[attr-defined]

    def state(self) -> dict[str, Any]:
        """Everything a resumed run needs."""
        state: dict[str, Any] = {
            "config": self.config.to_json(),
            "step": self.step,
            "elapsed_s": self.elapsed_s,
            "net": self.net.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "bfloat16": self.bfloat16,
        }
        if self.discriminator is not None:
            state["discriminator"] = self.discriminator.state_dict()
            state["optimizer_d"] = self.optimizer_d.state_dict()
        return state

    def _restore(self, state: dict[str, Any]) -> None:
        saved = Config.from_json(state["config"])
        if saved.stage != self.config.stage or saved.net != self.config.net:
            raise ConfigError(
                f"expected --out with a run of {self.config.stage} {self.config.net}; got "
                f"{saved.stage} {saved.net} in {self.out}; give another --out"
            )
        self.net.load_state_dict(state["net"])
        self.ema.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.bfloat16 = state["bfloat16"]
        if self.discriminator is not None and "discriminator" in state:
            self.discriminator.load_state_dict(state["discriminator"])
            self.optimizer_d.load_state_dict(state["optimizer_d"])
        self.step, self.elapsed_s = state["step"], state["elapsed_s"]

    def save(self) -> bool:
        """Write a checkpoint (rank 0 does); False if the disk refused."""
        return not self.ranks.leads or checkpoint.save(self.out, self.state())

    @torch.no_grad()
    def sheet(self) -> Path:
        """Write sheets/<step>.png: input | prediction | truth, averaged weights, a fixed batch."""
        rng = np.random.default_rng((self.config.seed, 3))
        example = self.task.example(self.source.batch_at(10**9), rng)
        with self._autocast():
            prediction = self.ema(*example.inputs)
        rows = self.task.panels(example, prediction.float())
        shown: list[list[Tensor]] = []
        for image in self.real if self.config.stage == "maginet" else []:
            signed = image[None].to(self.device) * 2 - 1
            with self._autocast():
                out = self.ema(signed)
            shown.append([image, (out[0].float() * 0.5 + 0.5).clamp(0, 1).cpu()])
        samples = [[p[i].cpu() for p in rows] for i in range(min(4, len(rows[0])))]
        return write_sheet(self.out / "sheets" / f"{self.step:06d}.png", samples + shown)

    def run(self) -> dict[str, float]:
        """Train to the limit; returns the means of the last hundred steps' scalars."""
        curves = Curves(self.out / "curves", self.step) if self.ranks.leads else None
        total = self.total_steps
        bar = tqdm(total=1.0, disable=self.quiet, bar_format="{l_bar}{bar}| {postfix}")
        means: dict[str, float] = {}
        last = saved = time.monotonic()
        try:
            while self.progress < 1.0:
                scalars = self.train_step()
                now = time.monotonic()
                self.elapsed_s, step_s, last = self.elapsed_s + now - last, now - last, now
                self.elapsed_s = self.ranks.agree(self.elapsed_s, self.device)
                for key, value in scalars.items():
                    means[key] = value if key not in means else 0.98 * means[key] + 0.02 * value
                if curves is not None and (self.step % 10 == 0 or self.step == 1):
                    curves.add(scalars | {"seconds_per_step": step_s}, self.step)
                left = self.elapsed_s / max(self.progress, 1e-6) - self.elapsed_s
                bar.n = min(self.progress, 1.0)
                bar.set_postfix_str(
                    f"step {self.step}{f'/{total}' if total else ''} loss {means['total']:.4f} "
                    f"{step_s:.2f} s/step, {left / 60:.1f} min left"
                )
                every = self.config.sheet_every
                if self.ranks.leads and every and self.step % every == 0:
                    self.sheet()
                if now - saved > self.config.save_every_s:
                    self.save()
                    saved = time.monotonic()
        finally:
            self.save()
            if curves is not None:
                curves.close()
            bar.close()
        if self.ranks.leads:
            self.sheet()
        return means

    def plan(self) -> str:
        """What the run would do, for --dry-run."""
        net = describe(self.net)
        limit = (
            f"{self.total_steps} steps" if self.total_steps else f"{self.config.minutes} minutes"
        )
        return (
            f"{self.config.stage} ({net['network']}, {net['parameters_m']} M parameters, "
            f"{net['config']}): {limit} of {self.config.batch} x {self.config.size}^2 from "
            f"{type(self.source).__name__} on {self.device} in "
            f"{'bfloat16' if self.bfloat16 else 'float32'}; {self.perceptual.recipe}; to {self.out}"
        )
