"""Finds Prometheus' promtool, or takes it out of Debian's package without installing its server."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from stack.command import run
from stack.errors import MissingToolError
from stack.filelock import locked
from stack.layout import cache_root

_KEPT = "promtool"


def promtool() -> Path:
    """The program. Raises MissingToolError with one sentence where there is none and none can be had."""
    found = shutil.which("promtool")
    if found:
        return Path(found)
    kept = cache_root() / _KEPT / "promtool"
    kept.parent.mkdir(parents=True, exist_ok=True)
    with locked(kept.parent / "lock", waiting=lambda: None):
        if not kept.is_file():
            _unpack(kept)
    return kept


def _unpack(kept: Path) -> None:
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise MissingToolError("promtool is missing: install Prometheus (`brew install prometheus`).")
    with tempfile.TemporaryDirectory(dir=kept.parent) as scratch:
        folder = Path(scratch)
        folder.chmod(0o755)
        run(["apt-get", "download", "-q", "prometheus"], doing="getting promtool", folder=folder)
        (package,) = folder.glob("prometheus_*.deb")
        run(["dpkg-deb", "-x", str(package), str(folder / "all")], doing="unpacking promtool")
        (folder / "all/usr/bin/promtool").replace(kept)
