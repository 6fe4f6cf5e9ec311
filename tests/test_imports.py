"""Directions between the rooms, read from the syntax tree of every file."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OURS = {"core", "train", "bench", "blender_facepbr", "facepbr", "tests", "build_addon"}
FORBIDDEN = {
    "core": {"bpy", "train", "bench", "blender_facepbr", "core", "facepbr", "build_addon"},
    "train": {"bpy", "bench", "blender_facepbr", "facepbr", "build_addon"},
    "bench": {"train", "blender_facepbr", "facepbr", "build_addon"},
    "blender_facepbr": {"torch", "core", "facepbr", "train", "bench", "blender_facepbr"},
}


def files(room: str) -> list[Path]:
    return sorted(p for p in (ROOT / room).rglob("*.py") if "__pycache__" not in p.parts)


def imports(path: Path) -> Iterator[tuple[int, str, int]]:
    """(line, module as written, relative level) of every import, also those inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, 0
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, node.module or "", node.level


def runs_by_path(path: Path) -> bool:
    return "__main__" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("room", sorted(FORBIDDEN))
def test_rooms_import_only_downwards(room: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {module}"
        for path in files(room)
        for line, module, level in imports(path)
        if level == 0 and module.split(".")[0] in FORBIDDEN[room]
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("room", ["core", "blender_facepbr"])
def test_relative_imports_stay_inside_their_room(room: str) -> None:
    """The room is copied into the extension as it stands, so nothing may reach above its own folder."""
    wrong = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in files(room)
        for line, _, level in imports(path)
        if level > len(path.relative_to(ROOT).parts) - 1
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", ["passes", "errors"])
def test_tables_import_nothing_of_ours(name: str) -> None:
    for line, module, level in imports(ROOT / "core" / f"{name}.py"):
        assert level == 0 and module.split(".")[0] in sys.stdlib_module_names, (
            f"{name}.py:{line} {module}"
        )


def test_networks_know_only_torch_and_themselves() -> None:
    allowed = {"torch", *sys.stdlib_module_names}
    wrong = [
        f"{path.name}:{line} imports {'.' * level}{module}"
        for path in files("core/nets")
        for line, module, level in imports(path)
        if level > 1 or (level == 0 and module.split(".")[0] not in allowed)
    ]
    assert not wrong, "\n".join(wrong)


def test_only_scene_and_scripts_know_bpy_in_bench() -> None:
    blender = {"bpy", "mathutils", "bmesh", "gpu"}
    wrong = [
        path.name
        for path in files("bench")
        if "scene" not in path.relative_to(ROOT).parts
        and not runs_by_path(path)
        and any(
            level == 0 and module.split(".")[0] in blender for _, module, level in imports(path)
        )
    ]
    assert not wrong


def test_the_addon_needs_only_what_every_blender_has() -> None:
    allowed = {"bpy", "mathutils", "numpy", *sys.stdlib_module_names}
    without_bpy = {"runtime.py", "managed.py", "jobs.py", "result_files.py", "exif.py"}
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {module}"
        for path in files("blender_facepbr")
        for line, module, level in imports(path)
        if level == 0
        and module.split(".")[0] not in allowed - ({"bpy"} if path.name in without_bpy else set())
    ]
    assert files("blender_facepbr") and not wrong, "\n".join(wrong)


def path_changes(path: Path) -> list[tuple[int, int]]:
    """First and last line of every statement that touches sys.path."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [
        (statement.lineno, statement.end_lineno or statement.lineno)
        for statement in ast.walk(tree)
        if isinstance(statement, ast.Expr | ast.Assign | ast.AugAssign)
        and any(
            isinstance(node, ast.Attribute)
            and node.attr == "path"
            and isinstance(node.value, ast.Name)
            and node.value.id == "sys"
            for node in ast.walk(statement)
        )
    ]


def test_sys_path_is_touched_only_by_scripts_once_and_with_a_reason() -> None:
    wrong = []
    for room in ("core", "train", "bench", "blender_facepbr"):
        for path in files(room):
            changes = path_changes(path)
            if not changes:
                continue
            lines = path.read_text(encoding="utf-8").splitlines()
            said = any("#" in line for line in lines[changes[0][0] - 2 : changes[0][1]])
            script = room in ("train", "bench") and runs_by_path(path)
            if not script or len(changes) > 1 or not said:
                wrong.append(f"{path.relative_to(ROOT)}:{changes[0][0]}")
    assert not wrong


def test_weights_are_never_pickles() -> None:
    """A pickle runs code and remembers a class path, which breaks in the copy inside the extension."""
    for path in files("core"):
        text = path.read_text(encoding="utf-8")
        assert "torch.load(" not in text and "import pickle" not in text, path
