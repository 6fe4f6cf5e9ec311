"""Where training samples come from: a data set folder, a replay pool, or the light stage itself.

A source gives `batch_at(step)`, a function of (seed, step) alone (but for `LiveSource` and a pool
that is being refreshed), so a resumed run sees what the uninterrupted one would have seen. A batch is
a dict of float32 tensors, stored values in [0, 1]: input, albedo, raw_diffuse (B, 3, S, S)
sRGB-encoded; normal (B, 3, S, S); ambient_occlusion, specular, translucency, mask (B, 1, S, S).
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from core.errors import InputError
from core.head_model import HeadModel
from core.images import read_map
from core.passes import PASSES

Batch = dict[str, Tensor]
CHANNELS: dict[str, int] = {"input": 3, "mask": 1} | {row.key: row.channels for row in PASSES}
HULL_MARGIN_PX = 15
SPLITS = ("train", "validation", "test")
HELD_OUT_SEED = 1_000_003  # light-stage seeds from here on are never trained on


class DataError(InputError):
    """A data set that cannot be read; the message names the ID."""


class Source(Protocol):
    """What the training loop asks of data."""

    size: int
    rows: slice
    """Which of the global batch's samples this process takes (`Ranks.rows`)."""

    def batch_at(self, step: int) -> Batch: ...


def split_of(identity: str) -> str:
    """train, validation or test (90/5/5) by hash of the ID: the same on every machine."""
    value = int.from_bytes(hashlib.sha256(identity.encode()).digest()[:4], "big") / 2**32
    return "train" if value < 0.9 else "validation" if value < 0.95 else "test"


def mirror(batch: Batch) -> Batch:
    """The batch seen in a mirror: the layout is symmetric, u -> 1-u; a normal's x turns round."""
    flipped = {k: v.flip(-1) if v.ndim == 4 else v for k, v in batch.items()}
    normal = flipped["normal"].clone()
    normal[:, 0] = 1.0 - normal[:, 0]
    return flipped | {"normal": normal}


def mirror_some(batch: Batch, rng: np.random.Generator, total: int, rows: slice) -> Batch:
    """Mirror a random half of the samples; these are `rows` of a global batch of `total`."""
    pick = torch.from_numpy(rng.random(total)[rows] < 0.5)
    other = mirror(batch)
    return {
        k: torch.where(pick.view(-1, *[1] * (v.ndim - 1)), other[k], v) for k, v in batch.items()
    }


@lru_cache(maxsize=4)
def landmark_hull(size: int) -> Tensor:
    """(1, 1, size, size): 1 in the hull of the layout's 68 landmarks, dilated by 15 px of 512 (the paper)."""
    points = HeadModel.load().landmarks68_uv * [size, -size] + [0, size]
    mask = np.zeros((size, size), np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(points.round().astype(np.int32)), 1)
    side = 2 * round(HULL_MARGIN_PX * size / 512) + 1
    round_brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return torch.from_numpy(cv2.dilate(mask, round_brush)).float()[None, None]


