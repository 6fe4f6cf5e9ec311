"""The tables' baselines: what they give, that they learn, and that their predictions can be scored."""

import numpy as np
import pytest
import torch

from core.images import write_map
from core.passes import PASSES
from train import baselines

SIZE = 64


@pytest.mark.parametrize(
    ("method", "passes"),
    [("unet6l", {"albedo"}), ("sfsnet", {"albedo", "normal"}), ("rgb2ao", {"ambient_occlusion"})],
)
def test_a_baseline_learns_one_face_and_writes_what_it_predicts(tmp_path, method, passes):
    rng = np.random.default_rng(0)
    data = tmp_path / "data"
    for identity in range(3):
        folder = data / f"id{identity}"
        folder.mkdir(parents=True)
        for row in PASSES:
            x = rng.uniform(0.3, 0.8, (1, 1, row.channels)) + np.zeros((SIZE, SIZE, 1))
            write_map(folder / row.dataset_file, x)
        write_map(folder / "input_a.png", rng.uniform(0.3, 0.8, (SIZE, SIZE, 3)))
    out = tmp_path / "run"
    common = [
        "--method",
        method,
        "--data",
        str(data),
        "--out",
        str(out),
        "--size",
        str(SIZE),
        "--base",
        "4",
    ]
    torch.manual_seed(0)
    net = baselines.BASELINES[method](base=4)
    options = baselines.parse([*common, "--steps", "25", "--batch", "2", "--lr", "5e-3"])
    source = baselines.FolderData(data, "train", SIZE, 2)
    before = net.loss(net(source.batch_at(0)["input"]), source.batch_at(0)).item()
    baselines.train(net, source, options)
    after = net.loss(net(source.batch_at(0)["input"]), source.batch_at(0)).item()
    assert after < 0.8 * before
    where = tmp_path / "made"
    baselines.main([*common, "--predict", str(where), "--split", "all"])
    written = {p.name for p in (where / "id0").iterdir()}
    assert written == {row.dataset_file for row in PASSES if row.key in passes}


def test_six_levels_join_six_skips():
    net = baselines.UNet(3, base=2)
    assert len(net.downs) == 7 and len(net.ups) == 6
    assert net(torch.rand(1, 3, 64, 96)).shape == (1, 3, 64, 96)
