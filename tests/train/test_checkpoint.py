"""Checkpoints: whole or not at all, the one before kept, nothing executable read."""

import pickle
from pathlib import Path

import pytest
import torch

from train import checkpoint


def state(value: float) -> dict[str, object]:
    return {"config": "{}", "net": {"w": torch.full((3,), value)}, "step": int(value)}


def test_round_trip_keeps_the_one_before(tmp_path: Path) -> None:
    assert checkpoint.load(tmp_path) is None
    assert checkpoint.save(tmp_path, state(1)) and checkpoint.save(tmp_path, state(2))
    loaded = checkpoint.load(tmp_path)
    assert loaded is not None and loaded["step"] == 2
    assert checkpoint.read(tmp_path / checkpoint.PREVIOUS)["step"] == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == [checkpoint.LAST, checkpoint.PREVIOUS]


def test_a_truncated_last_falls_back_to_the_one_before(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, state(1))
    checkpoint.save(tmp_path, state(2))
    last = tmp_path / checkpoint.LAST
    last.write_bytes(last.read_bytes()[:100])
    with pytest.warns(UserWarning, match="the one before"):
        loaded = checkpoint.load(tmp_path)
    assert loaded is not None and loaded["step"] == 1
    (tmp_path / checkpoint.PREVIOUS).write_bytes(b"")
    with (
        pytest.warns(UserWarning, match="the one before"),
        pytest.raises(checkpoint.CheckpointError, match="damaged"),
    ):
        checkpoint.load(tmp_path)


def test_a_full_disk_leaves_the_old_one_and_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint.save(tmp_path, state(1))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.torch, "save", full)
    with pytest.warns(UserWarning, match="No space left"):
        assert not checkpoint.save(tmp_path, state(2))
    loaded = checkpoint.load(tmp_path)
    assert loaded is not None and loaded["step"] == 1
    assert [p.name for p in tmp_path.iterdir()] == [checkpoint.LAST]


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("executed",)


def test_a_pickle_is_refused_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "evil.ckpt"
    path.write_bytes(pickle.dumps({"config": "{}", "x": Evil()}))
    with pytest.raises(checkpoint.CheckpointError, match="evil.ckpt"):
        checkpoint.read(path)
    assert "executed" not in capsys.readouterr().out


def test_warm_start_names_what_does_not_fit(tmp_path: Path) -> None:
    small, large = torch.nn.Linear(2, 2), torch.nn.Linear(3, 2)
    checkpoint.save(tmp_path, {"config": "{}", "ema": small.state_dict()})
    twin = torch.nn.Linear(2, 2)
    assert checkpoint.warm_start(twin, tmp_path) == []
    assert torch.equal(twin.weight, small.weight)
    with pytest.raises(checkpoint.CheckpointError, match="weight"):
        checkpoint.warm_start(large, tmp_path)


def test_warm_start_keeps_the_start_of_a_part_the_file_has_not(tmp_path: Path) -> None:
    old = torch.nn.Sequential(torch.nn.Linear(2, 2))
    checkpoint.save(tmp_path, {"config": "{}", "ema": old.state_dict()})
    grown = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 1))
    start = grown[1].weight.clone()
    assert checkpoint.warm_start(grown, tmp_path) == ["1.weight", "1.bias"]
    assert torch.equal(grown[0].weight, old[0].weight) and torch.equal(grown[1].weight, start)
