"""What ships: pinned versions in one place, a wheel that stands alone, a README that names every option."""

import argparse
import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest


def lock_lines(repository: Path) -> list[str]:
    text = (repository / "requirements.lock").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(repository: Path) -> dict[str, str]:
    """{canonical name: version}"""
    pairs = [line.split(";")[0].strip().split("==") for line in lock_lines(repository)]
    return {canonical(name): version for name, version in pairs}


def project(repository: Path) -> dict:
    return tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))


def tracked(repository: Path) -> list[Path]:
    if not (repository / ".git").exists():
        pytest.skip("not a git checkout")
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=repository, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    return [repository / name for name in names if name and (repository / name).is_file()]


def test_every_version_is_exact_and_stands_once(repository: Path) -> None:
    lines = lock_lines(repository)
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+( ; .+)?", line) for line in lines)
    assert len(locked(repository)) == len(lines)


def test_dependencies_are_named_without_versions_and_locked(repository: Path) -> None:
    table = project(repository)["project"]
    names = [*table["dependencies"], *table["optional-dependencies"]["fan"]]
    assert all(re.fullmatch(r"[\w.-]+", name) for name in names)
    missing = {canonical(name) for name in names} - set(locked(repository))
    assert not missing


def test_this_environment_is_the_locked_one(repository: Path) -> None:
    from importlib import metadata

    here = {canonical(d.metadata["Name"]): d.version for d in metadata.distributions()}
    different = {
        name: (version, here[name])
        for name, version in locked(repository).items()
        if name in here and here[name].split("+")[0] != version
    }
    assert not different, "do run `make env`"


def test_no_host_of_a_package_index_and_no_path_of_a_machine(repository: Path) -> None:
    words = ["pypi" + ".org", "pythonhosted" + ".org", "download.pytorch" + ".org"]
    words += ["/ho" + "me/", "/ro" + "ot/", "/wo" + "rk/"]
    found = []
    for path in tracked(repository):
        text = path.read_bytes().decode("utf-8", "ignore") if path.suffix != ".safetensors" else ""
        found += [f"{path.relative_to(repository)}: {word}" for word in words if word in text]
    assert not found


def test_every_package_of_core_is_in_the_wheels_list(repository: Path) -> None:
    table = project(repository)["tool"]["setuptools"]
    folders = {p.parent.relative_to(repository) for p in (repository / "core").rglob("__init__.py")}
    assert {Path(table["package-dir"][name]) for name in table["packages"]} == folders


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_wheel_stands_alone(repository: Path, tmp_path: Path) -> None:
    """Built from a copy, unpacked elsewhere, run from there: nothing of the checkout is needed."""
    source = tmp_path / "source"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(repository / "core", source / "core", ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(repository / name, source / name)
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
    ]
    done = subprocess.run(
        [*build, "-w", str(tmp_path), str(source)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("facepbr-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    modules = {p.relative_to(source / "core").as_posix() for p in source.glob("core/**/*.py")}
    data = {
        p.relative_to(source / "core").as_posix()
        for pattern in ("weights/*.safetensors", "weights/index.json", "assets/**/*")
        for p in source.glob(f"core/{pattern}")
        if p.is_file()
    }
    inside = {name.removeprefix("facepbr/") for name in names if name.startswith("facepbr/")}
    assert modules | data <= inside
    assert all(name.startswith(("facepbr/", "facepbr-")) for name in names)
    assert any(name.endswith("licenses/NOTICE") for name in names)
    code = "import sys; sys.path.insert(0, sys.argv[1]); import facepbr.cli, facepbr.weights, facepbr.nets"
    code += "; print(facepbr.__file__)"
    run = [sys.executable, "-I", "-c", code, str(tmp_path / "site")]
    ran = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    assert Path(ran.stdout.strip()).is_relative_to(tmp_path / "site")


def test_readme_names_every_option_and_every_file(repository: Path) -> None:
    from core.cli import _parser
    from core.passes import PASS_KEYS

    readme = (repository / "README.md").read_text(encoding="utf-8")
    commands = next(
        action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction)
    )
    options = [
        option
        for action in commands.choices["decompose"]._actions
        for option in action.option_strings[-1:]
    ]
    files = [f"passes/{key}.png" for key in (*PASS_KEYS, "confidence")]
    files += ["head.obj", "head.glb", "environment.exr", "sheet.png", "report.json"]
    shown = {"--help": "", "--out": "-o DIR", "--verbose": "`-v`"}
    missing = [word for word in [*options, *files] if shown.get(word, word) not in readme]
    assert not missing


def test_readme_installs_what_the_makefile_installs(repository: Path) -> None:
    readme = (repository / "README.md").read_text(encoding="utf-8")
    makefile = (repository / "Makefile").read_text(encoding="utf-8")
    steps = (
        "torch -c requirements.lock",
        "pip install --no-deps -r requirements.lock",
        "pip install --no-deps --no-build-isolation -e .",
    )
    for step in steps:
        assert makefile.count(step) == 1 and readme.count(step) >= 2, step
    for target in ("env", "demo", "test", "lint"):
        assert f"\n{target}: " in makefile and f"make {target}" in readme
    ci = (repository / ".ci" / "run").read_text(encoding="utf-8")
    assert "make test" in ci and "make lint" in ci and "set -euo pipefail" in ci


def test_every_room_opens_with_its_sentence(repository: Path) -> None:
    for path in (repository / "core").rglob("*.py"):
        if "__pycache__" not in path.parts:
            tree = ast.parse(path.read_text(encoding="utf-8"))
            assert ast.get_docstring(tree), f"{path.relative_to(repository)} has no docstring"


def test_pinned_packages_work_together() -> None:
    """--no-deps checks nothing, so the pairs that are known to quarrel are tried here."""
    code = "from torch.utils.tensorboard import SummaryWriter; import pkg_resources, mediapipe, cv2"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
