"""An instance whose PostgreSQL is backed up as in a cluster: archive.sh keeps its log, backup.sh makes copies."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.deploy.backup_scripts import BACKUP_PASSWORD, BackupScripts

from stack import Instance, toolchain
from stack.postgres_cluster import run_as


class BackedUp:
    """Does to an instance what docs/runbooks/backup-restore.md and restore-postgresql.md have an operator do."""

    def __init__(self, instance: Instance) -> None:
        found = toolchain.postgres()
        assert found, "PostgreSQL is missing: run `make prepare`."
        self._instance, self._data = instance, instance.home / "postgres"
        disk = instance.home / "backup-disk"
        _make_folder(disk)
        self._scripts = BackupScripts(disk, found.path.parent, data=self._data, port=instance.ports.postgres)
        self._keep_the_log(found.path.parent)

    def _keep_the_log(self, programs: Path) -> None:
        """As k8s/backups/archive.yaml and roles.sh do; the native stack has no backups of its own."""
        scripts = self._scripts
        password = BACKUP_PASSWORD.replace("'", "''")
        self._instance.stop("postgres")
        scripts.run(
            str(programs / "postgres"), "--single", "-D", str(self._data), "postgres",
            stdin=f"CREATE ROLE backup LOGIN REPLICATION PASSWORD '{password}'\n",
        )  # fmt: skip
        with (self._data / "pg_hba.conf").open("a") as rules:
            rules.write("host replication backup 127.0.0.1/32 scram-sha-256\n")
        archive = f'BACKUPS={scripts.backups} sh {scripts.files}/archive.sh "%p" "%f"'
        with (self._data / "postgresql.auto.conf").open("a") as settings:
            settings.write(f"archive_mode = on\narchive_timeout = 300\narchive_command = '{archive}'\n")
        self._instance.restart("postgres")

    def copy(self) -> None:
        """The nightly job."""
        self._scripts.back_up()

    def wipe(self) -> None:
        """PostgreSQL stops in an orderly way, and its data is gone."""
        self._instance.stop("postgres")
        shutil.rmtree(self._data)
        _make_folder(self._data)

    def restore(self, until: str) -> None:
        """The restore job, then PostgreSQL, which replays its log and opens."""
        self._scripts.run("restore.sh", UNTIL=until)
        self._instance.restart("postgres")

    def taskstream(self, *words: str, seconds: float = 0.0) -> str:
        """What the operators' command says; asked again for so long while it fails."""
        deadline = time.monotonic() + seconds
        while True:
            done = subprocess.run(
                [sys.executable, "-m", "taskstream_cli", *words], env=os.environ | self._instance.env(),
                capture_output=True, text=True, check=False, timeout=120,
            )  # fmt: skip
            if done.returncode == 0:
                return done.stdout
            assert time.monotonic() < deadline, done.stdout + done.stderr
            time.sleep(0.5)


def _make_folder(folder: Path) -> None:
    folder.mkdir()
    if user := run_as():
        shutil.chown(folder, user, user)
