"""A data set folder read for scoring, and methods scored on it."""

import json

import numpy as np
import pytest

from bench import dataset, scoring
from core.errors import InputError
from core.images import write_map
from core.passes import PASSES
from train.data import split_of as training_split_of

SIZE = 64


def write_identity(folder, seed, inputs=1, tone=None):
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for row in PASSES:
        write_map(folder / row.dataset_file, rng.uniform(0.4, 0.9, (SIZE, SIZE, row.channels)))
    for i in range(inputs):
        write_map(folder / f"input_{i}.png", rng.uniform(0.3, 0.9, (SIZE, SIZE, 3)))
    if tone:
        (folder / "meta.json").write_text(json.dumps({"skin_tone": tone}))


@pytest.fixture
def root(tmp_path):
    for number in range(4):
        write_identity(tmp_path / f"id{number}", number, inputs=2 if number == 0 else 1, tone="tan")
    return tmp_path


def test_splits_are_the_trainings():
    names = [f"{i:05d}" for i in range(400)]
    assert [dataset.split_of(n) for n in names] == [training_split_of(n) for n in names]
    assert {dataset.split_of(n) for n in names} == set(dataset.SPLITS)


def test_every_input_is_a_sample_named_apart(root):
    found = dataset.samples(root, "all")
    assert [s.name for s in found] == ["id0+input_0", "id0+input_1", "id1", "id2", "id3"]
    maps, mask = found[0].truth(32)
    assert maps["albedo"].shape == (32, 32, 3) and maps["specular"].shape == (32, 32, 1)
    assert mask.all() and found[0].input(32).shape == (32, 32, 3)


def test_an_empty_split_says_what_to_do(root):
    with pytest.raises(InputError, match="--split all"):
        dataset.samples(root / "..", "test")


def test_the_mean_is_of_the_training_split(root):
    train = [p for p in sorted(root.iterdir()) if dataset.split_of(p.name) == "train"]
    expected = np.mean([dataset.read_passes(p, 16)["albedo"] for p in train], axis=0)
    assert np.allclose(dataset.mean_passes(root, 16)["albedo"], expected, atol=1e-5)


def test_methods_are_scored_beside_the_trivial_rows(root, tmp_path):
    chosen = dataset.samples(root, "all")
    perfect = {"perfect": lambda sample: dataset.read_passes(sample.folder, SIZE)}
    found = scoring.score(chosen, perfect, dataset.mean_passes(root, SIZE), SIZE)
    rows = found["tables"]["albedo"]
    assert rows["perfect"]["rmse"]["mean"] == 0 < rows["mean map"]["rmse"]["mean"]
    assert rows["perfect"]["rmse"]["n"] == 4  # people, not inputs
    assert found["by_group"]["tan"]["photos"] == 5
    tables = scoring.as_paper_tables(found, [])
    assert tables["table_2_albedo"]["paper_reported"]["mse"] == 2.93
    assert tables["tables_7_to_10_ablations"].startswith("not computed")
    assert tables["fid"].startswith("not computed")


def test_predictions_of_others_are_read_by_sample_name(root, tmp_path):
    made = tmp_path / "made"
    for sample in dataset.samples(root, "all"):
        folder = made / sample.name
        folder.mkdir(parents=True)
        write_map(folder / "diffuse.png", np.full((8, 8, 3), 0.5))
    method = scoring.folder_method(made)
    assert set(method(dataset.samples(root, "all")[0])) == {"albedo"}
    with pytest.raises(InputError, match="passes such as"):
        dataset.read_passes(root / ".." / "nowhere", 8)
