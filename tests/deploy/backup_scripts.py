"""The scripts of k8s/backups, k8s/restore and k8s/backing/postgres, run as the user that PostgreSQL runs as."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.deploy.rendering import ROOT

from stack.postgres_cluster import run_as

BACKUP_PASSWORD = "the backups'"


class BackupScripts:
    """Copies of the scripts in `folder`: PostgreSQL's user cannot read everybody's checkout. `programs` has psql."""

    def __init__(self, folder: Path, programs: Path, *, data: Path, port: int) -> None:
        self.folder, self.files, self.backups = folder, folder / "files", folder / "backups"
        self.files.mkdir()
        scripts = [path for name in ("backups", "restore") for path in (ROOT / "k8s" / name).glob("*.sh")]
        for path in (*scripts, *(ROOT / "k8s/backing/postgres").iterdir()):
            shutil.copy(path, self.files)
        self.environment = {
            "PATH": f"{programs}:{os.environ['PATH']}", "BACKUPS": str(self.backups), "PGPORT": str(port),
            "PGDATA": str(data), "PGHOST": str(folder), "LC_ALL": "C",
        }  # fmt: skip

    def run(self, *words: str, stdin: str | None = None, **environment: str) -> str:
        """What a program printed; a script of ours is named by its file. Raises RuntimeError with what it said."""
        argv = ["sh", str(self.files / words[0])] if words[0].endswith(".sh") else list(words)
        done = subprocess.run(
            argv, env={**self.environment, **environment}, user=run_as(), cwd=self.folder, input=stdin,
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)
        return done.stdout

    def back_up(self, **environment: str) -> str:
        """One whole copy, as each night."""
        return self.run(
            "backup.sh", PGHOST="127.0.0.1", PGUSER="backup", PGPASSWORD=BACKUP_PASSWORD, **environment
        )
