"""One function over many tasks: here, or on a Ray cluster. Results come in the order of the tasks.

A task that raises is tried again (``retries`` times; not when the error has ``final = True``) and then
reported, not raised: the others go on.
The tasks' own caches (bench/cache.py) make a second run take up only what failed. Ray's workers need
this checkout and its environment on every machine, at a path they share with the driver.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ENGINES = ("local", "ray")
RETRIES = 2


class EngineMissing(RuntimeError):
    """Ray was asked for and is not installed."""


@dataclass(frozen=True)
class Outcome:
    """What became of one task."""

    value: Any = None
    error: str = ""
    """The last line of the last failure; "" for a task that went well."""
    tries: int = 1


def attempt(function: Callable[..., Any], task: Any, retries: int = RETRIES) -> Outcome:
    """Run one task here until it goes well, at most 1 + ``retries`` times."""
    error = ""
    for number in range(1, retries + 2):
        try:
            return Outcome(function(task), tries=number)
        except Exception as failure:  # whatever a task raises is its report
            error = traceback.format_exception_only(failure)[-1].strip()
            if getattr(failure, "final", False):
                return Outcome(error=error, tries=number)
    return Outcome(error=error, tries=retries + 1)


def spread(
    function: Callable[[Any], Any],
    tasks: Sequence[Any],
    engine: str = "local",
    workers: int | None = None,
    retries: int = RETRIES,
) -> list[Outcome]:
    """``function`` of every task. engine "ray": on the cluster RAY_ADDRESS names, else on this machine.

    workers: tasks at a time on this machine (None: Ray's choice, one a core). A machine that is lost
    counts as a failure and its tasks are tried elsewhere.
    """
    if engine not in ENGINES:
        raise ValueError(f"expected an engine of {ENGINES}; got {engine!r}")
    if engine == "local":
        return [attempt(function, task, retries) for task in tasks]
    try:
        import ray  # type: ignore[import-not-found]
    except ImportError:
        raise EngineMissing(
            'expected Ray for --engine ray; got none; do `pip install "facepbr[ray]"`'
        ) from None
    started = not ray.is_initialized()
    if started:
        root = str(Path(__file__).resolve().parents[1])
        ray.init(
            num_cpus=workers,
            include_dashboard=False,
            log_to_driver=False,
            runtime_env={"env_vars": {"PYTHONPATH": _python_path(root)}},
        )
    try:
        remote = ray.remote(max_retries=retries)(attempt)
        waiting = [remote.remote(function, task, retries) for task in tasks]
        return [_collect(ray, reference) for reference in waiting]
    finally:
        if started:
            ray.shutdown()


def _python_path(root: str) -> str:
    import os

    return os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))


def _collect(ray: Any, reference: Any) -> Outcome:
    try:
        return ray.get(reference)
    except ray.exceptions.RayError as lost:  # the process or machine died, also when tried again
        return Outcome(error=str(lost).strip().splitlines()[0], tries=RETRIES + 1)
