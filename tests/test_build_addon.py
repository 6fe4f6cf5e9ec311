"""The extension's package: versions, content, the platform's rules, links for development."""

import importlib.util
import tomllib
import zipfile
from pathlib import Path

import pytest

import build_addon
from core import __version__


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    assert build_addon.main(["--out", str(out)]) == 0
    (path,) = out.glob("*.zip")
    return path


def test_zip_holds_the_addon_the_core_and_its_weights(archive: Path, repository: Path) -> None:
    assert archive.name == f"facepbr-{__version__}.zip"
    with zipfile.ZipFile(archive) as content:
        names = set(content.namelist())
    for name in ("__init__.py", "blender_manifest.toml", "core/worker.py", "LICENSE", "NOTICE"):
        assert f"facepbr/{name}" in names
    weights = {path.name for path in (repository / "core" / "weights").iterdir()}
    assert {f"facepbr/core/weights/{name}" for name in weights} <= names
    assert all(name.startswith("facepbr/") for name in names)
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]


def test_manifest_follows_the_platforms_rules(archive: Path) -> None:
    with zipfile.ZipFile(archive) as content:
        manifest = tomllib.loads(content.read("facepbr/blender_manifest.toml").decode())
        init = content.read("facepbr/__init__.py").decode()
    assert manifest["version"] == __version__ == build_addon.version()
    assert f'"version": ({", ".join(__version__.split("."))}),' in init
    assert manifest["schema_version"] == "1.0.0" and manifest["type"] == "add-on"
    assert "blender" not in manifest["name"].lower()
    assert len(manifest["tagline"]) <= 64 and not manifest["tagline"].endswith(".")
    assert all(reason and len(reason) <= 64 for reason in manifest["permissions"].values())
    assert all(name.startswith("SPDX:") for name in manifest["license"])


def test_environment_of_the_addon_is_pinned_by_the_lock(archive: Path, repository: Path) -> None:
    with zipfile.ZipFile(archive) as content:
        lines = content.read("facepbr/runtime-requirements.txt").decode().splitlines()
    lock = (repository / "requirements.lock").read_text(encoding="utf-8").splitlines()
    assert set(lines) <= set(lock)
    names = {line.partition("==")[0] for line in lines}
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(project["dependencies"]) - {"rich"} <= names  # rich: the command line's progress
    assert not names & {"bpy", "pytest", "ruff"}


def test_blenders_own_tool_accepts_the_zip_and_refuses_a_broken_one(
    archive: Path, tmp_path: Path
) -> None:
    if importlib.util.find_spec("bpy") is None:
        pytest.skip("the bpy wheel is not installed")
    build_addon.validate(archive)
    broken = tmp_path / "facepbr"
    broken.mkdir()
    (broken / "blender_manifest.toml").write_text('schema_version = "1.0.0"\n')
    with pytest.raises(build_addon.BuildError, match="not valid"):
        build_addon.validate(broken)


def test_equal_content_gives_an_equal_zip(archive: Path, tmp_path: Path) -> None:
    again = build_addon.zip_folder(build_addon.stage(tmp_path / "facepbr"), tmp_path / "a.zip")
    assert again.read_bytes() == archive.read_bytes()


def test_links_lead_into_the_checkout(repository: Path, tmp_path: Path) -> None:
    for _ in range(2):  # again over its own
        target = build_addon.link(tmp_path)
    assert (target / "core").resolve() == repository / "core"
    assert (target / "panels.py").resolve() == repository / "blender_facepbr" / "panels.py"
    assert __version__ in (target / "blender_manifest.toml").read_text(encoding="utf-8")
    assert (target / "runtime-requirements.txt").is_file()
    (target / ".linked").unlink()
    with pytest.raises(build_addon.BuildError, match="installed copy"):
        build_addon.link(tmp_path)


def test_every_file_of_the_addon_says_what_it_is(repository: Path) -> None:
    import ast

    for path in (repository / "blender_facepbr").rglob("*.py"):
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path.name
