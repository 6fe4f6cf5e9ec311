"""One function over many tasks: retries, reports, and the same results on Ray."""

from pathlib import Path

import pytest

from bench.spread import EngineMissing, Outcome, spread


class Final(RuntimeError):
    final = True


class Flaky:
    """Fails the first ``failures`` times it sees a task; notes are files, so that every process counts."""

    def __init__(self, notes: Path, failures: int):
        self.notes, self.failures = notes, failures

    def __call__(self, task):
        tried = len(list(self.notes.glob(f"{task}-*")))
        (self.notes / f"{task}-{tried}").touch()
        if task == "final":
            raise Final("never")
        if tried < self.failures:
            raise RuntimeError(f"try {tried}")
        return task.upper()


def test_failures_are_tried_again_and_then_reported(tmp_path):
    assert spread(Flaky(tmp_path, 2), ["a", "b"]) == [Outcome("A", tries=3), Outcome("B", tries=3)]
    (gone,) = spread(Flaky(tmp_path, 9), ["c"], retries=1)
    assert gone.error == "RuntimeError: try 1" and gone.value is None and gone.tries == 2


def test_a_final_failure_is_not_tried_again(tmp_path):
    first, second = spread(Flaky(tmp_path, 0), ["final", "a"])
    assert first.tries == 1 and "never" in first.error and second.value == "A"


def test_an_unknown_engine_is_named():
    with pytest.raises(ValueError, match="local"):
        spread(str, [1], engine="cloud")


def test_without_ray_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(EngineMissing, match=r"facepbr\[ray\]"):
        spread(str, [1], engine="ray")


def test_two_ray_workers_give_the_results_of_one_process(tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed (facepbr[ray])")
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir(), there.mkdir()
    tasks = ["a", "b", "c", "final"]
    alone = spread(Flaky(here, 1), tasks)
    assert spread(Flaky(there, 1), tasks, engine="ray", workers=2) == alone
