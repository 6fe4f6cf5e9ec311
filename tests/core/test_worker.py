"""The worker: the protocol with a small pipeline, the guarded stdout, and one real job where weights are there."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from core import worker
from core.errors import NoFaceError
from core.images import read_photo
from core.result import Result
from core.settings import Settings


class FakePipeline:
    def __init__(self, make_result: Callable[..., Result]) -> None:
        self.make_result = make_result

    def decompose(self, photo: Path, *, uv_texture: bool = False, progress: Any) -> Result:
        if read_photo(photo).max() == 0:
            raise NoFaceError(f"{photo}: expected a face; got none; do give a clearer photo")
        progress("landmarks", photo.stem, 0, 1, "hello")
        return self.make_result(photo.stem)

    def decompose_same_person(self, photos: list[Path], progress: Any) -> Iterator[Any]:
        for photo in photos:
            try:
                yield photo, self.decompose(photo, progress=progress)
            except NoFaceError as error:
                yield photo, error


@pytest.fixture
def ask(make_result: Callable[..., Result]) -> Callable[..., list[dict[str, Any]]]:
    """ask(*requests) -> all answers of one worker; `ask.made` counts the pipelines."""
    made: list[Settings] = []

    def make(settings: Settings) -> FakePipeline:
        made.append(settings)
        return FakePipeline(make_result)

    def call(*requests: Any) -> list[dict[str, Any]]:
        lines = [item if isinstance(item, str) else json.dumps(item) for item in requests]
        answers = io.StringIO()
        assert worker.serve(io.StringIO("\n".join(lines) + "\n"), answers, make) == 0  # pyright: ignore
        return [json.loads(line) for line in answers.getvalue().splitlines()]

    call.made = made  # pyright: ignore
    return call


def photo(path: Path, value: int = 150) -> str:
    Image.fromarray(np.full((64, 64, 3), value, np.uint8)).save(path)
    return str(path)


def job(identity: Any, path: str, out: Path, **options: Any) -> dict[str, Any]:
    return {"id": identity, "command": "decompose", "photo": path, "out": str(out), **options}


def test_a_job_gives_progress_and_a_folder(ask: Any, tmp_path: Path) -> None:
    answers = ask(job(7, photo(tmp_path / "änna 顔.png"), tmp_path / "out"))
    folder = tmp_path / "out" / "änna 顔"
    assert answers[-1] == {"id": 7, "result": str(folder)}
    assert (folder / "report.json").is_file()
    assert [a["stage"] for a in answers[:-1]] == ["loading", "landmarks", "writing"]
    for answer in answers[:-1]:
        assert set(answer) == {"id", "stage", "of", "done", "total", "message"}
        assert answer["id"] == 7 and answer["of"] == "änna 顔"


def test_the_pipeline_stays_warm_until_its_options_change(ask: Any, tmp_path: Path) -> None:
    path = photo(tmp_path / "a.png")
    answers = ask(
        job(1, path, tmp_path / "out"),
        job(2, path, tmp_path / "out", bits=16, uv_texture=True),
        job(3, path, tmp_path / "out", size=512),
    )
    assert [a["id"] for a in answers if "result" in a] == [1, 2, 3]
    assert [s.size for s in ask.made] == [1024, 512]


def test_errors_are_answers_and_the_worker_lives_on(ask: Any, tmp_path: Path) -> None:
    path, black = photo(tmp_path / "a.png"), photo(tmp_path / "b.png", 0)
    answers = ask(
        "this is no JSON",
        "[1, 2]",
        {"id": 1, "command": "dance"},
        {"id": 2, "command": "decompose", "photo": path},
        job(3, path, tmp_path / "out", size=33),
        job(4, path, tmp_path / "out", colour="blue"),
        job(5, black, tmp_path / "out"),
        "",
        job(6, path, tmp_path / "out"),
    )
    errors = {a["id"]: a["error"] for a in answers if "error" in a}
    assert [a["id"] for a in answers[:2]] == [None, None] and set(errors) == {None, 1, 2, 3, 4, 5}
    assert errors[5]["type"] == "NoFaceError" and "expected a face" in errors[5]["message"]
    assert "--size" in errors[3]["message"] and "colour" in errors[4]["message"]
    assert answers[-1]["id"] == 6 and "result" in answers[-1]


def test_photos_of_one_person_are_one_job(ask: Any, tmp_path: Path) -> None:
    paths = [photo(tmp_path / f"{name}.png", value) for name, value in (("a", 150), ("b", 0))]
    together = {"id": 1, "command": "decompose", "out": str(tmp_path / "out"), "same_person": True}
    answers = ask(
        {**together, "photos": paths},
        {**together, "photos": paths[:1]},
        {**together, "photo": paths[0]},
        {**together, "photos": paths, "same_person": False},
        {**together, "photos": paths, "uv_texture": True},
    )
    result, *errors = [a for a in answers if "stage" not in a]
    assert result["result"]["folders"] == {paths[0]: str(tmp_path / "out" / "a")}
    assert result["result"]["errors"][paths[1]]["type"] == "NoFaceError"
    assert (tmp_path / "out" / "a" / "report.json").is_file()
    words = ("two photos", "'photos'", "'photos'", "leave one of them out")
    assert all(word in e["error"]["message"] for word, e in zip(words, errors, strict=True))


def test_ping_and_shutdown(ask: Any) -> None:
    answers = ask({"id": "a", "command": "ping"}, {"id": "b", "command": "shutdown"}, {"id": "c"})
    assert answers[0]["result"]["pid"] == os.getpid()
    assert answers[1:] == [{"id": "b", "result": None}]


def test_a_reader_that_goes_away_ends_it(make_result: Any, tmp_path: Path) -> None:
    class Closed(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    requests = io.StringIO(json.dumps(job(1, photo(tmp_path / "a.png"), tmp_path / "out")))
    code = worker.serve(requests, Closed(), lambda _: FakePipeline(make_result))  # pyright: ignore
    assert code == 1 and not (tmp_path / "out").exists()


NOISY = """
import os, sys
from core import worker
class Noisy:
    def decompose(self, photo, *, uv_texture, progress):
        print("python noise")
        os.write(1, b"noise from C\\n")
        os.system("echo noise of a child")
        assert sys.stdin.read() == ""
        progress("landmarks", "a", 0, 1, "")
        raise worker.FacePBRError("that is all")
