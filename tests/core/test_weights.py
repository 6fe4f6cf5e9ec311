"""Weights: what is saved loads as the same network, and whatever is wrong with a file is said in one line."""

import json
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from core import weights
from core.errors import WeightsError
from core.nets import MAGINet, Pix2PixHD, RefinementNet


@pytest.fixture(scope="module")
def small() -> dict[str, nn.Module]:
    """One small network per stage, with weights of their own."""
    torch.manual_seed(0)
    return {
        "maginet": MAGINet(base=4),
        "refinement": RefinementNet(base=4),
        "pix2pixhd": Pix2PixHD(ngf=4, num_down=2, num_blocks=1),
    }


@pytest.fixture
def folder(small: dict[str, nn.Module], tmp_path: Path) -> Path:
    """A complete set with its index."""
    for stage, network in small.items():
        weights.save_stage(tmp_path / f"{stage}.safetensors", network, {"stage": stage})
    weights.write_index(tmp_path)
    return tmp_path


@pytest.mark.parametrize("stage", weights.STAGES)
def test_there_and_back(folder: Path, small: dict[str, nn.Module], stage: str) -> None:
    loaded = weights.load_stage(stage, folder)
    assert type(loaded) is type(small[stage]) and loaded.config == small[stage].config
    assert not loaded.training
    for key, value in small[stage].state_dict().items():
        torch.testing.assert_close(
            loaded.state_dict()[key], value.half().float(), rtol=0, atol=0, msg=key
        )
    assert not any(p.requires_grad for p in loaded.parameters())


def test_full_precision_is_kept_when_asked(small: dict[str, nn.Module], tmp_path: Path) -> None:
    path = tmp_path / "refinement.safetensors"
    weights.save_stage(path, small["refinement"], {"stage": "refinement"}, half=False)
    loaded = weights.load_stage("refinement", tmp_path)
    for key, value in small["refinement"].state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value)


def test_metadata_and_hashes(folder: Path, small: dict[str, nn.Module], tmp_path: Path) -> None:
    path = folder / "maginet.safetensors"
    weights.save_stage(path, small["maginet"], {"stage": "maginet", "steps": 12, "data": "x"})
    metadata = weights.read_metadata(path)
    assert metadata["data"] == "x" and json.loads(metadata["steps"]) == 12
    weights.write_index(folder)
    hashes = weights.file_hashes(folder)
    assert {f"{stage}.safetensors" for stage in weights.STAGES} <= set(hashes)
    assert all(len(value) == 64 for value in hashes.values())


def test_nothing_half_written(small: dict[str, nn.Module], tmp_path: Path) -> None:
    class Broken(nn.Module):
        config: dict[str, int] = {}

        def __init__(self) -> None:
            super().__init__()
            self.big = nn.Parameter(torch.tensor([1e6]))

    with pytest.raises(ValueError, match="finite"):
        weights.save_stage(tmp_path / "maginet.safetensors", Broken(), {"stage": "maginet"})
    with pytest.raises(ValueError, match="stage"):
        weights.save_stage(tmp_path / "maginet.safetensors", small["maginet"], {})
    assert not list(tmp_path.iterdir())


def spoil(folder: Path, kind: str) -> str:
    """Spoil the maginet file of a set; returns what the message must say."""
    path = folder / "maginet.safetensors"
    data = path.read_bytes()
    if kind == "missing":
        path.unlink()
        return "nothing there"
    if kind == "empty":
        path.write_bytes(b"")
        return "expected safetensors"
    if kind == "pickle":
        path.write_bytes(pickle.dumps({"weight": [1.0]}))
        return "pickle"
    if kind == "torch":
        torch.save({"weight": torch.ones(2)}, path)
        return "pickle"
    if kind == "truncated":
        path.write_bytes(data[: len(data) // 2])
        return "SHA-256"
    if kind == "one bit":
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        return "SHA-256"
    (folder / weights.INDEX_NAME).unlink()
    if kind == "truncated, no index":
        path.write_bytes(data[: len(data) // 2])
        return "damaged"
    if kind == "truncated header":
        path.write_bytes(data[:40])
        return "damaged"
    if kind == "other stage":
        path.write_bytes((folder / "refinement.safetensors").read_bytes())
        return "refinement"
    if kind == "other config":
        network = MAGINet(base=8)
        network.config["base"] = 4
        weights.save_stage(path, network, {"stage": "maginet"})
        return "own config"
    assert kind == "bad config"
    network = MAGINet(base=4)
    network.config["colour"] = "blue"
    weights.save_stage(path, network, {"stage": "maginet"})
    return "arguments"


@pytest.mark.parametrize(
    "kind",
    [
        "missing",
        "empty",
        "pickle",
        "torch",
        "truncated",
        "one bit",
        "truncated, no index",
        "truncated header",
        "other stage",
        "other config",
        "bad config",
    ],
)
def test_bad_files_give_one_clear_line(folder: Path, kind: str) -> None:
    words = spoil(folder, kind)
    with pytest.raises(WeightsError) as caught:
        weights.load_stage("maginet", folder)
    message = str(caught.value)
    assert words in message and "\n" not in message and "maginet.safetensors" in message
    assert "expected" in message and "do " in message
    weights.load_stage("refinement", folder)  # the others still load


def test_a_damaged_index_is_said(folder: Path) -> None:
    (folder / weights.INDEX_NAME).write_text("[")
    with pytest.raises(WeightsError, match="index.json"):
        weights.load_stage("maginet", folder)


def test_shipped_set_is_whole_and_small(embedded_weights: Path) -> None:
    index = weights.read_index(embedded_weights)
    files = sorted(embedded_weights.glob("*.safetensors"))
    assert {path.name for path in files} == set(index)
    for path in files:
        assert weights.check_file(path) == index[path.name]
    assert sum(path.stat().st_size for path in files) <= 60e6
    for stage in weights.STAGES:
        weights.load_stage(stage)
