"""Finds the programs the stack runs, and says which version each is.

Nothing here installs: an absent or too old program is reported as None or as its version, and the
caller decides.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from stack.errors import MissingToolError

Version = tuple[int, ...]

POSTGRES_AT_LEAST: Version = (15,)
REDIS_AT_LEAST: Version = (7,)
JAVA_AT_LEAST: Version = (17,)
GO_AT_LEAST: Version = (1, 26, 6)

_POSTGRES_FOLDERS = (
    "/usr/lib/postgresql/*/bin",  # Debian, Ubuntu
    "/usr/pgsql-*/bin",  # the PostgreSQL project's packages for Fedora
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
)
_JAVA_FOLDERS = ("/opt/homebrew/opt/openjdk*/bin", "/usr/local/opt/openjdk*/bin")


@dataclass(frozen=True)
class Tool:
    """A program that was found: its path and what it says of itself."""

    path: Path
    version: Version

    def suits(self, at_least: Version) -> bool:
        return self.version >= at_least


def parse_version(text: str) -> Version | None:
    """The first dotted number in what a program prints of itself; None if there is none.

    Java up to 8 called itself 1.8; its second number is what counts.
    """
    found = re.search(r"(?<![\w.])(?:go)?v?(\d+(?:\.\d+)*)", text)
    if not found:
        return None
    version = tuple(int(part) for part in found.group(1).split("."))
    if "version" in text and len(version) > 1 and version[:2] == (1, 8):
        return version[1:]
    return version


def shown(version: Version) -> str:
    return ".".join(str(part) for part in version)


def postgres() -> Tool | None:
    """The newest PostgreSQL server there is; Debian keeps it off the PATH."""
    return _newest(_ask(path, "--version") for path in _candidates("postgres", _POSTGRES_FOLDERS))


def redis() -> Tool | None:
    return _newest(_ask(path, "--version", after="v=") for path in _candidates("redis-server", ()))


def java() -> Tool | None:
    """$JAVA_HOME's runtime or the PATH's: the newest of them."""
    home = os.environ.get("JAVA_HOME")
    folders = (f"{home}/bin", *_JAVA_FOLDERS) if home else _JAVA_FOLDERS
    return _newest(_ask(path, "-version") for path in _candidates("java", folders))


def maven() -> Path | None:
    found = shutil.which("mvn")
    return Path(found) if found else None


def go(extra: Path) -> Tool | None:
    """The newest Go on the PATH, in its usual place, or in ``extra``, the stack's own folder of it."""
    folders = ("/usr/local/go/bin", str(extra))
    return _newest(_ask(path, "version") for path in _candidates("go", folders))


def may_install() -> list[str] | None:
    """The words to put before apt-get when it may be used here; None when it may not."""
    if platform.system() != "Linux" or not shutil.which("apt-get"):
        return None
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") and _quiet(["sudo", "-n", "true"]) is not None:
        return ["sudo", "-n"]
    return None


def how_to_install(missing: Iterable[str]) -> MissingToolError:
    """One sentence on what is missing, then one line per system on how to get it."""
    names = list(missing)
    debian = " ".join(_PACKAGES[name].debian for name in names)
    fedora = " ".join(_PACKAGES[name].fedora for name in names)
    brew = " ".join(_PACKAGES[name].brew for name in names)
    wanted = " and ".join(_PACKAGES[name].wanted for name in names)
    return MissingToolError(
        f"Taskstream needs {wanted}, not found here.\n"
        f"  Debian, Ubuntu:  sudo apt-get update && sudo apt-get install {debian}\n"
        f"  Fedora:          sudo dnf install {fedora}\n"
        f"  macOS:           brew install {brew}"
    )


@dataclass(frozen=True)
class _Package:
    wanted: str
    debian: str
    fedora: str
    brew: str


_PACKAGES = {
    "postgres": _Package("PostgreSQL 15 or newer", "postgresql", "postgresql-server", "postgresql@17"),
    "redis": _Package("Redis 7 or newer", "redis-server", "redis", "redis"),
    "java": _Package(
        "a Java runtime, 17 or newer", "default-jre-headless", "java-21-openjdk-headless", "openjdk"
    ),
    "maven": _Package("Maven", "maven", "maven", "maven"),
    "go": _Package(f"Go {shown(GO_AT_LEAST)} or newer", "golang-go", "golang", "go"),
}


def _candidates(program: str, folders: Iterable[str]) -> list[Path]:
    found: dict[Path, None] = {}
    for pattern in folders:
        for folder in sorted(Path("/").glob(pattern.lstrip("/"))):
            if os.access(folder / program, os.X_OK):
                found[folder / program] = None
    if on_path := shutil.which(program):
        found[Path(on_path)] = None
    return list(found)


def _ask(path: Path, flag: str, after: str = "") -> Tool | None:
    text = _quiet([str(path), flag])
    if text is None:
        return None
    version = parse_version(text.partition(after)[2] if after else text)
    return Tool(path, version) if version else None


def _newest(tools: Iterable[Tool | None]) -> Tool | None:
    return max((tool for tool in tools if tool), key=lambda tool: tool.version, default=None)


def _quiet(argv: list[str]) -> str | None:
    """What a program printed, on either stream; None if it could not be run or failed."""
    environment = {**os.environ, "GOTOOLCHAIN": "local", "LC_ALL": "C"}
    try:
        done = subprocess.run(  # noqa: S603 - a program found on this machine, asked for its version
            argv, capture_output=True, text=True, timeout=20, check=True, env=environment
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout + done.stderr
