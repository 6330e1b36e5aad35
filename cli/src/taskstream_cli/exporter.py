"""`taskstream exporter`: what only Kafka knows, as metrics: dead letters that wait, and how far consumers are behind.

A process of its own, because the services know Kafka through their sidecars alone, and what is told of a consumer must
not fall silent together with it.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Annotated

import typer
from aiokafka.errors import KafkaError
from prometheus_client import CollectorRegistry, Gauge, start_http_server

from event_contracts.topics import SERVICES
from taskstream_cli.failing import KafkaAway, Unable, run
from taskstream_cli.lag import LagReader
from taskstream_cli.letters import LetterBox
from taskstream_cli.places import LOCAL_KAFKA, Bootstrap

Listen = Annotated[str, typer.Option("--listen", help="Where to serve /metrics, host:port.")]
Interval = Annotated[float, typer.Option("--interval", min=0.1, help="Seconds between two looks at Kafka.")]


class KafkaMetrics:
    """The gauges; `look` brings them up to date. What they say is as old as `kafka_looked_at_timestamp_seconds`."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._letters = Gauge(
            "dead_letters", "Dead letters that nothing was done about.", ["consumer"], registry=self.registry
        )
        self._oldest = Gauge(
            "dead_letter_oldest_age_seconds",
            "Age of the oldest of them; 0 without any.",
            ["consumer"],
            registry=self.registry,
        )
        self._lag = Gauge(
            "consumer_lag_events",
            "Events that a consumer has not had.",
            ["consumer", "topic"],
            registry=self.registry,
        )
        self._looked_at = Gauge(
            "kafka_looked_at_timestamp_seconds",
            "When Kafka last answered, Unix time.",
            registry=self.registry,
        )

    async def look(self, box: LetterBox, lag: LagReader) -> None:
        """Raises KafkaError."""
        await box.refresh()
        now = time.time()
        waiting = box.waiting
        depth = Counter(letter.service for letter in waiting)
        oldest = {letter.service: letter.parked_at.timestamp() for letter in reversed(waiting)}
        for service in SERVICES:
            self._letters.labels(service).set(depth[service])
            self._oldest.labels(service).set(max(0.0, now - oldest.get(service, now)))
        for (service, topic), events in (await lag.read()).items():
            self._lag.labels(service, topic).set(events)
        self._looked_at.set(now)


async def watch(bootstrap: str, metrics: KafkaMetrics, interval: float) -> None:
    """Look for ever; while Kafka is away, say so once a look and try again."""
    while True:
        try:
            async with LetterBox(bootstrap, SERVICES, keep_events=False) as box, LagReader(bootstrap) as lag:
                while True:
                    await metrics.look(box, lag)
                    await asyncio.sleep(interval)
        except (KafkaError, OSError) as error:
            typer.echo(
                error.args[0] if isinstance(error, KafkaAway) else f"Kafka at {bootstrap}: {error}",
                err=True,
            )
            await asyncio.sleep(interval)


def command(
    bootstrap: Bootstrap = LOCAL_KAFKA, listen: Listen = "127.0.0.1:9404", interval: Interval = 15.0
) -> None:
    """Serve dead letters and consumer lag as metrics until it is stopped."""
    run(_serve(bootstrap, listen, interval))


async def _serve(bootstrap: str, listen: str, interval: float) -> None:
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal():
        raise Unable(f"{listen!r} is no address: give --listen host:port.")
    metrics = KafkaMetrics()
    try:
        server, thread = start_http_server(int(port), host, metrics.registry)
    except OSError as error:
        raise Unable(f"{listen} cannot be listened on ({error.strerror}): set another --listen.") from None
    try:
        await watch(bootstrap, metrics, interval)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
