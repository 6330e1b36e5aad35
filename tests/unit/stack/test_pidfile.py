"""A pid stands for a process only together with its start time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from stack import pidfile
from stack.errors import NotRunningError
from stack.pidfile import Farewell, PidRecord
from stack.supervisor import Supervisor


def ourselves(shift: float = 0.0) -> PidRecord:
    created = psutil.Process().create_time() + shift
    return PidRecord(os.getpid(), created, "launch", {"HTTP": 1}, Farewell(2, signal.SIGINT, 1.5))


def test_a_record_survives_its_file(tmp_path: Path) -> None:
    pidfile.write(tmp_path / "a.pid", ourselves())
    assert pidfile.read(tmp_path / "a.pid") == ourselves()


def test_a_running_process_with_the_recorded_start_is_alive() -> None:
    found = pidfile.alive(ourselves())
    assert found is not None
    assert found.pid == os.getpid()


@pytest.mark.parametrize("shift", [-30.0, 30.0])
def test_a_number_that_was_given_anew_is_not_ours(shift: float) -> None:
    assert pidfile.alive(ourselves(shift)) is None


def test_a_process_that_ended_is_not_alive_though_nobody_has_waited_for_it() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    record = PidRecord(child.pid, psutil.Process(child.pid).create_time(), "launch")
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert pidfile.alive(record) is None
    child.wait()
    assert pidfile.alive(record) is None


@pytest.mark.parametrize("text", ["", "12345", "[]", '{"pid": 1}', "not json"])
def test_a_spoilt_file_stands_for_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.pid").write_text(text)
    assert pidfile.read(tmp_path / "a.pid") is None
    assert pidfile.read(tmp_path / "absent.pid") is None


def test_no_stranger_is_signalled(tmp_path: Path) -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        created = psutil.Process(stranger.pid).create_time() - 100
        pidfile.write(tmp_path / "run" / "reminders.pid", PidRecord(stranger.pid, created, "launch"))
        supervisor = Supervisor(tmp_path)
        for signalling in (supervisor.kill, supervisor.pause, supervisor.resume):
            with pytest.raises(NotRunningError, match="reminders is not running"):
                signalling("reminders")
        supervisor.stop("reminders")
        assert stranger.poll() is None
        assert supervisor.names() == []
    finally:
        stranger.kill()
        stranger.wait()
