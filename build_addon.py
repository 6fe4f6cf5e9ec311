"""Stage and zip the Blender extension: blender_facepbr/ with a copy of core/ and its weights.

    python build_addon.py                     dist/facepbr/ and dist/facepbr-<version>.zip
    python build_addon.py --validate          ... then let Blender's own extension tool judge the zip (needs bpy)
    python build_addon.py --link DIR          DIR/facepbr made of links into this checkout, for development

The zip has one folder inside, which Blender 4.2 to 5.x installs as an extension ("Install from Disk") and 3.4 to 4.1
as a legacy add-on. DIR is Blender's ``extensions/user_default`` or ``scripts/addons``.
"""

from __future__ import annotations

import argparse
import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent
ADDON, CORE = ROOT / "blender_facepbr", ROOT / "core"
NAME = "facepbr"
LEGAL = ("LICENSE", "NOTICE")
REQUIREMENTS = "runtime-requirements.txt"
RUNTIME_PACKAGES = (
    "absl-py", "attrs", "contourpy", "cycler", "filelock", "flatbuffers", "fonttools", "fsspec", "Jinja2",
    "kiwisolver", "MarkupSafe", "matplotlib", "mediapipe", "mpmath", "networkx", "numpy",
    "opencv-python-headless", "OpenEXR", "packaging", "pillow", "protobuf", "pyparsing", "python-dateutil",
    "safetensors", "scipy", "setuptools", "six", "sympy", "torch", "tqdm", "typing_extensions",
)  # fmt: skip
"""What the worker needs, with what that needs; the lock also holds what builds, tests and renders."""
_ZIP_TIME = (2026, 1, 1, 0, 0, 0)
"""Of every file in the zip, so that equal content gives an equal zip."""


class BuildError(Exception):
    """The extension cannot be built; the message says why."""


def version() -> str:
    """The project's version: pyproject.toml names the attribute, core/__init__.py has it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    module, _, attribute = project["tool"]["setuptools"]["dynamic"]["version"]["attr"].rpartition(
        "."
    )
    folder = ROOT / project["tool"]["setuptools"]["package-dir"][module]
    for node in ast.parse((folder / "__init__.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == attribute:
            return str(ast.literal_eval(node.value))
    raise BuildError(f"expected {attribute} in {folder / '__init__.py'}; got none")


def with_version(name: str, text: str) -> str:
    """The manifest's and bl_info's placeholder 0.0.0 replaced; other files as they are."""
    number = version()
    pattern, new = {
        "blender_manifest.toml": (r'^version = "0\.0\.0"$', f'version = "{number}"'),
        "__init__.py": (
            r'^    "version": \(0, 0, 0\),$',
            f'    "version": ({", ".join(re.findall(r"[0-9]+", number)[:3])}),',
        ),
    }[name]
    text, count = re.subn(pattern, new, text, flags=re.MULTILINE)
    if count != 1:
        raise BuildError(f"{name}: expected one placeholder for the version; got {count}")
    return text


def runtime_requirements() -> str:
    """Lines of the lock for RUNTIME_PACKAGES, which the add-on installs where the user asks for it."""
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pins = {
        line.partition("==")[0].strip(): line for line in lines if re.match(r"[A-Za-z0-9]", line)
    }
    missing = [name for name in RUNTIME_PACKAGES if name not in pins]
    if missing:
        raise BuildError(f"requirements.lock: expected {', '.join(missing)}; got none")
    return "".join(f"{pins[name]}\n" for name in RUNTIME_PACKAGES)


def sources() -> Iterator[tuple[Path, str]]:
    """(file, path inside the extension) of everything that ships, except the two files with a version."""
    for folder, inside in ((ADDON, ""), (CORE, "core/")):
        for path in sorted(folder.rglob("*")):
            relative = path.relative_to(folder)
            hidden = any(part.startswith((".", "__pycache__")) for part in relative.parts)
            if path.is_file() and not hidden and path.suffix != ".pyc":
                yield path, inside + relative.as_posix()
    for name in LEGAL:
        yield ROOT / name, name


def stage(target: Path) -> Path:
    """Write the extension as folder ``target``, replacing it; returns it."""
    shutil.rmtree(target, ignore_errors=True)
    for source, inside in sources():
        destination = target / inside
        destination.parent.mkdir(parents=True, exist_ok=True)
        if inside in ("blender_manifest.toml", "__init__.py"):
            text = with_version(inside, source.read_text(encoding="utf-8"))
            destination.write_text(text, encoding="utf-8")
        else:
            shutil.copyfile(source, destination)
    (target / REQUIREMENTS).write_text(runtime_requirements(), encoding="utf-8")
    return target


def link(parent: Path) -> Path:
    """``parent``/facepbr of links to this checkout's files, so edits are seen at the next reload; returns it."""
    target = parent / NAME
    if target.exists() and not (target / ".linked").is_file():
        raise BuildError(
            f"{target}: expected no add-on or a linked one; got an installed copy; do remove it"
        )
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    (target / ".linked").touch()
    for entry in [*ADDON.iterdir(), CORE, *(ROOT / name for name in LEGAL)]:
        if entry.name in ("blender_manifest.toml", "__init__.py"):
            text = with_version(entry.name, entry.read_text(encoding="utf-8"))
            (target / entry.name).write_text(text, encoding="utf-8")
        elif entry.name != "__pycache__":
            (target / entry.name).symlink_to(entry, target_is_directory=entry.is_dir())
    (target / REQUIREMENTS).write_text(runtime_requirements(), encoding="utf-8")
    return target


def zip_folder(folder: Path, path: Path) -> Path:
    """``folder`` as zip ``path`` with the folder's name as its only top level; returns the zip."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for source in sorted(item for item in folder.rglob("*") if item.is_file()):
            entry = zipfile.ZipInfo(f"{NAME}/{source.relative_to(folder).as_posix()}", _ZIP_TIME)
            packed = source.suffix == ".safetensors"  # half floats hardly shrink
            entry.compress_type = zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, source.read_bytes())
    return path


def extension_tool() -> Path:
    """Blender's own extension tool inside the installed bpy wheel; BuildError without it."""
    found = subprocess.run(
        [sys.executable, "-c", "import importlib.util as u; print(u.find_spec('bpy').origin)"],
        capture_output=True,
        text=True,
    )
    if found.returncode == 0:
        pattern = "*/scripts/addons_core/bl_pkg/cli/blender_ext.py"
        for tool in Path(found.stdout.strip()).parent.glob(pattern):
            return tool
    raise BuildError("--validate: expected the bpy wheel; got none; do pip install bpy")


def validate(path: Path) -> None:
    """Let Blender's extension tool check a folder or zip; BuildError with its words where it objects."""
    done = subprocess.run(
        [sys.executable, str(extension_tool()), "validate", str(path)],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise BuildError(f"{path}: not valid: {(done.stdout + done.stderr).strip()}")


def main(arguments: list[str] | None = None) -> int:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="build_addon.py", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="default: dist/")
    parser.add_argument("--validate", action="store_true", help="check the zip with Blender's tool")
    parser.add_argument("--link", type=Path, metavar="DIR", help="links instead of a zip")
    options = parser.parse_args(arguments)
    try:
        if options.link:
            print(link(options.link))
            return 0
        path = zip_folder(stage(options.out / NAME), options.out / f"{NAME}-{version()}.zip")
        if options.validate:
            validate(path)
    except (BuildError, OSError) as error:
        print(f"build_addon.py: {error}", file=sys.stderr)
        return 1
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
