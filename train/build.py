"""Puts a run together from its options: sources, trainer, export, validation."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from core.networks import Networks
from core.weights import STAGES, save_stage, write_index

from . import checkpoint
from .config import Config, ConfigError, Options
from .data import (
    BackgroundWriters,
    Batch,
    FolderData,
    LiveSource,
    Pool,
    PoolPlan,
    PoolSource,
    Source,
    fill_pool,
    shrink,
)
from .loop import Trainer, choose_device
from .parallel import join_ranks, leave_ranks
from .sheets import read_real
from .tasks import build_net, load_maginet
from .validate import Predict, mean_maps, table, through_product, through_stages, validate, write

MIN_POOL = 24  # samples to have before the first step
MEAN_BATCHES = 16
LIGHT_STAGE_NOTE = (
    "synthetic faces of train/lightstage with exact truth; the finest skin bands of half of them are "
    "mixed and warped from CC0 portraits, no recognisable face"
)
FOLDER_NOTE = "a data set folder in the FFHQ-UV-Intrinsics layout; its terms apply"
LICENCE = "GPL-3.0-or-later"


def map_size(config: Config) -> int:
    """Side of the maps a stage needs: Stage II is taught with maps of twice its input's size."""
    return config.size * (2 if config.stage == "refinement" else 1)


def train(options: Options) -> None:
    """Train one stage to its limit; resumes `options.out`."""
    config, size = options.config, map_size(options.config)
    writers: BackgroundWriters | None = None
    source: Source
    device = choose_device(config.device)
    ranks = join_ranks(device)
    samples = 1 if config.crop else config.batch
    try:
        if options.data is not None:
            source = FolderData(
                options.data, "train", size, config.batch, config.seed, options.textures,
                options.skip_bad,
            )  # fmt: skip
        elif options.pool is not None:
            if options.writers and not options.dry_run and ranks.leads:
                writers = BackgroundWriters(_pool_plan(options, options.pool), options.writers)
            if writers is not None:
                pool = _open_pool(options, options.pool)
                writers.wait_for(pool, min(MIN_POOL, pool.capacity))
            ranks.agree(0.0, device)  # the other ranks wait here until the pool is there
            pool = _open_pool(options, options.pool)
            source = PoolSource(pool, samples, config.seed, writers=writers, size=size)
        elif device.type == "cuda":
            source = LiveSource(size, samples, config.seed + ranks.rank, "cuda", options.bank)
        else:
            raise ConfigError(
                "expected --data DIR or --pool DIR; got neither; on a CPU give --pool"
            )
        maginet = load_maginet(options.maginet) if options.maginet else None
        real = read_real(options.real, config.size) if options.real else None
        trainer = Trainer(
            config, source, options.out, init=options.init, maginet=maginet, real=real, ranks=ranks
        )
        trainer.say(trainer.plan())
        if options.dry_run:
            return
        means = trainer.run()
        trainer.say(
            f"{trainer.step} steps, {trainer.elapsed_s / 60:.1f} min, loss {means['total']:.4f}"
        )
    finally:
        if writers is not None:
            writers.stop()
        leave_ranks(ranks)


def _open_pool(options: Options, folder: Path) -> Pool:
    """The pool as it is, or a new one of the asked size."""
    if (folder / "pool.json").is_file():
        return Pool(folder)
    return Pool(folder, options.pool_size or map_size(options.config), options.pool_capacity)


def _pool_plan(options: Options, folder: Path) -> PoolPlan:
    pool = _open_pool(options, folder)
    return PoolPlan(
        folder, pool.size, pool.capacity, options.bank, options.config.seed, options.split,
        options.lights,
    )  # fmt: skip


def fill(options: Options) -> None:
    """Write `options.fill` samples into the pool, of heads and skies of `options.split`."""
    if options.pool is None:
        raise ConfigError("expected --pool DIR with --fill; got none")
    plan = _pool_plan(options, options.pool)
    if options.writers > 1:
        pool = Pool(plan.folder)
        writers = BackgroundWriters(plan, options.writers)
        try:
            writers.wait_for(pool, min(len(pool) + options.fill, pool.capacity))
        finally:
            writers.stop()
        return
    with tqdm(total=options.fill, unit="sample") as bar:
        fill_pool(plan, count=options.fill, on_sample=lambda _: (bar.update(), None)[1])