raise SystemExit(worker.main(lambda settings: Noisy()))
"""


def test_stdout_belongs_to_the_protocol(repository: Path, tmp_path: Path) -> None:
    request = json.dumps(job(1, "a.png", tmp_path / "out")) + "\n"
    done = subprocess.run(
        [sys.executable, "-c", NOISY],
        input=request,
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert answers[-1] == {"id": 1, "error": {"type": "FacePBRError", "message": "that is all"}}
    for noise in ("python noise", "noise from C", "noise of a child"):
        assert noise in done.stderr


def test_a_real_job(
    embedded_weights: Path, shared_data: Path, repository: Path, tmp_path: Path
) -> None:
    path = shared_data / "portraits" / "astronaut.png"
    requests = [{"id": 1, "command": "ping"}, job(2, str(path), tmp_path, device="cpu")]
    done = subprocess.run(
        [sys.executable, "-m", "core.worker"],
        input="".join(json.dumps(item) + "\n" for item in requests),
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert answers[-1] == {"id": 2, "result": str(tmp_path / "astronaut")}, done.stderr
    report = json.loads((tmp_path / "astronaut" / "report.json").read_text(encoding="utf-8"))
    assert report["device"] == "cpu" and report["landmarks"]["num_faces"] >= 1
    assert [p.name for p in tmp_path.iterdir()] == ["astronaut"]
