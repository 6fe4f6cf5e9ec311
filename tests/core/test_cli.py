"""The command line: exit codes, batches, names, progress, JSON; with a pipeline that makes true but small results."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from core import cli, user_assets
from core.errors import NoFaceError, WeightsError
from core.images import read_photo
from core.result import Result
from core.settings import Settings


class FakePipeline:
    """Reads the photo as the real one does; a black one has no face, a red one finds a defect of ours."""

    def __init__(self, settings: Settings, make_result: Callable[..., Result]) -> None:
        self.settings = settings
        self.make_result = make_result

    def decompose(self, photo: Path, *, uv_texture: bool = False, progress: Any = None) -> Result:
        image = read_photo(photo)
        progress("landmarks", photo.stem, 0, 2, "")
        if image.max() == 0:
            raise NoFaceError(f"{photo}: expected a face; got none; do give a clearer photo")
        if image[..., 1].max() == 0:
            raise RuntimeError("tensor\nmismatch")
        progress("fit", photo.stem, 1, 2, "")
        if image[0, 0, 2] == 1 and image[0, 0, 0] == 0:
            raise KeyboardInterrupt
        return self.make_result(photo.stem)

    def decompose_same_person(self, photos: list[Path], progress: Any = None) -> Iterator[Any]:
        if any(read_photo(photo).max((0, 1)).tolist()[:2] == [1, 0] for photo in photos):
            raise RuntimeError("tensor mismatch")
        for photo in photos:
            try:
                yield photo, self.decompose(photo, progress=progress)
            except NoFaceError as error:
                yield photo, error


@pytest.fixture
def run(make_result: Callable[..., Result]) -> Callable[..., int]:
    """run(*arguments) -> exit code; `run.made` lists the settings that pipelines were made with."""
    made: list[Settings] = []

    def make(settings: Settings) -> FakePipeline:
        made.append(settings)
        return FakePipeline(settings, make_result)

    def call(*arguments: str | Path) -> int:
        return cli.main([str(item) for item in arguments], make)  # pyright: ignore

    call.made = made  # pyright: ignore
    return call


def photo(path: Path, color: tuple[int, int, int] = (200, 150, 120)) -> Path:
    Image.fromarray(np.full((64, 64, 3), color, np.uint8)).save(path)
    return path


def test_a_batch_goes_on_after_a_bad_photo(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [photo(tmp_path / "anna lä.png"), tmp_path / "text.jpg", photo(tmp_path / "b.png")]
    names[1].write_text("no picture")
    names.insert(2, photo(tmp_path / "noface.png", (0, 0, 0)))
    names.insert(3, photo(tmp_path / "defect.png", (255, 0, 0)))
    assert run("decompose", *names, "-o", tmp_path / "out") == 1
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["anna lä", "b"]
    assert len(run.made) == 1  # pyright: ignore
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == "" and "\x1b" not in err
    assert re.match(r"\[1/5\] anna lä: done in \d+\.\d s -> ", lines[0])
    assert lines[1] == "    warning: a warning"
    assert lines[2].startswith("[2/5] text: failed: ") and "none of these" in lines[2]
    assert "expected a face" in lines[3]
    assert "unexpected RuntimeError: tensor mismatch" in lines[4]
    assert lines[5].startswith("[5/5] b: done") and len(lines) == 7


def test_photos_of_one_person_go_on_after_a_bad_one(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [photo(tmp_path / f"{name}.png") for name in ("a", "b", "mine")]
    names.insert(1, photo(tmp_path / "noface.png", (0, 0, 0)))
    (tmp_path / "out" / "mine").mkdir(parents=True)
    (tmp_path / "out" / "mine" / "notes.txt").write_text("not a result")
    assert run("decompose", "--same-person", *names, "-o", tmp_path / "out") == 1
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a", "b", "mine"]
    lines = [line for line in capsys.readouterr().err.splitlines() if "warning" not in line]
    assert [line.split(" ")[0] for line in lines] == ["[4/4]", "[1/4]", "[2/4]", "[3/4]"]
    assert "failed: " in lines[0] and "expected a face" in lines[2]


def test_a_defect_in_the_shared_work_fails_every_photo(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [photo(tmp_path / "a.png"), photo(tmp_path / "defect.png", (255, 0, 0))]
    assert run("decompose", "--same-person", *names, "-o", tmp_path / "out", "--json") == 1
    answer = json.loads(capsys.readouterr().out)
    assert (answer["done"], answer["failed"]) == (0, 2) and not (tmp_path / "out").exists()


def test_json_is_one_object_and_nothing_else(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = photo(tmp_path / "a.png"), photo(tmp_path / "b.png", (0, 0, 0))
    assert run("decompose", good, bad, "-o", tmp_path / "out", "--json") == 1
    out, err = capsys.readouterr()
    assert err == "" and out.count("\n") == 1
    answer = json.loads(out)
    assert (answer["done"], answer["failed"]) == (1, 1)
    first, second = answer["results"]
    assert first["folder"] == str(tmp_path / "out" / "a") and first["report"]["name"] == "a"
    assert second["error"]["type"] == "NoFaceError"


def test_all_done_is_0_and_options_arrive(run: Callable[..., int], tmp_path: Path) -> None:
    options = "--size 512 --bits 16 --device cpu --light-removal 0.5 --uv-texture".split()
    assert run("decompose", photo(tmp_path / "a.png"), "-o", tmp_path / "out", *options) == 0
    settings = run.made[0]  # pyright: ignore
    assert (settings.size, settings.bits, settings.device) == (512, 16, "cpu")
    assert settings.uv_texture and settings.light_removal == 0.5
    with Image.open(tmp_path / "out" / "a" / "passes" / "specular.png") as image:
        assert image.mode.startswith("I;16")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "required"),
        (["decompose", "a.png"], "--out"),
        (["decompose", "a.png", "-o", "OUT", "--bits", "12"], "--bits"),
        (["decompose", "a.png", "-o", "OUT", "--size", "100"], "--size"),
        (["decompose", "a.png", "-o", "OUT", "--light-removal", "3"], "--light-removal"),
        (["decompose", "a.png", "-o", "OUT", "--light-removal", "nan"], "--light-removal"),
        (["decompose", "a.png", "-o", "OUT", "--same-person"], "--same-person: expected two"),
        (
            ["decompose", "a.png", "b.png", "-o", "OUT", "--same-person", "--uv-texture"],
            "leave one of them out",
        ),
        (["decompose", "x/a.png", "y/A.jpg", "-o", "OUT"], "different names"),
        (["decompose", "a.png", "-o", "FILE/out"], "-o "),
        (["decompose", "a.png", "-o", "FILE"], "-o "),
        (["assets", "get", "everything"], "hifi3d"),
    ],
)
def test_bad_usage_is_2_and_makes_nothing(
    run: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    (tmp_path / "file").write_text("x")
    places = {"OUT": str(tmp_path / "out"), "FILE": str(tmp_path / "file")}
    for key, value in places.items():
        arguments = [item.replace(key, value) for item in arguments]
    assert run(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and words in err
    assert not run.made and [p.name for p in tmp_path.iterdir()] == ["file"]  # pyright: ignore


def test_new_folders_go_again_when_nothing_came(run: Callable[..., int], tmp_path: Path) -> None:
    bad = photo(tmp_path / "b.png", (0, 0, 0))
    assert run("decompose", bad, "-o", tmp_path / "new" / "out") == 1
    assert not (tmp_path / "new").exists()
    (tmp_path / "mine").mkdir()
    assert run("decompose", bad, "-o", tmp_path / "mine" / "out") == 1
    assert [p.name for p in tmp_path.iterdir() if p.is_dir()] == ["mine"]


def test_interruption_is_130_and_keeps_what_is_finished(
    run: Callable[..., int], tmp_path: Path
) -> None:
    names = [photo(tmp_path / "a.png"), photo(tmp_path / "stop.png", (0, 9, 255))]
    assert run("decompose", *names, "-o", tmp_path / "out") == 130
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["a"]


def test_bad_weights_are_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def make(_: Settings) -> Any:
        raise WeightsError("expected weights; got none; do install again")

    names = [str(photo(tmp_path / f"{c}.png")) for c in "abc"]
    assert cli.main(["decompose", *names, "-o", str(tmp_path / "out")], make) == 1
    assert capsys.readouterr().err.splitlines() == [
        "facepbr: failed: expected weights; got none; do install again"
    ]
    assert not (tmp_path / "out").exists()


def test_a_foreign_folder_of_the_photos_name_is_left_alone(
    run: Callable[..., int], tmp_path: Path
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "mine.txt").write_text("x")
    assert run("decompose", photo(tmp_path / "a.png"), "-o", tmp_path) == 1
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["mine.txt"]


@pytest.mark.skipif(os.name == "nt", reason="needs a pseudo-terminal")
def test_a_terminal_shows_every_step(run: Callable[..., int], tmp_path: Path) -> None:
    import pty

    shown = ""
    leader, follower = pty.openpty()
    stderr = sys.stderr
    try:
        with os.fdopen(follower, "w", buffering=1, encoding="utf-8") as terminal:
            sys.stderr = terminal
            assert run("decompose", photo(tmp_path / "a.png"), "-o", tmp_path / "out") == 0
            while "warning: a warning" not in shown:  # a terminal hands its text over in pieces
                shown += os.read(leader, 65536).decode()
    finally:
        sys.stderr = stderr
        os.close(leader)
    assert "[1/1] a: landmarks (1 of 2) ..." in shown and "[1/1] a: fit (2 of 2) ..." in shown
    assert shown.rstrip().endswith("warning: a warning")


def test_help_is_fast_and_loads_no_network(repository: Path) -> None:
    code = (
        "import sys; sys.argv = ['facepbr', '--help']\n"
        "from core.cli import main\n"
        "assert main() == 0\n"
        "assert not {'torch', 'cv2', 'mediapipe'} & set(sys.modules), 'heavy import'\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "decompose" in done.stdout


def test_assets_are_pinned_and_kept_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import hashlib
    import urllib.error

    content = b"v 0 0 0\n"
    asset = user_assets.ASSETS["hifi3d"]._replace(sha256=hashlib.sha256(content).hexdigest())
    monkeypatch.setitem(user_assets.ASSETS, "hifi3d", asset)
    with pytest.raises(user_assets.InputError, match="SHA-256"):
        user_assets.get_asset("hifi3d", tmp_path / "a", lambda _: b"something else")

    def no_network(_: str) -> bytes:
        raise urllib.error.URLError("no route")

    with pytest.raises(user_assets.InputError, match="no route"):
        user_assets.get_asset("hifi3d", tmp_path / "a", no_network)
    assert not (tmp_path / "a").exists()
    path = user_assets.get_asset("hifi3d", tmp_path / "a", lambda _: content)
    assert path.read_bytes() == content and len(list(path.parent.iterdir())) == 1
    assert user_assets.get_asset("hifi3d", tmp_path / "a", no_network) == path


def test_the_pinned_head_is_the_one_tested_with(shared_data: Path) -> None:
    import hashlib

    asset = user_assets.ASSETS["hifi3d"]
    data = (shared_data / "hifi3d" / "head.obj").read_bytes()
    assert (len(data), hashlib.sha256(data).hexdigest()) == (asset.num_bytes, asset.sha256)


def test_heads_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = tmp_path / "head.obj"
    head.write_text("v 0 0 0\n")
    monkeypatch.setenv("FACEPBR_HIFI3D", str(head))
    assert user_assets.find_head(None) is None and user_assets.find_head("embedded") is None
    assert user_assets.find_head("hifi3d") == head
    assert user_assets.find_head(str(head)) == head
    monkeypatch.delenv("FACEPBR_HIFI3D")
    monkeypatch.setattr(user_assets, "asset_dir", lambda: tmp_path / "none")
    with pytest.raises(user_assets.HeadError, match="assets get hifi3d"):
        user_assets.find_head("hifi3d")
    with pytest.raises(user_assets.HeadError, match="--head"):
        user_assets.find_head(str(tmp_path / "other.obj"))


SLOW = """
import sys, time
from pathlib import Path
from core import cli, result
class Slow:
    def decompose(self, photo, *, uv_texture, progress):
        return photo
def slow_write(value, target, bits):
    target = Path(target)
    hidden = target.with_name("." + target.name)
    hidden.mkdir()
    try:
        print("writing", flush=True)
        time.sleep(60)
    finally:
        hidden.rmdir()
result.write_result = slow_write
raise SystemExit(cli.main(sys.argv[1:], lambda settings: Slow()))
"""


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_signals_clean_up_and_end_with_130(repository: Path, tmp_path: Path, name: str) -> None:
    arguments = ["decompose", str(photo(tmp_path / "a.png")), "-o", str(tmp_path / "out")]
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, *arguments],
        cwd=repository,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a background job of a shell inherits "ignore Ctrl-C"; a user's terminal does not
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None and process.stdout.readline() == "writing\n"
    process.send_signal(getattr(signal, name))
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "interrupted" in err and "Traceback" not in err
    assert not (tmp_path / "out").exists()