class FolderData:
    """FFHQ-UV-Intrinsics as published, or the generator's set in the same layout.

    root: `<ID>/{diffuse,ambient_occlusion,normal,specular,translucency,light_normalized}.png`;
    input texture `<ID>/input*.png`, else `<textures or root>/<ID>.png`; optional `<ID>/mask.png`, else
    the paper's mask (`landmark_hull`) where the diffuse map is not black. Missing or unreadable maps are
    reported by ID, and skipped only with `skip_bad`.
    """

    def __init__(
        self,
        root: Path,
        split: str,
        size: int,
        batch: int,
        seed: int = 0,
        textures: Path | None = None,
        skip_bad: bool = False,
        flip: bool = True,
    ) -> None:
        if split not in SPLITS:
            raise DataError(f"expected a split of {SPLITS}; got {split!r}")
        if not root.is_dir():
            raise DataError(f"expected a data set folder; got {root}; give --data DIR")
        self.root, self.size, self.batch, self.seed, self.flip = root, size, batch, seed, flip
        self.textures, self.rows = textures or root, slice(None)
        found = sorted(p.name for p in root.iterdir() if p.is_dir())
        wanted = [name for name in found if split_of(name) == split]
        problems = {name: text for name in wanted if (text := self._problem(name))}
        if problems and not skip_bad:
            listed = "; ".join(f"{k}: {v}" for k, v in list(problems.items())[:5])
            raise DataError(
                f"expected complete IDs in {root}; got {len(problems)} bad: {listed}; "
                "mend them or pass --skip-bad"
            )
        for name, text in problems.items():
            warnings.warn(f"skipped ID {name}: {text}", stacklevel=2)
        self.ids = [name for name in wanted if name not in problems]
        if not self.ids:
            raise DataError(
                f"expected IDs of the {split} split in {root}; got {len(found)} IDs, "
                f"{len(wanted)} of that split, {len(problems)} bad; add samples"
            )

    def _inputs(self, name: str) -> list[Path]:
        own = sorted((self.root / name).glob("input*.png"))
        shared = self.textures / f"{name}.png"
        return own or ([shared] if shared.is_file() else [])

    def _problem(self, name: str) -> str:
        missing = [
            r.dataset_file for r in PASSES if not (self.root / name / r.dataset_file).is_file()
        ]
        if not self._inputs(name):
            missing.append(f"{name}.png (input texture)")
        if missing:
            return "missing " + ", ".join(missing)
        empty = [
            r.dataset_file for r in PASSES if not (self.root / name / r.dataset_file).stat().st_size
        ]
        return "empty file " + ", ".join(empty) if empty else ""

    def _map(self, path: Path, channels: int, name: str) -> Tensor:
        try:
            array = read_map(path)
        except Exception as error:
            raise DataError(f"ID {name}: expected a readable {path.name}; got {error}") from error
        x = torch.from_numpy(np.ascontiguousarray(array)).permute(2, 0, 1)[None]
        if x.shape[1] != channels:
            x = x.mean(dim=1, keepdim=True) if channels == 1 else x[:, :1].expand(-1, 3, -1, -1)
        return area_resize(x, self.size)

    def num_inputs(self, name: str) -> int:
        """How many input textures (lights) an ID has."""
        return len(self._inputs(name))

    def sample(self, name: str, which: int = 0) -> Batch:
        """All maps of one ID as (1, C, S, S); `which` of its inputs, if it has several."""
        inputs = self._inputs(name)
        batch = {"input": self._map(inputs[which % len(inputs)], 3, name)}
        for row in PASSES:
            batch[row.key] = self._map(self.root / name / row.dataset_file, row.channels, name)
        mask = self.root / name / "mask.png"
        if mask.is_file():
            batch["mask"] = (self._map(mask, 1, name) > 0.5).float()
        else:
            there = (batch["albedo"].amax(dim=1, keepdim=True) > 0.02).float()
            batch["mask"] = there * landmark_hull(self.size)
        return batch

    def batch_at(self, step: int) -> Batch:
        """Samples of step `step`: every epoch visits each ID once, in an order of its own."""
        names = []
        for i in range(step * self.batch, (step + 1) * self.batch):
            epoch, place = divmod(i, len(self.ids))
            order = np.random.default_rng((self.seed, epoch)).permutation(len(self.ids))
            names.append((self.ids[order[place]], epoch))
        parts = [self.sample(name, epoch) for name, epoch in names[self.rows]]
        batch = {k: torch.cat([p[k] for p in parts]) for k in parts[0]}
        rng = np.random.default_rng((self.seed, 1, step))
        return mirror_some(batch, rng, self.batch, self.rows) if self.flip else batch


def area_resize(x: Tensor, size: int) -> Tensor:
    """(B, C, H, W) -> (B, C, size, size); area average when shrinking, bilinear when growing."""
    if x.shape[-1] == size and x.shape[-2] == size:
        return x
    if size < x.shape[-1]:
        return F.interpolate(x, size=(size, size), mode="area")
    return F.interpolate(x, size=(size, size), mode="bilinear", align_corners=False)


def shrink(batch: Batch, size: int) -> Batch:
    """The batch at a smaller size: area averages, normals unit length again."""
    if batch["input"].shape[-1] == size:
        return batch
    small = {k: area_resize(v, size) if v.ndim == 4 else v for k, v in batch.items()}
    normal = F.normalize(small["normal"] * 2 - 1, dim=1)
    return small | {"normal": normal * 0.5 + 0.5}


