"""Provenance, intervals, rounding, and what is made once."""

import json

import numpy as np
import pytest

from bench import cache, record


def test_an_interval_holds_the_mean_and_narrows_with_identities():
    rng = np.random.default_rng(0)
    few, many = (record.interval(list(rng.normal(5, 1, n))) for n in (5, 500))
    for found in (few, many):
        assert found["low"] < found["mean"] < found["high"]
    assert many["high"] - many["low"] < 0.3 * (few["high"] - few["low"])
    assert many["low"] < 5.1 and many["high"] > 4.9


def test_photos_of_one_person_count_as_one():
    values = [1.0, 1.0, 1.0, 9.0, 9.0, 9.0]
    apart = record.interval(values)
    together = record.interval(values, ["a", "a", "a", "b", "b", "b"])
    assert apart["n"] == 6 and together["n"] == 2
    assert "low" not in together  # two people tell nothing about a third
    three = record.interval([*values, 5.0], ["a", "a", "a", "b", "b", "b", "c"])
    assert three["high"] - three["low"] > apart["high"] - apart["low"]


def test_what_is_not_a_number_has_no_interval():
    with pytest.raises(ValueError, match="finite"):
        record.interval([1.0, float("nan")])
    with pytest.raises(ValueError, match="identity"):
        record.interval([1.0, 2.0], ["a"])


def test_a_record_is_plain_json_with_its_origin(tmp_path):
    found = record.provenance("some_script", 7, size=32)
    path = record.write_record(tmp_path / "out", found | {"x": np.float32(1 / 3), "bad": np.nan})
    back = json.loads(path.read_text())
    assert path.name == "result.json" and back["script"] == "some_script" and back["seed"] == 7
    assert back["settings"] == {"size": 32} and back["hardware"] and back["date"][:2] == "20"
    assert back["x"] == 0.33333 and back["bad"] is None
    assert [p.name for p in path.parent.iterdir()] == ["result.json"]


def test_a_file_is_fresh_only_with_its_own_key(tmp_path):
    path = tmp_path / "render.png"
    assert not cache.is_fresh(path, {"a": 1})
    cache.mark(path, {"a": 1})
    assert not cache.is_fresh(path, {"a": 1})  # the key alone is no file
    path.write_bytes(b"x")
    assert cache.is_fresh(path, {"a": 1}) and not cache.is_fresh(path, {"a": 2})
