"""Kafka, PostgreSQL and Redis as a provider runs them: TLS from an authority of its own, and passwords."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.integration.managed.authority import Authority

from stack import kafka_jars, readiness
from stack.ports import free_ports
from stack.postgres_cluster import Cluster, run_as
from stack.prepare import Tools

USER, PASSWORD = "taskstream", "the-provider's"
"""What every store lets in."""
_CLUSTER_ID = "VGFza3N0cmVhbU1hbmFnZWQ"
_READY_SECONDS = 90


@dataclass(frozen=True)
class Place:
    """A folder that every user may pass through, the stack's programs, and who signs."""

    folder: Path
    tools: Tools
    authority: Authority

    def certificate(self, name: str, *hosts: str) -> tuple[Path, Path]:
        """The files of a new certificate and of its key."""
        certificate, key = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        for path, text in zip((certificate, key), self.authority.issue(*hosts), strict=True):
            path.write_text(text, encoding="utf-8")
            path.chmod(0o600)
        return certificate, key


@contextmanager
def kafka(place: Place) -> Iterator[str]:
    """A broker that takes SCRAM-SHA-256 over TLS and nothing else; `host:port` of it."""
    jars, (broker, controller, own) = place.tools.kafka, free_ports(3)
    certificate, key = place.certificate("kafka", "127.0.0.1", "localhost")
    store = place.folder / "kafka.pem"
    store.write_text(key.read_text() + certificate.read_text(), encoding="utf-8")
    settings = place.folder / "kafka.properties"
    # The broker talks to itself on a listener of its own; of two lines with one name Kafka takes the last.
    settings.write_text(
        kafka_jars.server_properties(place.folder / "kafka", broker=broker, controller=controller)
        + f"""
listeners=SASL_SSL://127.0.0.1:{broker},OWN://127.0.0.1:{own},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=SASL_SSL://127.0.0.1:{broker},OWN://127.0.0.1:{own}
listener.security.protocol.map=SASL_SSL:SASL_SSL,OWN:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=OWN
ssl.keystore.type=PEM
ssl.keystore.location={store}
sasl.enabled.mechanisms=SCRAM-SHA-256
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
""",
        encoding="utf-8",
    )
    java = [
        str(place.tools.java), "-Xmx256m", "-XX:+UseSerialGC", f"-XX:SharedArchiveFile={jars.class_archive}",
        "-Xlog:cds=off", f"-Dlog4j2.configurationFile={jars.log_settings}", "-cp", jars.class_path(),
    ]  # fmt: skip
    scram = f"SCRAM-SHA-256=[name={USER},password={PASSWORD}]"
    subprocess.run(
        [*java, "kafka.tools.StorageTool", "format", "-t", _CLUSTER_ID, "-c", str(settings), "--add-scram", scram],
        check=True, capture_output=True, timeout=_READY_SECONDS,
    )  # fmt: skip
    with _running(
        [*java, "kafka.Kafka", str(settings)],
        place.folder / "kafka.log",
        lambda: readiness.kafka_answers(own),
    ):
        yield f"127.0.0.1:{broker}"


@contextmanager
def postgres(place: Place) -> Iterator[int]:
    """A server for `localhost` by name that takes passwords over TLS and nothing else; its port."""
    programs, data, (port,) = (
        place.tools.postgres_folder,
        place.folder / "postgres",
        free_ports(1),
    )
    Cluster(programs, data, PASSWORD.replace("'", "''")).create()
    (data / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 scram-sha-256\n", encoding="utf-8")
    certificate, key = place.certificate("postgres", "localhost")
    user = run_as()
    if user:
        for path in (certificate, key):
            shutil.chown(path, user)
    settings = {
        "listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "fsync": "off",
        "ssl": "on", "ssl_cert_file": certificate, "ssl_key_file": key,
    }  # fmt: skip
    words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    ready = programs / "pg_isready"
    with _running(
        [str(programs / "postgres"), "-D", str(data), *words], place.folder / "postgres.log",
        lambda: readiness.postgres_accepts(ready, port, "taskstream"), user=user, farewell=signal.SIGINT,
    ):  # fmt: skip
        yield port


@contextmanager
def redis(place: Place) -> Iterator[int]:
    """A server for 127.0.0.1 that speaks TLS alone; its port."""
    certificate, key = place.certificate("redis", "127.0.0.1")
    (port,) = free_ports(1)
    settings = place.folder / "redis.conf"
    settings.write_text(
        f"bind 127.0.0.1\nport 0\ntls-port {port}\ntls-cert-file {certificate}\ntls-key-file {key}\n"
        f'tls-auth-clients no\nrequirepass "{PASSWORD}"\nappendonly yes\ndir {place.folder}\n'
        "maxmemory-policy noeviction\n",
        encoding="utf-8",
    )
    log = place.folder / "redis.log"
    with _running(
        [str(place.tools.redis), str(settings)],
        log,
        lambda: b"Ready to accept connections" in log.read_bytes(),
    ):
        yield port


@contextmanager
def _running(
    argv: Sequence[str], log: Path, ready: Callable[[], bool], *, user: str | None = None,
    farewell: signal.Signals = signal.SIGTERM, environment: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:  # fmt: skip
    """The process, once it is ready; it is ended with the block."""
    env = {"PATH": os.environ["PATH"], "LC_ALL": "C", **(environment or {})}
    with log.open("wb") as output:
        process = subprocess.Popen(argv, env=env, user=user, cwd=log.parent, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + _READY_SECONDS
        while not ready():
            assert process.poll() is None, log.read_text(errors="replace")[-3000:]
            assert time.monotonic() < deadline, log.read_text(errors="replace")[-3000:]
            time.sleep(0.05)
        yield process
    finally:
        process.send_signal(farewell)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
