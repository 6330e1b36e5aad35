"""Starts, watches, signals and stops the processes of one instance."""

from __future__ import annotations

import atexit
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from stack import pidfile
from stack.command import tail
from stack.errors import CancelledError, NotReadyError, NotRunningError, PortBusyError
from stack.pidfile import PidRecord
from stack.processes import Process
from stack.services import HOST

_POLL_SECONDS = 0.05
_LOG_KEPT_BYTES = 20_000_000
_TAIL_LINES = 20
_STANDSTILL_SECONDS = 5.0
_ABORT_SECONDS = 10.0
_MOMENT_SECONDS = 5.0

# Children of this very Python process: the kernel keeps a dead one until it is asked for.
_children: dict[int, subprocess.Popen[bytes]] = {}


@atexit.register
def _reap() -> None:
    for pid, child in list(_children.items()):
        if child.poll() is not None:
            _children.pop(pid, None)


class Supervisor:
    """The processes of one instance, known by their names; state lies in its folder alone.

    Safe to use from several threads, and from another Python process than the one that started them.
    """

    def __init__(self, home: Path) -> None:
        self._runs = home / "run"
        self._logs = home / "logs"

    def names(self) -> list[str]:
        """Every name that has a pid file, in alphabetical order."""
        return sorted(path.stem for path in self._runs.glob("*.pid"))

    def log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def find(self, name: str) -> psutil.Process | None:
        """The running process of that name, or None."""
        record = pidfile.read(self._pid(name))
        _reap()
        return pidfile.alive(record)

    def is_current(self, process: Process) -> bool:
        """Whether what runs under that name was started from the same command and environment."""
        record = pidfile.read(self._pid(process.name))
        return record is not None and record.launch == process.launch()

    def check_ports(self, processes: Iterable[Process], instance: str) -> None:
        """Raises PortBusyError for the first port that something else holds."""
        for process in processes:
            for use, port in process.ports.items():
                if not _comes_free(port):
                    raise PortBusyError(_busy_text(port, use, process.name, instance))

    def start(self, process: Process) -> None:
        """Starts it; it has its own session, so that no Ctrl-C of ours reaches it."""
        for folder in (self._runs, self._logs):
            folder.mkdir(parents=True, exist_ok=True)
        if process.before:
            process.before()
        log = self.log(process.name)
        if log.exists() and log.stat().st_size > _LOG_KEPT_BYTES:
            log.replace(log.with_suffix(".log.1"))
        with log.open("ab") as output:
            child = subprocess.Popen(  # noqa: S603 - argv is made by this package, never by a shell
                process.argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(process.environment),
                cwd=process.folder,
                start_new_session=True,
                user=process.run_as,
                group=process.run_as,
                extra_groups=[] if process.run_as else None,
            )
        _children[child.pid] = child
        try:
            created = psutil.Process(child.pid).create_time()
        except psutil.Error:
            created = 0.0
        record = PidRecord(child.pid, created, process.launch(), dict(process.ports), process.farewell)
        pidfile.write(self._pid(process.name), record)

    def await_ready(self, process: Process, cancelled: threading.Event) -> None:
        """Returns once it is ready; raises NotReadyError with its last lines when it dies or takes too long."""
        deadline = time.monotonic() + process.ready_within
        while not process.ready():
            if cancelled.is_set():
                raise CancelledError(f"{process.name}: given up")
            if self.find(process.name) is None:
                raise NotReadyError(
                    f"{process.name} stopped before it was ready. {self._last_lines(process.name)}"
                )
            if time.monotonic() > deadline:
                raise NotReadyError(
                    f"{process.name} was not ready within {process.ready_within:.0f} s. "
                    f"{self._last_lines(process.name)}"
                )
            time.sleep(_POLL_SECONDS)

    def stop(self, name: str) -> None:
        """Asks it to end, ends it when it does not, and forgets it; nothing happens if it is not there."""
        record, running = pidfile.read(self._pid(name)), self.find(name)
        if record is not None and running is not None:
            family = _family(running)
            # A paused process would not hear of its end.
            _send(family, signal.SIGCONT)
            _send([running], signal.Signals(record.farewell.signal))
            if not self._gone_within(name, record.farewell.seconds):
                _send([running, *_family(running)], signal.SIGKILL)
                self._gone_within(name, 5.0)
            # What is left of its own children goes too.
            _send(family, signal.SIGKILL)
        self._pid(name).unlink(missing_ok=True)

    def stop_all(self, names: Iterable[str]) -> None:
        """Stops stage after stage, the processes of one stage side by side."""
        stages: dict[int, list[str]] = {}
        for name in names:
            record = pidfile.read(self._pid(name))
            stages.setdefault(record.farewell.stage if record else 0, []).append(name)
        for _, members in sorted(stages.items()):
            with ThreadPoolExecutor(len(members)) as pool:
                for _ in pool.map(self.stop, members):
                    pass

    def ports(self, name: str) -> dict[str, int]:
        """The ports it was started with: empty for one that was never started."""
        record = pidfile.read(self._pid(name))
        return record.ports if record else {}

    def kill(self, name: str) -> None:
        """SIGKILL to it and all its children, as when the machine's memory ran out."""
        _send(_family(self._must(name)), signal.SIGKILL)
        self._gone_within(name, 5.0)

    def abort(self, name: str) -> None:
        """SIGQUIT to it alone: it ends its children itself, and neither it nor they tidy up."""
        _send([self._must(name)], signal.SIGQUIT)
        if not self._gone_within(name, _ABORT_SECONDS):
            self.kill(name)

    def pause(self, name: str) -> None:
        """Stop it where it is; back when it stands still, which on a busy machine comes after the signal."""
        process = self._must(name)
        _send(_family(process), signal.SIGSTOP)
        deadline = time.monotonic() + _STANDSTILL_SECONDS
        while process.status() != psutil.STATUS_STOPPED and time.monotonic() < deadline:
            time.sleep(0.01)

    def resume(self, name: str) -> None:
        _send(_family(self._must(name)), signal.SIGCONT)

    def _must(self, name: str) -> psutil.Process:
        running = self.find(name)
        if running is None:
            raise NotRunningError(f"{name} is not running.")
        return running

    def _gone_within(self, name: str, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.find(name) is not None:
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_SECONDS / 2)
        return True

    def _last_lines(self, name: str) -> str:
        log = self.log(name)
        try:
            with log.open("rb") as handle:
                handle.seek(max(0, log.stat().st_size - 16_384))
                text = handle.read().decode(errors="replace")
        except FileNotFoundError:
            text = ""
        if not text.strip():
            return f"It wrote nothing to {log}."
        return f"The end of {log}:\n{tail(text, _TAIL_LINES)}"

    def _pid(self, name: str) -> Path:
        return self._runs / f"{name}.pid"


def _family(process: psutil.Process) -> list[psutil.Process]:
    """The process and all its descendants: PostgreSQL's have sessions of their own."""
    try:
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return [process]


def _send(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        try:
            # psutil compares the start time before it signals: a number given anew is left alone.
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue


def _bindable(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: connections of the past that linger are no hindrance.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _comes_free(port: int) -> bool:
    """Whether it can be bound: at once, or in a moment where nobody holds it. What was killed has its port until the
    last of its threads is gone, which may be after the process is."""
    deadline = time.monotonic() + _MOMENT_SECONDS
    while not _bindable(port):
        if _holder(port) is not None or time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _busy_text(port: int, use: str, name: str, instance: str) -> str:
    holder = _holder(port)
    who = f"by {holder}" if holder else "by another program (of another user, or one that just ended)"
    return (
        f"Port {port} ({use} of {name}, instance {instance}) is taken {who}: "
        "stop that, or use another instance name (--instance NAME)."
    )


def _holder(port: int) -> str | None:
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.Error:
        return None
    for connection in connections:
        if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port:
            if connection.pid is None:
                return None
            try:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
            except psutil.Error:
                return f"process {connection.pid}"
    return None
