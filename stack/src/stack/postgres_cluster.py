"""A PostgreSQL data folder of our own: made by initdb, owned by a user that is not root."""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stack.command import run
from stack.errors import StackError

_ACCESS_RULES = """\
# Written by the local stack: loopback only, passwords always.
host all all 127.0.0.1/32 scram-sha-256
"""


def run_as() -> str | None:
    """The user to run PostgreSQL as: ``postgres`` for root, whom it refuses; else ourselves."""
    if os.geteuid() != 0:
        return None
    try:
        pwd.getpwnam("postgres")
    except KeyError as error:
        raise StackError(
            "PostgreSQL refuses to run as root and there is no user 'postgres': "
            "install PostgreSQL from packages, or run this as an ordinary user."
        ) from error
    return "postgres"


@dataclass(frozen=True)
class Cluster:
    """The data folder, and the password of its user ``taskstream``, the owner of its database."""

    programs: Path
    data: Path
    password: str

    def create(self) -> None:
        """Makes the folder unless it is there; it appears whole or not at all."""
        if (self.data / "PG_VERSION").is_file():
            return
        user = run_as()
        draft = self.data.with_name("postgres.new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        if user:
            shutil.chown(draft, user, user)
            self._check_reachable(user)
        run(
            [str(self.programs / "initdb"), "-D", str(draft), "-U", "postgres", "--encoding=UTF8",
             f"--locale={_locale()}", "--auth=trust", "--no-instructions"],
            doing="making the PostgreSQL data folder",
            environment=_environment(),
            folder=draft,
            run_as=user,
        )  # fmt: skip
        # In single-user mode, before anything listens: at no time is there a server without a password.
        # It may create databases, since each integration test has one of its own.
        run(
            [str(self.programs / "postgres"), "--single", "-D", str(draft), "postgres"],
            doing="making the database",
            environment=_environment(),
            folder=draft,
            run_as=user,
            stdin=(
                f"CREATE ROLE taskstream LOGIN CREATEDB PASSWORD '{self.password}'\n"
                "CREATE DATABASE taskstream OWNER taskstream\n"
            ),
        )
        (draft / "pg_hba.conf").write_text(_ACCESS_RULES)
        draft.replace(self.data)

    def _check_reachable(self, user: str) -> None:
        """Raises StackError when that user cannot get through to the data folder."""
        for folder in self.data.parents:
            if not folder.stat().st_mode & 0o001:
                raise StackError(
                    f"The user {user!r}, as whom PostgreSQL runs, cannot get into {folder}: "
                    "set TASKSTREAM_STATE to a folder that every user can pass through."
                )


def _locale() -> str:
    return "C.UTF-8" if os.uname().sysname == "Linux" else "en_US.UTF-8"


def _environment() -> Mapping[str, str]:
    return {"PATH": os.environ.get("PATH", ""), "LC_ALL": _locale()}