def commit() -> str:
    """Short hash of the checkout, "unknown" outside one."""
    try:
        command = ["git", "rev-parse", "--short", "HEAD"]
        here = Path(__file__).parent
        return subprocess.run(command, cwd=here, capture_output=True, text=True).stdout.strip()
    except OSError:
        return "unknown"


def export(options: Options) -> None:
    """Averaged weights of `options.out` -> `<export>/<stage>.safetensors` (fp16) and the index."""
    state = checkpoint.load(options.out)
    if state is None:
        raise ConfigError(f"expected --out with a checkpoint to export; got {options.out}")
    config = Config.from_json(state["config"])
    net = build_net(config)
    net.load_state_dict(state["ema"])
    run = {
        "preset": config.preset,
        "steps": state["step"],
        "minutes": round(state["elapsed_s"] / 60, 1),
        "batch": config.batch,
        "lr": config.lr,
        "seed": config.seed,
        "commit": commit(),
        "torch": torch.__version__,
        "date": datetime.date.today().isoformat(),
        "loss": {k: v for k, v in vars(config.loss).items() if v},
    }
    metadata = {
        "stage": config.stage,
        "size": str(config.size),
        "training": json.dumps(run),
        "data": FOLDER_NOTE if options.data else LIGHT_STAGE_NOTE,
        "licence": LICENCE,
    }
    assert options.export is not None
    path = options.export / f"{config.stage}.safetensors"
    save_stage(path, net, metadata)
    write_index(options.export)
    print(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")


def _batches(source: FolderData | PoolSource, count: int) -> Iterator[Batch]:
    for step in range(count):
        yield source.batch_at(step)


def _predictor(path: Path, maginet: Path | None) -> Predict:
    """The whole product of a weights folder, or the one stage of a run (Stage III after `maginet`)."""
    state = checkpoint.load(path)
    if state is None:
        if any(not (path / f"{stage}.safetensors").is_file() for stage in STAGES):
            raise ConfigError(f"expected --validate with all stages' weights or a run; got {path}")
        return through_product(Networks(torch.device("cpu"), path))
    config = Config.from_json(state["config"])
    net = build_net(config)
    net.load_state_dict(state["ema"])
    nets: dict[str, nn.Module] = {config.stage: net.eval()}
    if maginet is not None and config.stage == "pix2pixhd":
        nets["maginet"] = load_maginet(maginet)
    return through_stages(nets)


def _provenance(options: Options, result: dict[str, Any]) -> dict[str, Any]:
    """What a record of `bench/results` says of itself, and the model's figures under `summary`."""
    held_out = options.data or options.held_out
    assert held_out is not None
    return {
        "script": "train/run.py --validate",
        "commit": commit(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "seed": options.config.seed,
        "hardware": f"{platform.machine()}, {os.cpu_count()} cores",
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "settings": {"size": options.config.size, "held_out": held_out.name},
        "summary": {k: rows["model"] for k, rows in result.items() if isinstance(rows, dict)},
    }


def score(options: Options) -> None:
    """Figures of `options.validate` on held-out samples -> `<out>/validation.json` and a table.

    With --data: its validation split, mean maps from its training split. Else: the pool --held-out
    (filled with `--split val`: heads, skies and seeds never trained on), mean maps from --pool.
    """
    assert options.validate is not None
    config = options.config
    if config.threads:
        torch.set_num_threads(config.threads)
    predict = _predictor(options.validate, options.maginet)
    if options.data is not None:
        known, held = (
            FolderData(
                options.data, split, config.size, 4, 0, options.textures, options.skip_bad, False
            )
            for split in ("train", "validation")
        )
        means = mean_maps(_batches(known, min(MEAN_BATCHES, -(-len(known.ids) // 4))))
        faces = ([held.sample(n, i) for i in range(held.num_inputs(n))] for n in held.ids)
    elif options.pool is not None and options.held_out is not None:
        known_pool = PoolSource(Pool(options.pool), 4, 0, size=config.size)
        means = mean_maps(_batches(known_pool, MEAN_BATCHES))
        pool = Pool(options.held_out)
        faces = ([shrink(pool.read([i]), config.size) for i in run] for run in pool.faces())
    else:
        raise ConfigError("expected --data DIR, or --pool DIR and --held-out DIR; got neither")
    result = validate(faces, means, predict)
    print(table(result))
    result |= _provenance(options, result)
    print(write(result, options.out / "validation.json"))
