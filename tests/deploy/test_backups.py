"""The scripts of k8s/backups, k8s/restore and k8s/backing/postgres on a real PostgreSQL: wiped, back at a moment."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.deploy.backup_scripts import BACKUP_PASSWORD, BackupScripts

from stack import toolchain
from stack.ports import free_ports
from stack.postgres_cluster import run_as


class Cluster(BackupScripts):
    """A PostgreSQL that is run as the one in k8s/backing is, with its log kept by archive.sh."""

    def __init__(self, folder: Path, programs: Path) -> None:
        (self._port,) = free_ports(1)
        self.data, self.programs = folder / "data", programs
        super().__init__(folder, programs, data=self.data, port=self._port)
        self.environment |= {
            "POSTGRES_USER": "postgres",
            "APP_PASSWORD": "it's the app's",
            "BACKUP_PASSWORD": BACKUP_PASSWORD,
            "MONITOR_PASSWORD": "the exporter's",
        }
        self._server: subprocess.Popen[bytes] | None = None

    def ask(self, statement: str) -> list[str]:
        """The rows of a statement of the services' role, which logs in over TCP with its password."""
        words = (
            "psql",
            "-XAtq",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            "127.0.0.1",
            "-U",
            "taskstream",
            "-c",
            statement,
        )
        return self.run(*words, PGPASSWORD="it's the app's").split("\n")[:-1]

    def start(self) -> None:
        archive = f'archive_command=sh {self.files}/archive.sh "%p" "%f"'
        options = [f"hba_file={self.files}/pg_hba.conf", "archive_mode=on", archive, "archive_timeout=300",
                   "listen_addresses=127.0.0.1", f"port={self._port}", f"unix_socket_directories={self.folder}",
                   "fsync=off"]  # fmt: skip
        words = [word for option in options for word in ("-c", option)]
        with (self.folder / "log").open("ab") as log:
            self._server = subprocess.Popen(
                [str(self.programs / "postgres"), *words], env=self.environment, user=run_as(), cwd=self.folder,
                stdout=log, stderr=log,
            )  # fmt: skip

    def eventually(self, statement: str, answer: str) -> None:
        deadline = time.monotonic() + 90
        while True:
            try:
                if (
                    self.run("psql", "-XAtq", "-U", "postgres", "-d", "postgres", "-c", statement).strip()
                    == answer
                ):
                    return
            except RuntimeError:
                pass
            assert time.monotonic() < deadline, (self.folder / "log").read_text(errors="replace")[-2000:]
            time.sleep(0.2)

    def archive_everything(self) -> None:
        segment = "SELECT pg_walfile_name(pg_current_wal_lsn())"
        last = self.run("psql", "-XAtq", "-U", "postgres", "-d", "postgres", "-c", segment).strip()
        self.run("psql", "-XAtq", "-U", "postgres", "-d", "postgres", "-c", "SELECT pg_switch_wal()")
        self.eventually(f"SELECT last_archived_wal >= '{last}' FROM pg_stat_archiver", "t")

    def wipe(self) -> None:
        self.stop()
        shutil.rmtree(self.data)

    def restore(self, *, until: str) -> None:
        self.run("restore.sh", UNTIL=until)
        self.start()
        self.eventually("SELECT pg_is_in_recovery()", "f")

    def stop(self) -> None:
        if self._server is not None:
            self._server.send_signal(signal.SIGINT)
            self._server.wait(60)
            self._server = None


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    found = toolchain.postgres()
    assert found, "PostgreSQL is missing: run `make prepare`."
    folder = Path(tempfile.mkdtemp(prefix="taskstream-backup-"))
    if user := run_as():
        shutil.chown(folder, user, user)
    folder.chmod(0o755)
    cluster = Cluster(folder, found.path.parent)
    try:
        cluster.run("initdb", "-U", "postgres", "--data-checksums", "--no-sync")
        cluster.start()
        cluster.eventually("SELECT 1", "1")
        cluster.run("roles.sh")
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder)


