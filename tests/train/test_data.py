"""Sources: the published layout, splits, errors by ID, the replay pool."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.images import write_map
from train.data import (
    DataError,
    FolderData,
    Pool,
    PoolPlan,
    PoolSource,
    fill_pool,
    landmark_hull,
    mirror,
    split_of,
)

TEST_PLAN = {"size": 32, "bank": Path("unused")}


def test_split_is_by_hash_and_about_90_5_5() -> None:
    splits = [split_of(f"{i:06d}") for i in range(4000)]
    shares = {s: splits.count(s) / 4000 for s in ("train", "validation", "test")}
    assert shares["train"] == pytest.approx(0.9, abs=0.02)
    assert shares["test"] == pytest.approx(0.05, abs=0.015)
    assert split_of("000000") == split_of("000000")


def test_folder_reads_the_published_layout(tiny_folder: Path) -> None:
    data = FolderData(tiny_folder, "train", 16, 4, flip=False)
    batch = data.batch_at(0)
    assert batch["input"].shape == (4, 3, 16, 16) and batch["specular"].shape == (4, 1, 16, 16)
    assert batch["normal"][:, 2].min() > 0.9 and set(batch["mask"].unique().tolist()) <= {0.0, 1.0}
    others = [FolderData(tiny_folder, s, 16, 1).ids for s in ("validation", "test")]
    assert not set(data.ids) & set(others[0]) and not set(others[0]) & set(others[1])


def test_every_epoch_sees_every_id_once(tiny_folder: Path) -> None:
    data = FolderData(tiny_folder, "train", 16, 1, flip=False)
    seen: list[str] = []
    data.sample = lambda name, which=0: seen.append(name) or {"input": torch.zeros(1, 3, 1, 1)}  # type: ignore
    for step in range(2 * len(data.ids)):
        data.batch_at(step)
    half = len(data.ids)
    assert sorted(seen[:half]) == sorted(seen[half:]) == data.ids and seen[:half] != seen[half:]


def test_batches_depend_on_seed_and_step_alone(tiny_folder: Path) -> None:
    a, b = (FolderData(tiny_folder, "train", 16, 2, seed=5) for _ in range(2))
    a.batch_at(0)
    assert torch.equal(a.batch_at(7)["input"], b.batch_at(7)["input"])


def test_missing_map_is_reported_by_id_and_skipped_only_when_told(tiny_folder: Path) -> None:
    bad = FolderData(tiny_folder, "train", 16, 1).ids[3]
    (tiny_folder / bad / "specular.png").unlink()
    with pytest.raises(DataError, match=f"{bad}: missing specular.png.*--skip-bad"):
        FolderData(tiny_folder, "train", 16, 1)
    with pytest.warns(UserWarning, match=bad):
        data = FolderData(tiny_folder, "train", 16, 1, skip_bad=True)
    assert bad not in data.ids


def test_damaged_map_and_missing_input_name_the_id(tiny_folder: Path) -> None:
    data = FolderData(tiny_folder, "train", 16, 1)
    first, second = data.ids[:2]
    (tiny_folder / first / "normal.png").write_bytes(b"not a png")
    with pytest.raises(DataError, match=f"ID {first}: expected a readable normal.png"):
        data.sample(first)
    (tiny_folder / f"{second}.png").unlink()
    with pytest.raises(DataError, match=f"{second}.png"):
        FolderData(tiny_folder, "train", 16, 1)
    with pytest.raises(DataError, match="--data"):
        FolderData(tiny_folder / "none", "train", 16, 1)


def test_generator_layout_with_several_lights_and_a_mask(tiny_folder: Path) -> None:
    name = FolderData(tiny_folder, "train", 32, 1).ids[0]
    for i in range(2):
        write_map(tiny_folder / name / f"input_{i}.png", np.full((32, 32, 3), 0.2 + 0.5 * i))
    mask = np.zeros((32, 32))
    mask[:8] = 1
    write_map(tiny_folder / name / "mask.png", mask)
    data = FolderData(tiny_folder, "train", 32, 1, flip=False)
    assert data.num_inputs(name) == 2
    assert data.sample(name, 1)["input"].mean() == pytest.approx(0.7, abs=0.01)
    assert float(data.sample(name)["mask"].mean()) == pytest.approx(0.25)


def test_mirror_turns_normals(tiny_source: Any) -> None:
    batch = tiny_source().batch_at(0)
    flipped = mirror(batch)
    a, b = batch["normal"] * 2 - 1, flipped["normal"].flip(-1) * 2 - 1
    assert torch.allclose(a[:, 0], -b[:, 0], atol=1e-6) and torch.equal(a[:, 1:], b[:, 1:])
    back = mirror(flipped)
    assert all(torch.allclose(back[k], batch[k], atol=1e-6) for k in batch)


def filled(folder: Path, source: Any, count: int, capacity: int = 8, **plan: Any) -> Pool:
    setup = PoolPlan(folder, capacity=capacity, **TEST_PLAN, **plan)
    fill_pool(setup, count=count, make=lambda bank, size, seed, split: source(size, 1, seed))
    return Pool(folder)


def test_pool_keeps_samples_over_restarts_and_replaces_the_oldest(
    tiny_source: Any, tmp_path: Path
) -> None:
    pool = filled(tmp_path, tiny_source, 5)
    assert len(pool) == 5 and pool.filled() == [0, 1, 2, 3, 4]
    pool = filled(tmp_path, tiny_source, 5)
    assert len(pool) == 8 and pool.stamp.tolist() == [2, 2, 1, 1, 1, 1, 1, 1]
    inputs = pool.read(range(8))["input"]
    assert len({float(x.sum()) for x in inputs}) == 8  # a restarted writer repeats nothing


def test_pool_knows_one_face_under_several_lights(tiny_source: Any, tmp_path: Path) -> None:
    pool = filled(tmp_path, tiny_source, 6, lights=2)
    assert pool.faces() == [[0, 1], [2, 3], [4, 5]]
    pair = pool.read([2, 3])
    assert torch.equal(pair["albedo"][0], pair["albedo"][1])
    assert not torch.equal(pair["input"][0], pair["input"][1])


def test_pool_values_survive_storage(tiny_source: Any, tmp_path: Path) -> None:
    pool = Pool(tmp_path, 32, 2)
    batch = tiny_source(32, 1).batch_at(0)
    pool.write(0, batch, 0)
    stored = pool.read([0])
    assert (stored["albedo"] - batch["albedo"]).abs().max() <= 0.5 / 255 + 1e-6
    assert (stored["normal"] - batch["normal"]).abs().max() <= 0.5 / 65535 + 1e-6


def test_pool_source_is_repeatable_and_skips_half_written_slots(
    tiny_source: Any, tmp_path: Path
) -> None:
    pool = filled(tmp_path, tiny_source, 6)
    a, b = (PoolSource(Pool(tmp_path), 3, seed=1).batch_at(4) for _ in range(2))
    assert torch.equal(a["input"], b["input"])
    pool.stamp[:5] = 0
    batch = PoolSource(pool, 2, flip=False).batch_at(0)
    assert torch.equal(batch["input"][0], batch["input"][1])
    pool.stamp[:] = 0
    with pytest.raises(DataError, match="--fill"):
        PoolSource(pool, 2).batch_at(0)


def test_a_large_pool_serves_smaller_training(tiny_source: Any, tmp_path: Path) -> None:
    pool = filled(tmp_path, tiny_source, 4)
    small = PoolSource(pool, 2, flip=False, size=16).batch_at(0)
    large = PoolSource(pool, 2, flip=False).batch_at(0)
    assert small["input"].shape == (2, 3, 16, 16)
    assert torch.allclose(small["input"].mean((2, 3)), large["input"].mean((2, 3)), atol=1e-4)
    assert torch.allclose((small["normal"] * 2 - 1).norm(dim=1), torch.ones(2, 16, 16), atol=1e-4)
    with pytest.raises(DataError, match="multiple of 24"):
        PoolSource(pool, 2, size=24)


def test_pool_of_another_size_is_refused(tmp_path: Path) -> None:
    Pool(tmp_path, 32, 2)
    with pytest.raises(DataError, match="size 32"):
        Pool(tmp_path, 64, 2)
    with pytest.raises(DataError, match="--fill"):
        Pool(tmp_path / "none")


def test_writer_ends_with_its_parent_and_splits_have_seeds_of_their_own(
    tiny_source: Any, tmp_path: Path
) -> None:
    seeds: list[int] = []

    def make(bank: Path, size: int, seed: int, split: str) -> Any:
        seeds.append(seed)
        return tiny_source(size, 1, seed)

    for split in ("train", "val"):
        plan = PoolPlan(tmp_path / split, capacity=4, split=split, **TEST_PLAN)
        fill_pool(plan, make=make, parent=os.getppid() + 1)
        assert len(Pool(tmp_path / split)) == 0
    assert seeds[1] - seeds[0] == 1_000_003


def test_mask_is_the_dilated_hull_of_the_landmarks() -> None:
    mask = landmark_hull(512)[0, 0]
    rows, columns = mask.nonzero(as_tuple=True)
    jaw = (0.180 * 512, 0.820 * 512)  # u of the jaw's ends in the layout
    assert (
        abs(int(columns.min()) - (jaw[0] - 15)) <= 3
        and abs(int(columns.max()) - (jaw[1] + 15)) <= 3
    )
    assert torch.equal(mask, mask.flip(-1)) or (mask - mask.flip(-1)).abs().mean() < 0.01
    assert mask[: int(rows.min())].sum() == 0 and 0.15 < float(mask.mean()) < 0.5
