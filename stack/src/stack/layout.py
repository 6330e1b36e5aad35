"""Where things live: the checkout, the cache of built tools, the data of each instance."""

from __future__ import annotations

import os
import re
from pathlib import Path

from stack.errors import StackError

_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")


def checkout() -> Path:
    """The root of the Taskstream checkout: the folder that holds components/ and stack/daprd/.

    Raises StackError when this package was installed away from a checkout and neither
    $TASKSTREAM_ROOT nor the working directory lies in one.
    """
    named = os.environ.get("TASKSTREAM_ROOT")
    starts = [Path(named)] if named else [Path(__file__).resolve(), Path.cwd().resolve()]
    for start in starts:
        for folder in (start, *start.parents):
            if (folder / "components").is_dir() and (folder / "stack" / "daprd" / "go.mod").is_file():
                return folder
    raise StackError("No Taskstream checkout found: run from inside one, or set TASKSTREAM_ROOT to its root.")


def cache_root() -> Path:
    """The folder for what is downloaded or built once: $TASKSTREAM_CACHE, else the XDG cache."""
    if named := os.environ.get("TASKSTREAM_CACHE"):
        return Path(named).absolute()
    if named := os.environ.get("XDG_CACHE_HOME"):
        return Path(named).absolute() / "taskstream"
    return _home() / ".cache" / "taskstream"


def state_root() -> Path:
    """The folder that holds one data folder per instance: $TASKSTREAM_STATE, else by user.

    PostgreSQL refuses to run as root, so root's instances lie in /var/lib, which the postgres user
    can reach, and not in root's home, which it cannot.
    """
    if named := os.environ.get("TASKSTREAM_STATE"):
        return Path(named).absolute()
    if os.geteuid() == 0:
        return Path("/var/lib/taskstream")
    if named := os.environ.get("XDG_STATE_HOME"):
        return Path(named).absolute() / "taskstream"
    return _home() / ".local" / "state" / "taskstream"


def checked_name(name: str) -> str:
    """The instance name itself; raises StackError unless it is fit for file names and app output."""
    if not _NAME.fullmatch(name):
        raise StackError(
            f"{name!r} is no instance name: use up to 32 lower-case letters, digits and dashes, a letter first."
        )
    return name


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError as error:
        raise StackError("No home directory: set HOME, or TASKSTREAM_CACHE and TASKSTREAM_STATE.") from error
