"""The loop on a tiny source: learns, resumes to the identical loss, refuses what cannot be."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from core.nets import MAGINet
from train import build
from train.checkpoint import weights_of
from train.config import Config, ConfigError, LossWeights, parse
from train.loop import Trainer, TrainingError, learning_rate
from train.presets import preset, smoke


def make(stage: str, source: Any, out: Path, **changes: Any) -> Trainer:
    config = smoke(stage).replace(seed=3, size=32 if stage == "refinement" else 64, **changes)
    return Trainer(config, source(), out, quiet=True)


@pytest.mark.parametrize("stage", ["maginet", "refinement", "pix2pixhd"])
def test_every_stage_learns(stage: str, tiny_source: Any, tmp_path: Path) -> None:
    trainer = make(stage, tiny_source, tmp_path, steps=40, lr=1e-2)
    batches = [trainer.source.batch_at(i) for i in range(8)]
    trainer.source.batch_at = lambda step: batches[step % 8]  # type: ignore[method-assign]
    losses = [trainer.train_step()["total"] for _ in range(40)]
    assert np.mean(losses[-8:]) < 0.9 * np.mean(losses[:8])


@pytest.mark.parametrize("gan", [False, True])
def test_a_killed_run_resumes_to_the_identical_loss(
    gan: bool, tiny_source: Any, tmp_path: Path
) -> None:
    loss = LossWeights(mse=1, edge=0, vgg=0, lpips=0, l1=1, adversarial=gan, features=10 * gan)
    stage = "pix2pixhd" if gan else "maginet"
    whole = make(stage, tiny_source, tmp_path / "a", loss=loss)
    expected = [whole.train_step()["total"] for _ in range(6)]
    first = make(stage, tiny_source, tmp_path / "b", loss=loss)
    for _ in range(3):
        first.train_step()
    first.save()
    first.train_step()  # lost with the kill
    second = make(stage, tiny_source, tmp_path / "b", loss=loss)
    assert second.step == 3
    assert [second.train_step()["total"] for _ in range(3)] == expected[3:]
    for a, b in zip(whole.ema.parameters(), second.ema.parameters(), strict=True):
        assert torch.equal(a, b)


def test_only_freezes_the_rest(tiny_source: Any, tmp_path: Path) -> None:
    trainer = make("pix2pixhd", tiny_source, tmp_path, only="local")
    before = {k: v.clone() for k, v in trainer.net.state_dict().items()}
    for _ in range(2):
        trainer.train_step()
    moved = {k for k, v in trainer.net.state_dict().items() if not torch.equal(v, before[k])}
    assert moved and all(k.startswith("local.") for k in moved)
    with pytest.raises(ConfigError, match="--only"):
        make("maginet", tiny_source, tmp_path / "b", only="nonsense")


@pytest.mark.filterwarnings("ignore:no TensorBoard")
def test_run_writes_checkpoint_curves_and_sheets(tiny_source: Any, tmp_path: Path) -> None:
    trainer = make("pix2pixhd", tiny_source, tmp_path)
    means = trainer.run()
    assert trainer.step == 6 and trainer.progress == 1.0 and math.isfinite(means["total"])
    assert (tmp_path / "last.ckpt").is_file() and (tmp_path / "curves" / "scalars.csv").is_file()
    with Image.open(tmp_path / "sheets" / "000006.png") as sheet:
        assert sheet.size == (192 * 12, 192 * 2)  # albedo, photo, 5 passes, 5 truths; two samples
    again = make("pix2pixhd", tiny_source, tmp_path)
    assert again.step == 6 and again.progress == 1.0


def test_real_textures_are_shown_not_trained_on(tiny_source: Any, tmp_path: Path) -> None:
    real = [torch.rand(3, 64, 64)]
    with_real = Trainer(smoke("maginet"), tiny_source(), tmp_path / "a", real=real, quiet=True)
    without = Trainer(smoke("maginet"), tiny_source(), tmp_path / "b", quiet=True)
    assert with_real.train_step() == without.train_step()
    with Image.open(with_real.sheet()) as a, Image.open(without.sheet()) as b:
        assert a.size[1] == b.size[1] + 192


@pytest.mark.filterwarnings("ignore:no TensorBoard")
def test_a_clock_ends_the_run(tiny_source: Any, tmp_path: Path) -> None:
    trainer = make("maginet", tiny_source, tmp_path, steps=0, minutes=0.02, sheet_every=0)
    trainer.run()
    assert trainer.elapsed_s >= 1.2 and trainer.step > 1


def test_learning_rate_warms_up_and_ends_low() -> None:
    config = Config("maginet", steps=1, lr=1e-3, lr_min=1e-5, warmup=0.1)
    assert learning_rate(config, 0.05) == pytest.approx(5e-4)
    assert learning_rate(config, 0.1) == pytest.approx(1e-3)
    assert learning_rate(config, 1.0) == pytest.approx(1e-5)
    restarted = config.replace(warmup=0.0, restarts=2)
    assert learning_rate(restarted, 0.499) < 2e-5 and learning_rate(restarted, 0.5) > 9e-4


def test_stage_three_feeds_on_the_frozen_stage_one(tiny_source: Any, tmp_path: Path) -> None:
    maginet = MAGINet(base=2, output="ratio").requires_grad_(False).eval()
    config = smoke("pix2pixhd").replace(true_albedo=0.0)
    trainer = Trainer(config, tiny_source(), tmp_path, maginet=maginet, quiet=True)
    batch = trainer.source.batch_at(0)
    given = trainer.task.example(batch, np.random.default_rng(0)).inputs[0]
    assert torch.equal(given, maginet(batch["input"] * 2 - 1))
    trainer.train_step()
    assert all(p.grad is None for p in maginet.parameters())


def test_refinement_crops_line_up(tiny_source: Any, tmp_path: Path) -> None:
    config = smoke("refinement").replace(size=64, crop=32, batch=5, true_albedo=1.0)
    trainer = Trainer(config, tiny_source(size=128, batch=1), tmp_path, quiet=True)
    example = trainer.task.example(trainer.source.batch_at(0), np.random.default_rng(0))
    small, photo = example.inputs
    assert small.shape == (5, 3, 16, 16) and photo.shape == example.target.shape == (5, 3, 32, 32)
    assert torch.allclose(small, torch.nn.functional.avg_pool2d(example.target, 2), atol=1e-5)


def test_endless_nan_stops_with_a_clear_error(tiny_source: Any, tmp_path: Path) -> None:
    trainer = make("maginet", tiny_source, tmp_path)
    before = [p.clone() for p in trainer.net.parameters()]
    good = trainer.source.batch_at(0)
    bad = good | {"albedo": torch.full_like(good["albedo"], math.nan)}
    trainer.source.batch_at = lambda step: bad  # type: ignore[method-assign]
    with pytest.raises(TrainingError, match="--lr"):
        for _ in range(30):
            trainer.train_step()
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.net.parameters(), strict=True))


def test_wrong_settings_name_their_flag(tiny_source: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--size"):
        smoke("maginet").replace(size=50)
    with pytest.raises(ConfigError, match="--minutes"):
        Config("maginet")
    with pytest.raises(ConfigError, match="--preset"):
        preset("papier", "maginet")
    with pytest.raises(ConfigError, match="--net"):
        make("maginet", tiny_source, tmp_path, net={"bass": 4})
    with pytest.raises(ConfigError, match="size 128"):
        Trainer(smoke("refinement"), tiny_source(), tmp_path, quiet=True)
    make("maginet", tiny_source, tmp_path).save()
    with pytest.raises(ConfigError, match="another --out"):
        make("maginet", tiny_source, tmp_path, net={"base": 6, "output": "ratio"})


def test_command_line_onto_config() -> None:
    line = "--preset embedded --stage maginet --size 128 --steps 9 --net base=16 --weights ssim=0.5"
    config = parse([*line.split()]).config
    assert (config.size, config.steps, config.minutes) == (128, 9, 0.0)
    assert config.net["base"] == 16 and config.net["output"] == "ratio" and config.loss.ssim == 0.5
    assert Config.from_json(config.to_json()) == config
    with pytest.raises(ConfigError, match="--weights"):
        parse(["--weights", "sim=1"])


@pytest.mark.filterwarnings("ignore:no TensorBoard")
def test_folder_to_shipped_weights(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole command: dry run, train on a folder, warm start, export, load, validate."""
    from core.weights import load_stage, read_metadata

    run, out = tmp_path / "run", tmp_path / "weights"
    common = ["--preset", "smoke", "--data", str(tiny_folder), "--size", "32", "--device", "cpu"]
    build.train(parse([*common, "--out", str(run), "--dry-run"]))
    assert not run.exists() and "6 steps" in capsys.readouterr().out
    build.train(parse([*common, "--out", str(run)]))
    build.export(parse([*common, "--out", str(run), "--export", str(out)]))
    net = load_stage("maginet", out)
    trained = weights_of(run)
    assert all(torch.allclose(v, trained[k], atol=1e-3) for k, v in net.state_dict().items())
    metadata = read_metadata(out / "maginet.safetensors")
    assert metadata["size"] == "32" and "steps" in metadata["training"] and metadata["licence"]
    for stage in ("refinement", "pix2pixhd"):
        later = ["--out", str(tmp_path / stage), "--stage", stage]
        build.train(parse([*common, *later, "--maginet", str(out), "--steps", "2"]))
        build.export(parse([*later, "--export", str(out)]))
    build.score(parse([*common, "--out", str(tmp_path / "v"), "--validate", str(out)]))
    assert (tmp_path / "v" / "validation.json").is_file()
