"""Result folders: all files with their formats, there and back, and never half of one."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core import result as result_module
from core.errors import InputError, OutputError
from core.passes import PASS_KEYS, PASSES
from core.report import Steps, peak_memory_mb, to_json
from core.result import Result, read_result, write_result

MakeResult = Callable[..., Result]


def listing(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def test_all_files_of_the_contract(make_result: MakeResult, tmp_path: Path) -> None:
    folder = write_result(make_result(), tmp_path / "out" / "anna")
    assert folder == tmp_path / "out" / "anna"
    expected = {f"passes/{key}.png" for key in (*PASS_KEYS, "confidence")}
    expected |= {"head.obj", "head.glb", "environment.exr", "sheet.png", "report.json"}
    assert expected <= listing(folder)
    assert listing(folder) - expected <= {"head.mtl"}
    assert [p.name for p in folder.parent.iterdir()] == ["anna"]


@pytest.mark.parametrize("bits", [8, 16])
def test_there_and_back(make_result: MakeResult, tmp_path: Path, bits: int) -> None:
    written = make_result()
    read = read_result(write_result(written, tmp_path / "anna", bits))
    half_step = 0.5 / (2**bits - 1) + 1e-6
    for row in PASSES:
        assert read.passes[row.key].shape == (16, 16, row.channels)
        assert np.abs(read.passes[row.key] - written.passes[row.key]).max() <= half_step
        with Image.open(tmp_path / "anna" / "passes" / f"{row.key}.png") as image:
            assert (image.mode == "RGB") == (row.channels == 3)
    assert np.abs(read.confidence[..., 0] - written.confidence).max() <= half_step
    assert written.environment is not None and read.environment is not None
    np.testing.assert_allclose(read.environment, written.environment, rtol=1e-3)
    assert read.vertices is not None and written.vertices is not None
    np.testing.assert_allclose(read.vertices, written.vertices, atol=1e-6)
    assert read.report == written.report and read.warnings == ["a warning"]


def test_report_is_plain_json(make_result: MakeResult, tmp_path: Path) -> None:
    result = make_result()
    result.report["camera"] = {"center_px": [1.5, -2e-7], "title": "[1,\n 2]"}
    folder = write_result(result, tmp_path / "anna")
    text = (folder / "report.json").read_text(encoding="utf-8")
    assert "[ 1.5, -2e-07 ]" in text  # lists of numbers stay on one line
    report = json.loads(text)
    assert report["camera"] == result.report["camera"]
    for key in (
        "schema_version",
        "software",
        "weights_sha256",
        "device",
        "seconds",
        "peak_memory_mb",
        "landmarks",
        "camera",
        "fit",
        "warnings",
    ):
        assert key in report
    assert report["schema_version"] == 1 and "numpy" in report["software"]
    seconds = report["seconds"]
    assert seconds["writing"] > 0
    assert seconds["total"] == pytest.approx(0.5 + seconds["writing"], abs=2e-3)


def test_an_older_result_is_replaced_and_foreign_files_are_kept(
    make_result: MakeResult, tmp_path: Path
) -> None:
    target = tmp_path / "anna"
    write_result(make_result(seed=0), target)
    (target / "scene.blend").write_text("mine")
    (target / "passes" / "old.png").write_text("ours, stale")
    newer = make_result(seed=1)
    write_result(newer, target)
    assert (target / "scene.blend").read_text() == "mine"
    assert not (target / "passes" / "old.png").exists()
    read = read_result(target)
    assert np.abs(read.passes["albedo"] - newer.passes["albedo"]).max() < 0.01
    assert [p.name for p in tmp_path.iterdir()] == ["anna"]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError])
def test_a_failure_leaves_the_older_result_and_nothing_else(
    make_result: MakeResult,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stop: type[BaseException],
) -> None:
    target = tmp_path / "anna"
    write_result(make_result(), target)
    before = {name: (target / name).read_bytes() for name in listing(target)}

    def fail(*_: object) -> None:
        raise stop

    monkeypatch.setattr(result_module, "write_exr", fail)
    for place in (target, tmp_path / "new"):
        with pytest.raises(stop):
            write_result(make_result(seed=1), place)
    assert [p.name for p in tmp_path.iterdir()] == ["anna"]
    assert {name: (target / name).read_bytes() for name in listing(target)} == before


def test_a_folder_that_is_no_result_is_left_alone(make_result: MakeResult, tmp_path: Path) -> None:
    target = tmp_path / "anna"
    target.mkdir()
    write_result(make_result(), target)  # an empty one is fine
    other = tmp_path / "photos"
    other.mkdir()
    (other / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(OutputError, match="other files"):
        write_result(make_result(), other)
    assert listing(other) == {"holiday.jpg"}


def test_places_that_cannot_be_written(make_result: MakeResult, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for target in (tmp_path / "file", tmp_path / "file" / "anna"):
        with pytest.raises(OutputError) as caught:
            write_result(make_result(), target)
        assert "\n" not in str(caught.value) and "do choose" in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_wrong_channels_are_refused(make_result: MakeResult, tmp_path: Path) -> None:
    result = make_result()
    result.passes["specular"] = np.zeros((16, 16, 3), np.float32)
    with pytest.raises(ValueError, match="1 channels"):
        write_result(result, tmp_path / "anna")
    assert not list(tmp_path.iterdir())


def test_reading_what_is_no_result(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="report"):
        read_result(tmp_path)


def test_steps_tell_and_time() -> None:
    told: list[tuple[object, ...]] = []
    steps = Steps("anna", 2, lambda *values: told.append(values))
    with steps("landmarks"):
        pass
    with steps("fit", "12 px"):
        pass
    seconds = steps.finish()
    assert told == [
        ("landmarks", "anna", 0, 2, ""),
        ("fit", "anna", 1, 2, "12 px"),
        ("done", "anna", 2, 2, ""),
    ]
    assert set(seconds) == {"landmarks", "fit", "total"}
    assert seconds["total"] >= seconds["landmarks"] + seconds["fit"]


def test_json_values() -> None:
    values = {"a": np.float32(0.5), "b": np.array([[1.0, np.nan]]), "c": (np.int64(3), None, True)}
    assert to_json(values) == {"a": 0.5, "b": [[1.0, None]], "c": [3, None, True]}
    memory = peak_memory_mb()
    assert memory is None or 20 < memory < 1e6


def test_what_a_killed_run_left_is_swept_but_not_what_may_be_alive(
    make_result: MakeResult, tmp_path: Path
) -> None:
    old, young, other = (
        tmp_path / name
        for name in (".anna.facepbr-old.tmp", ".anna.facepbr-new.tmp", ".bob.facepbr-old.tmp")
    )
    for folder in (old, young, other):
        folder.mkdir()
    for folder in (old, other):
        os.utime(folder, (1e9, 1e9))
    write_result(make_result(), tmp_path / "anna")
    assert sorted(p.name for p in tmp_path.iterdir()) == [young.name, other.name, "anna"]
