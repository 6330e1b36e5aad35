"""Fetches Kafka's jars through Maven, and gets ready once what every broker start would do again."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from stack import readiness, toolchain
from stack.command import run, tail
from stack.errors import CancelledError, StepFailedError
from stack.ports import free_ports
from stack.progress import Progress

VERSION = "4.1.0"
_WARM_UP_SECONDS = 120.0


@dataclass(frozen=True)
class KafkaHome:
    """Where the broker's files are: the jars, the log settings, and what speeds up its start."""

    root: Path
    log_settings: Path

    @property
    def jars(self) -> Path:
        return self.root / "jars"

    @property
    def bootstrap(self) -> Path:
        """The first metadata records of any cluster of this version, as ``format`` writes them."""
        return self.root / "bootstrap.checkpoint"

    @property
    def class_archive(self) -> Path:
        """The classes of a running broker in the JVM's own form: it starts in half the time."""
        return self.root / "broker.jsa"

    def has_jars(self) -> bool:
        return self.jars.is_dir()

    def is_complete(self) -> bool:
        return self.has_jars() and self.bootstrap.is_file() and self.class_archive.is_file()

    def class_path(self) -> str:
        """In a fixed order, for the class archive is only good for the very same class path."""
        return ":".join(str(jar) for jar in sorted(self.jars.glob("*.jar")))


def home_of(checkout: Path, cache: Path) -> KafkaHome:
    """The home that belongs to stack/kafka/pom.xml as it is now."""
    pom = checkout / "stack" / "kafka" / "pom.xml"
    key = hashlib.sha256(pom.read_bytes()).hexdigest()[:16]
    return KafkaHome(cache / "kafka" / f"{VERSION}-{key}", checkout / "stack" / "kafka" / "log4j2.xml")


def server_properties(data: Path, *, broker: int, controller: int) -> str:
    """A broker that is its own controller, on loopback, with one replica of everything.

    Once it was killed it is let in again when the session of before is over.
    """
    return f"""\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{broker}
log.dirs={data}
auto.create.topics.enable=false
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=10
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
log.segment.bytes=67108864
log.cleaner.dedupe.buffer.size=2097152
log.cleaner.threads=1
num.network.threads=2
num.io.threads=4
num.recovery.threads.per.data.dir=2
"""


def fetch(checkout: Path, cache: Path, progress: Progress, cancelled: threading.Event) -> None:
    """Fetches the jars, then makes the bootstrap records and the class archive."""
    home = home_of(checkout, cache)
    if home.is_complete():
        return
    home.root.parent.mkdir(parents=True, exist_ok=True)
    home.root.mkdir(exist_ok=True)
    if not home.has_jars():
        _fetch_jars(checkout / "stack" / "kafka" / "pom.xml", home, progress, cancelled)
    with progress.step("kafka", doing="one trial start, so that later ones are quick"):
        _warm_up(home, cancelled)


def _fetch_jars(pom: Path, home: KafkaHome, progress: Progress, cancelled: threading.Event) -> None:
    maven = toolchain.maven()
    if maven is None:
        raise toolchain.how_to_install(["maven"])
    with (
        tempfile.TemporaryDirectory(dir=home.root) as scratch,
        progress.step("kafka", doing=f"getting Kafka {VERSION}"),
    ):
        jars = Path(scratch) / "jars"
        run(
            [
                str(maven),
                "-q",
                "-B",
                "-f",
                str(pom),
                "dependency:copy-dependencies",
                f"-DoutputDirectory={jars}",
            ],
            doing="getting Kafka's jars",
            cancelled=cancelled,
        )
        jars.replace(home.jars)


def _warm_up(home: KafkaHome, cancelled: threading.Event) -> None:
    java = toolchain.java()
    if java is None:
        raise toolchain.how_to_install(["java"])
    with tempfile.TemporaryDirectory(dir=home.root) as scratch:
        data, settings = Path(scratch) / "data", Path(scratch) / "server.properties"
        broker, controller = free_ports(2)
        settings.write_text(server_properties(data, broker=broker, controller=controller))
        log_settings = f"-Dlog4j2.configurationFile={home.log_settings}"
        common = [str(java.path), log_settings, "-XX:+UseSerialGC", "-cp", home.class_path()]
        run([*common, "kafka.tools.StorageTool", "format", "-t", "VGFza3N0cmVhbVRlbXBsYQ", "-c", str(settings)],
            doing="formatting a Kafka data folder", cancelled=cancelled)  # fmt: skip
        archive = Path(scratch) / "broker.jsa"
        log = Path(scratch) / "log"
        with log.open("w") as output:
            trial = subprocess.Popen(  # noqa: S603 - the Java runtime that was just found
                [
                    *common[:1],
                    f"-XX:ArchiveClassesAtExit={archive}",
                    *common[1:],
                    "kafka.Kafka",
                    str(settings),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "LC_ALL": "C"},
            )
        try:
            deadline = time.monotonic() + _WARM_UP_SECONDS
            while not readiness.kafka_answers(broker):
                if cancelled.is_set():
                    raise CancelledError("trying Kafka: given up")
                if trial.poll() is not None or time.monotonic() > deadline:
                    raise StepFailedError(
                        f"Kafka does not start here:\n{tail(log.read_text(errors='replace'))}"
                    )
                time.sleep(0.1)
            trial.send_signal(signal.SIGTERM)
            trial.wait(_WARM_UP_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise StepFailedError("Kafka does not stop here within two minutes") from error
        finally:
            if trial.poll() is None:
                trial.kill()
                trial.wait()
        shutil.copy(data / "bootstrap.checkpoint", Path(scratch) / "bootstrap")
        (Path(scratch) / "bootstrap").replace(home.bootstrap)
        if archive.is_file():
            archive.replace(home.class_archive)
        else:
            # A runtime without class archives: the broker starts all the same, only slower.
            home.class_archive.touch()
