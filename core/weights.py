"""Locate, hash-check and load the networks' weights: safetensors with JSON metadata, never pickle.

`<dir>/<stage>.safetensors` carries in its header: `stage`, `config` (JSON: the network's constructor arguments),
and what else the training noted (run, data, licence). `<dir>/index.json` maps file name to SHA-256; files it names
must match. A folder without an index (a set of your own) is accepted as it is.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from .errors import WeightsError
from .nets import MAGINet, Pix2PixHD, RefinementNet

STAGE_CLASSES: dict[str, type[nn.Module]] = {
    "maginet": MAGINet,
    "refinement": RefinementNet,
    "pix2pixhd": Pix2PixHD,
}
STAGES: tuple[str, ...] = tuple(STAGE_CLASSES)
EMBEDDED_DIR = Path(__file__).parent / "weights"
INDEX_NAME = "index.json"
FORMAT = "facepbr-1"
_REINSTALL = "do install again or give a complete set with --weights DIR"


def stage_path(stage: str, weights_dir: str | Path | None = None) -> Path:
    """Where the weights of `stage` are looked for; the embedded set unless a folder is given."""
    if stage not in STAGES:
        raise ValueError(f"expected one of {STAGES}; got {stage!r}")
    return (Path(weights_dir) if weights_dir else EMBEDDED_DIR) / f"{stage}.safetensors"


def load_stage(
    stage: str, weights_dir: str | Path | None = None, device: str | torch.device = "cpu"
) -> nn.Module:
    """Build the network of `stage` from its file: float32, eval mode, no gradients, on `device`.

    WeightsError when the file is missing, truncated, a pickle, of another stage, or does not match its own config
    or the folder's index.
    """
    path = stage_path(stage, weights_dir)
    check_file(path)
    metadata = read_metadata(path)
    if metadata.get("stage") != stage:
        raise WeightsError(
            f"{path}: expected weights of stage {stage}; got stage {metadata.get('stage')!r}; {_REINSTALL}"
        )
    try:
        network = STAGE_CLASSES[stage](**json.loads(metadata["config"]))
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(
            f"{path}: expected the {stage} network's arguments as JSON under 'config'; got {_one_line(error)}; "
            f"{_REINSTALL}"
        ) from None
    tensors = _read_tensors(path)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise WeightsError(
            f"{path}: expected the tensors of its own config; got {_one_line(error)[:200]}; {_REINSTALL}"
        ) from None
    return network.to(device).eval().requires_grad_(False)


def save_stage(
    path: str | Path, module: nn.Module, metadata: dict[str, Any], half: bool = True
) -> Path:
    """Write a network with its `config`; `metadata` must name its `stage`. fp16 unless `half` is False.

    Values of `metadata` that are not text are stored as JSON. The file appears whole or not at all.
    """
    path = Path(path)
    if metadata.get("stage") not in STAGES:
        raise ValueError(f"expected metadata['stage'] in {STAGES}; got {metadata.get('stage')!r}")
    tensors = {}
    for key, value in module.state_dict().items():
        stored = value.detach().to("cpu")
        if half and stored.is_floating_point():
            stored = stored.half()
        if stored.is_floating_point() and not torch.isfinite(stored).all():
            raise ValueError(f"expected finite weights; got inf or nan in {key} (half={half})")
        tensors[key] = stored.contiguous().clone()
    header = {"format": FORMAT, "config": json.dumps(module.config, sort_keys=True)}
    for key, value in metadata.items():
        header[key] = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        save_file(tensors, temporary, metadata=header)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def read_metadata(path: str | Path) -> dict[str, str]:
    """Header of a safetensors file; WeightsError when it is missing, truncated or not safetensors."""
    path = Path(path)
    _refuse_others(path)
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise _damaged(path, error) from None


def check_file(path: str | Path) -> str:
    """SHA-256 of a weights file, compared with the index beside it where that names it; WeightsError otherwise."""
    path = Path(path)
    _refuse_others(path)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    expected = read_index(path.parent).get(path.name)
    if expected is not None and expected != digest:
        raise WeightsError(
            f"{path}: expected SHA-256 {expected[:12]}... as {INDEX_NAME} has it; got {digest[:12]}...; the file is "
            f"damaged or from another set; {_REINSTALL}"
        )
    return digest


def read_index(weights_dir: str | Path) -> dict[str, str]:
    """{file name: SHA-256} of a weights folder; empty without an index."""
    path = Path(weights_dir) / INDEX_NAME
    if not path.is_file():
        return {}
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(index, dict):
            raise ValueError("not an object")
        return {str(key): str(value) for key, value in index.items()}
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"{path}: expected JSON of file name to SHA-256; got {_one_line(error)}; {_REINSTALL}"
        ) from None


def write_index(weights_dir: str | Path) -> Path:
    """Write `index.json` for every safetensors file of the folder."""
    folder = Path(weights_dir)
    index = {}
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            index[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    target = folder / INDEX_NAME
    target.write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    return target


def file_hashes(weights_dir: str | Path | None = None) -> dict[str, str]:
    """{file name: SHA-256} of the three stages and the embedded head, checked; for reports."""
    folder = Path(weights_dir) if weights_dir else EMBEDDED_DIR
    paths = [stage_path(stage, folder) for stage in STAGES]
    head = EMBEDDED_DIR / "head.safetensors"
    return {path.name: check_file(path) for path in [*paths, head] if path.is_file()}


def _read_tensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise _damaged(path, error) from None
    return {key: t.float() if t.is_floating_point() else t for key, t in tensors.items()}


def _refuse_others(path: Path) -> None:
    """Say plainly what is wrong with files that cannot be safetensors; pickles are never opened."""
    if not path.is_file():
        raise WeightsError(f"{path}: expected a weights file; got nothing there; {_REINSTALL}")
    with path.open("rb") as file:
        start = file.read(16)
    if start.startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")):
        raise WeightsError(
            f"{path}: expected safetensors; got a pickle (PyTorch .pt/.pth), which is never opened; "
            "do convert it to safetensors where you trust it"
        )
    if len(start) < 16 or start[8:9] != b"{":
        raise WeightsError(
            f"{path}: expected safetensors; got a file that is not; {_REINSTALL}"
        ) from None


def _damaged(path: Path, error: BaseException) -> WeightsError:
    return WeightsError(
        f"{path}: expected a whole safetensors file; got a damaged one ({_one_line(error)}); {_REINSTALL}"
    )


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