class Pool:
    """Ring of samples in memory-mapped files, so several processes share them and restarts keep them.

    Normals are stored with 16 bits, the rest with 8. Writer w of n fills slots w, w+n, ...; a slot's
    stamp is 0 while it is written and counts up after, so a reader can tell that it read one sample.
    """

    def __init__(self, folder: Path, size: int = 0, capacity: int = 0) -> None:
        self.folder = folder
        info = folder / "pool.json"
        if info.is_file():
            stored = json.loads(info.read_text())
            if size and stored["size"] != size:
                raise DataError(
                    f"expected a pool of size {size}; got {folder} of size {stored['size']}; "
                    "give another --pool"
                )
            size, capacity = stored["size"], stored["capacity"]
        elif not (size and capacity):
            raise DataError(f"expected a pool in {folder}; got none; fill it with --fill N")
        else:
            folder.mkdir(parents=True, exist_ok=True)
        self.size, self.capacity = size, capacity
        self.maps = {
            key: self._file(key, "u2" if key == "normal" else "u1", (capacity, c, size, size))
            for key, c in CHANNELS.items()
        }
        self.ita_deg = self._file("ita_deg", "f4", (capacity,))
        self.identity_id = self._file("identity_id", "i8", (capacity,))
        self.stamp = self._file("stamp", "i8", (capacity,))
        if not info.is_file():
            info.write_text(json.dumps({"size": size, "capacity": capacity}))

    def _file(self, key: str, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
        path = self.folder / f"{key}.bin"
        return np.memmap(path, dtype=dtype, mode="r+" if path.is_file() else "w+", shape=shape)

    def filled(self) -> list[int]:
        """Slots that hold a whole sample."""
        return np.flatnonzero(self.stamp > 0).tolist()

    def faces(self) -> list[list[int]]:
        """Slots in a row that hold one face under several lights (equal ID and equal albedo)."""
        runs: list[list[int]] = []
        for slot in self.filled():
            last = runs[-1][-1] if runs else None
            same = last == slot - 1 and self.identity_id[last] == self.identity_id[slot]
            if same and np.array_equal(self.maps["albedo"][last], self.maps["albedo"][slot]):
                runs[-1].append(slot)
            else:
                runs.append([slot])
        return runs

    def __len__(self) -> int:
        return len(self.filled())

    def write(self, slot: int, batch: Batch, index: int) -> None:
        """Store sample `index` of a batch in a slot."""
        stamp = int(self.stamp[slot])
        self.stamp[slot] = 0
        for key, array in self.maps.items():
            top = np.iinfo(array.dtype).max
            value = batch[key][index].detach().to("cpu", torch.float32).clamp(0, 1)
            array[slot] = (value * top).round().numpy().astype(array.dtype)
        self.ita_deg[slot] = float(batch["ita_deg"][index]) if "ita_deg" in batch else np.nan
        self.identity_id[slot] = int(batch["identity_id"][index]) if "identity_id" in batch else -1
        self.stamp[slot] = stamp + 1

    def read(self, slots: Iterable[int]) -> Batch:
        """Samples of the given slots as a batch."""
        slots = list(slots)
        batch = {}
        for key, array in self.maps.items():
            values = torch.from_numpy(array[slots].astype(np.float32))
            batch[key] = values / float(np.iinfo(array.dtype).max)
        batch["ita_deg"] = torch.from_numpy(np.array(self.ita_deg[slots]))
        return batch


class PoolSource:
    """Random samples of a pool, half of them mirrored. Exactly repeatable while nobody writes."""

    def __init__(
        self,
        pool: Pool,
        batch: int,
        seed: int = 0,
        flip: bool = True,
        writers: BackgroundWriters | None = None,
        size: int = 0,
    ) -> None:
        self.pool, self.batch, self.seed, self.flip = pool, batch, seed, flip
        self.size, self.writers, self.rows = size or pool.size, writers, slice(None)
        if pool.size % self.size:
            raise DataError(
                f"expected a pool whose size is a multiple of {self.size}; got {pool.folder} of size "
                f"{pool.size}; give another --pool or --size"
            )

    def batch_at(self, step: int) -> Batch:
        if self.writers is not None and not self.writers.alive():
            text = f"the generators stopped; going on with {len(self.pool)} samples in the pool"
            warnings.warn(text, stacklevel=2)
            self.writers = None
        rng = np.random.default_rng((self.seed, step))
        valid = np.flatnonzero(self.pool.stamp > 0)
        if not len(valid):
            raise DataError(
                f"expected samples in the pool {self.pool.folder}; got none; use --fill N"
            )
        for _ in range(20):
            slots = rng.choice(valid, self.batch, replace=len(valid) < self.batch)
            slots = slots[self.rows]
            before = self.pool.stamp[slots].copy()
            batch = self.pool.read(slots)
            if np.all(before > 0) and np.array_equal(before, self.pool.stamp[slots]):
                break
        batch = shrink(batch, self.size)
        return mirror_some(batch, rng, self.batch, self.rows) if self.flip else batch


class LiveSource:
    """The light stage itself, made on the spot: for a GPU, where rendering is faster than training.

    A run that resumes draws new samples, so unlike the other sources it does not repeat exactly.
    """

    def __init__(self, size: int, batch: int, seed: int, device: str, bank: Path) -> None:
        self.size, self.batch, self.rows = size, batch, slice(None)
        self.stage = make_light_stage(bank, size, seed, "train", device)

    def batch_at(self, step: int) -> Batch:
        return self.stage.sample(len(range(self.batch)[self.rows]))


def make_light_stage(bank: Path, size: int, seed: int, split: str, device: str = "cpu") -> Any:
    """The virtual light stage at one size. "val" and "test" have heads, skies and photos of their own."""
    from .lightstage.generate import LightStage

    try:
        return LightStage(bank, size=size, seed=seed, split=split, device=device)
    except (FileNotFoundError, ValueError) as error:
        raise DataError(str(error)) from error


@dataclass(frozen=True)
class PoolPlan:
    """What a writer puts into a pool."""

    folder: Path
    size: int
    capacity: int
    bank: Path
    seed: int = 0
    split: str = "train"
    lights: int = 1
    """Samples in a row that show one face under different lights."""


def fill_pool(
    plan: PoolPlan,
    writer: int = 0,
    writers: int = 1,
    count: int | None = None,
    parent: int | None = None,
    make: Callable[..., Any] = make_light_stage,
    on_sample: Callable[[int], None] | None = None,
) -> None:
    """Write samples into a pool, oldest slots first: `count` of them, or until `parent` is gone."""
    torch.set_num_threads(1)
    pool = Pool(plan.folder, plan.size, plan.capacity)
    own = np.arange(writer, pool.capacity, writers)
    # samples written so far are part of the seed, so a restarted writer does not repeat itself
    seed = plan.seed + 7919 * writer + 104_729 * (int(pool.stamp.sum()) % 7001)
    if plan.split != "train":
        seed += HELD_OUT_SEED
    stage = make(plan.bank, plan.size, seed, plan.split)
    done = 0
    while count is None or done < count:
        if parent is not None and os.getppid() != parent:
            return
        batch = stage.sample(1) if plan.lights == 1 else stage.sample_views(plan.lights)
        for i in range(plan.lights):
            pool.write(int(own[np.argmin(pool.stamp[own])]), batch, i)
            done += 1
            if on_sample:
                on_sample(done)


class BackgroundWriters:
    """Processes that keep a pool fresh while training runs; they end with the parent."""

    def __init__(self, plan: PoolPlan, writers: int) -> None:
        Pool(plan.folder, plan.size, plan.capacity)
        context = multiprocessing.get_context("spawn")
        self.processes = [
            context.Process(
                target=fill_pool, args=(plan, i, writers, None, os.getpid()), daemon=True
            )
            for i in range(writers)
        ]
        for process in self.processes:
            process.start()

    def alive(self) -> bool:
        return any(process.is_alive() for process in self.processes)

    def wait_for(self, pool: Pool, count: int, say: Callable[[str], None] = print) -> None:
        """Block until the pool holds `count` samples; DataError if the writers died."""
        told = 0.0
        while len(pool) < count:
            if not self.alive():
                raise DataError(
                    f"expected {count} samples in {pool.folder}; got {len(pool)} and the generators "
                    "stopped; see their error above"
                )
            if time.monotonic() - told > 10:
                say(f"waiting for the light stage: {len(pool)} of {count} samples")
                told = time.monotonic()
            time.sleep(0.2)

    def stop(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.join(timeout=5)
