"""Starts that fail or are interrupted, and stops: each leaves nothing behind."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from stack import Instance, cli
from stack.errors import NotReadyError, PortBusyError
from stack.pidfile import Farewell
from stack.privatefile import write_private
from stack.processes import Process
from stack.supervisor import Supervisor


@pytest.fixture(scope="module")
def state() -> Iterator[Path]:
    """A state folder of these tests' own; not below pytest's, which PostgreSQL's user may not enter."""
    folder = Path(f"/var/tmp/taskstream-stack-test-{os.getpid()}")
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TASKSTREAM_STATE", str(folder))
        yield folder
    shutil.rmtree(folder)


def left_over(folder: Path) -> list[str]:
    """Processes that have the folder in their command line, and pid files in it."""
    commands = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    running = [" ".join(words) for words in commands if any(str(folder) in word for word in words)]
    return running + [str(path) for path in folder.rglob("*.pid")]


def listening(instance: Instance) -> list[int]:
    """The instance's ports that somebody listens on."""
    block = range(instance.ports.base, instance.ports.base + 150)
    heard = [
        each.laddr.port for each in psutil.net_connections("tcp") if each.laddr and each.status == "LISTEN"
    ]
    return [port for port in heard if port in block]


def test_down_leaves_no_process_no_port_and_no_pid_file_and_keeps_the_data(state: Path) -> None:
    instance = Instance("stop-test")
    instance.up(services=[])
    assert len(listening(instance)) == 5
    instance.pause("kafka")
    begun = time.monotonic()
    instance.down()
    assert time.monotonic() - begun < 8
    assert left_over(state) == []
    assert listening(instance) == []
    assert (instance.home / "postgres" / "PG_VERSION").is_file()
    assert {line.state for line in instance.status()} == {"stopped"}


def test_an_interrupted_start_is_undone(state: Path) -> None:
    starting = subprocess.Popen(
        [sys.executable, "-m", "stack", "up", "--only", "infra", "--instance", "stop-test"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # Whoever runs the tests in the background may have SIGINT ignored, and that is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    try:
        assert starting.stdout is not None
        assert "ready" in starting.stdout.readline()
        assert left_over(state)
        starting.send_signal(signal.SIGINT)
        _, errors = starting.communicate(timeout=20)
    finally:
        starting.kill()
        starting.communicate()
    assert starting.returncode == 130
    assert errors.strip() == "stack: interrupted"
    assert left_over(state) == []
    assert listening(Instance("stop-test")) == []


def test_a_wipe_deletes_the_data(state: Path) -> None:
    instance = Instance("wipe-test")
    write_private(instance.home / "redis" / "dump", "data")
    assert instance.app_api_token
    instance.down(wipe=True)
    assert not instance.home.exists()


def test_a_busy_port_is_named_with_who_holds_it_and_nothing_is_started(state: Path) -> None:
    instance = Instance("busy-test")
    with socket.create_server(("127.0.0.1", instance.ports.kafka)):
        with pytest.raises(PortBusyError) as raised:
            instance.up(services=[])
        assert left_over(state) == []
    name = psutil.Process().name()
    assert str(raised.value) == (
        f"Port {instance.ports.kafka} (Kafka of kafka, instance busy-test) is taken by {name} (pid {os.getpid()}): "
        "stop that, or use another instance name (--instance NAME)."
    )


def test_a_port_that_is_let_go_of_in_a_moment_is_waited_for(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who was killed a moment ago has it until its last thread is gone, and is not to be found any more."""
    supervisor = Supervisor(state)
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        process = Process(
            name="held",
            argv=("true",),
            environment={},
            folder=state,
            ports={"HTTP": held.getsockname()[1]},
            ready=lambda: True,
            ready_within=1,
            farewell=Farewell(signal.SIGTERM, 1),
        )
        monkeypatch.setattr("stack.supervisor._MOMENT_SECONDS", 0.2)
        with pytest.raises(PortBusyError, match="one that just ended"):
            supervisor.check_ports([process], "x")
        monkeypatch.undo()
        release = threading.Timer(0.3, held.close)
        release.start()
        supervisor.check_ports([process], "x")
        release.join()


def test_a_service_that_dies_shows_its_last_words(
    state: Path, probes: Callable[[str], Instance], monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = state / "modules"
    bad.mkdir(exist_ok=True)
    (bad / "probe_app.py").write_text("raise SystemExit('DATABASE_URL is no address: nonsense')\n")
    # The infrastructure is not what this is about, and takes seconds.
    start, await_ready = Supervisor.start, Supervisor.await_ready

    def start_reminders(self: Supervisor, process: Process) -> None:
        if process.name == "reminders":
            start(self, process)

    def await_reminders(self: Supervisor, process: Process, cancelled: threading.Event) -> None:
        if process.name == "reminders":
            await_ready(self, process, cancelled)

    monkeypatch.setattr(Supervisor, "start", start_reminders)
    monkeypatch.setattr(Supervisor, "await_ready", await_reminders)
    instance = Instance("dying-test", catalogue=replace(probes("dying-test").catalogue, topics_command=()))
    with pytest.raises(NotReadyError) as raised:
        instance.up(services=["reminders"], env={"PYTHONPATH": str(bad)})
    first, *rest = str(raised.value).splitlines()
    assert first.startswith("reminders stopped before it was ready. The end of ")
    assert rest == ["    DATABASE_URL is no address: nonsense"]
    assert left_over(state) == []
    instance.down(wipe=True)


def test_missing_java_is_one_message_with_what_to_install(state: Path, tmp_path: Path) -> None:
    # A path on which there is nothing: neither Java nor a package manager.
    environment = {**os.environ, "PATH": str(tmp_path)}
    environment.pop("JAVA_HOME", None)
    done = subprocess.run(
        [sys.executable, "-m", "stack", "up", "--only", "infra", "--instance", "java-test"],
        env=environment, text=True, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("stack: Taskstream needs ")
    assert "a Java runtime, 17 or newer" in done.stderr.splitlines()[0]
    assert [line.split(":")[0].strip() for line in done.stderr.splitlines()[1:]] == [
        "Debian, Ubuntu",
        "Fedora",
        "macOS",
    ]
    assert left_over(state) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["restart", "nothing", "-i", "none-test"], "has no process 'nothing'"),
        (["kill", "redis", "-i", "none-test"], "redis is not running."),
        (["logs", "redis", "-i", "none-test"], "has no log of 'redis'; there are: none yet."),
        (
            ("up", "--services", "mailer", "-i", "none-test"),
            "There is no service 'mailer'; there are task-api,",
        ),
        (["up", "--env", "X", "-i", "none-test"], "'X' is not KEY=VALUE."),
        (["up", "-i", "No Name"], "'No Name' is no instance name"),
        (["up", "--nonsense"], "No such option"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_sentence(
    state: Path,
    words: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["stack", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code in (1, 2)
    assert said in capsys.readouterr().err