def test_wiped_data_is_back_as_it_was_at_a_moment(cluster: Cluster) -> None:
    cluster.ask("CREATE TABLE said (what text)")
    cluster.ask("INSERT INTO said VALUES ('before the copy')")
    assert "kept 2" in cluster.back_up()
    time.sleep(1.1)  # a copy is named by its second
    cluster.ask("INSERT INTO said VALUES ('after the copy')")
    (moment,) = cluster.ask("SELECT clock_timestamp()")
    cluster.ask("INSERT INTO said VALUES ('too late')")
    cluster.archive_everything()
    with pytest.raises(RuntimeError, match="is not empty"):
        cluster.run("restore.sh")
    cluster.wipe()

    with pytest.raises(RuntimeError, match=r"no copy in .* older than 2001"):
        cluster.run("restore.sh", UNTIL="2001-01-01 00:00:00+00")
    cluster.restore(until=moment)
    assert cluster.ask("SELECT what FROM said ORDER BY what DESC") == ["before the copy", "after the copy"]

    # Again, to the latest there is: from a copy of the cluster that was restored, which has its settings.
    cluster.back_up()
    cluster.ask("INSERT INTO said VALUES ('thereafter')")
    cluster.archive_everything()
    cluster.wipe()
    cluster.restore(until="")
    assert "thereafter" in cluster.ask("SELECT what FROM said")


def test_a_copy_that_was_not_whole_at_that_moment_is_not_taken(cluster: Cluster) -> None:
    """PostgreSQL would not start: it reaches the moment before what it has is in one piece."""
    cluster.ask("CREATE TABLE said (what text)")
    cluster.back_up()
    time.sleep(1.1)
    slow = cluster.folder / "slow"
    slow.mkdir()
    ask = f"psql -XAtq -h {cluster.folder} -U taskstream -c"
    (slow / "pg_basebackup").write_text(
        f"""#!/bin/sh
        sleep 1.1
        {ask} 'SELECT clock_timestamp()' > {cluster.folder}/moment
        {ask} "INSERT INTO said VALUES ('while the copy was made')"
        exec {cluster.programs}/pg_basebackup "$@"
        """
    )
    (slow / "pg_basebackup").chmod(0o755)
    cluster.back_up(PATH=f"{slow}:{cluster.environment['PATH']}")
    cluster.archive_everything()
    cluster.wipe()
    cluster.restore(until=(cluster.folder / "moment").read_text().strip())
    assert cluster.ask("SELECT what FROM said") == []


def test_the_job_moves_what_is_there_aside_and_does_a_restore_anew_that_was_not_opened(
    cluster: Cluster,
) -> None:
    cluster.ask("CREATE TABLE said (what text)")
    cluster.ask("INSERT INTO said VALUES ('before the copy')")
    cluster.back_up()
    cluster.archive_everything()
    cluster.stop()
    with pytest.raises(RuntimeError, match="no copy in"):
        cluster.run("restore.sh", MOVE_ASIDE="yes", UNTIL="2001-01-01 00:00:00+00")
    assert (cluster.data / "PG_VERSION").is_file()

    said = cluster.run("restore.sh", MOVE_ASIDE="yes")
    (aside,) = cluster.folder.glob("data.before-*")
    assert f"what was there is in {aside}" in said
    assert (aside / "PG_VERSION").is_file()
    (cluster.data / "PG_VERSION").unlink()  # as if the job had ended half-way
    assert "never opened" in cluster.run("restore.sh", MOVE_ASIDE="yes")
    assert list(cluster.folder.glob("data.before-*")) == [aside]
    cluster.start()
    cluster.eventually("SELECT pg_is_in_recovery()", "f")
    assert cluster.ask("SELECT what FROM said") == ["before the copy"]
    assert not (cluster.data / "recovery.signal").exists()


def test_who_measures_sees_the_figures_and_nobodys_tables(cluster: Cluster) -> None:
    cluster.ask("CREATE TABLE said (what text)")
    words = ("psql", "-XAtq", "-h", "127.0.0.1", "-U", "monitor", "-d", "taskstream", "-c")
    figures = "SELECT numbackends > 0 FROM pg_stat_database WHERE datname = 'taskstream'"
    assert cluster.run(*words, figures, PGPASSWORD="the exporter's").strip() == "t"
    with pytest.raises(RuntimeError, match="permission denied"):
        cluster.run(*words, "SELECT * FROM said", PGPASSWORD="the exporter's")


def test_copies_and_log_that_are_too_old_are_forgotten(cluster: Cluster) -> None:
    cluster.back_up()
    (first,) = (cluster.backups / "base").iterdir()
    os.utime(first, (0, 0))
    unfinished = cluster.backups / "base/20010101T000000Z.part"
    unfinished.mkdir()
    cluster.run("psql", "-XAtq", "-U", "postgres", "-d", "postgres", "-c", "SELECT pg_switch_wal()")
    before = {path.name for path in (cluster.backups / "wal").iterdir()}
    time.sleep(1.1)  # a copy is named by its second
    cluster.back_up()
    (left,) = (cluster.backups / "base").iterdir()
    assert left != first
    assert before - {path.name for path in (cluster.backups / "wal").iterdir()}
