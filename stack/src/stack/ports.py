"""Which ports an instance uses, derived from its name alone.

A block has 150 ports: six for PostgreSQL, Redis, Kafka (two), the mail sink and the exporter, then five for each
replica of each service. All blocks lie below 32768, where Linux starts to hand out ports on its own.
The instance ``dev`` has a block of its own, and its applications have the ports that people remember:
8000, 8001, 8002, 8003, and 80n0 and up for the n-th replica.
"""

from __future__ import annotations

import hashlib
import socket
from dataclasses import dataclass

DEFAULT_INSTANCE = "dev"
MAX_SERVICES = 7
MAX_REPLICAS = 4

_BLOCK = 150
_BLOCKS = 150
_FIRST_BLOCK = 10_200
_DEV_BLOCK = 8_300
_DEV_APPS = 8_000
_FIRST_REPLICA = 10
_PER_REPLICA = 5


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody has at this moment, for what belongs to no instance."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


@dataclass(frozen=True)
class ReplicaPorts:
    """The ports of one replica and its sidecar."""

    app: int
    dapr_http: int
    dapr_grpc: int
    dapr_internal: int
    dapr_metrics: int


@dataclass(frozen=True)
class Ports:
    """The ports of one instance."""

    instance: str
    base: int

    @classmethod
    def of(cls, instance: str) -> Ports:
        """The same name gives the same ports, on every machine and at every time."""
        if instance == DEFAULT_INSTANCE:
            return cls(instance, _DEV_BLOCK)
        digest = hashlib.sha256(instance.encode()).digest()
        return cls(instance, _FIRST_BLOCK + int.from_bytes(digest[:8]) % _BLOCKS * _BLOCK)

    @property
    def postgres(self) -> int:
        return self.base

    @property
    def redis(self) -> int:
        return self.base + 1

    @property
    def kafka(self) -> int:
        return self.base + 2

    @property
    def kafka_controller(self) -> int:
        return self.base + 3

    @property
    def smtp(self) -> int:
        return self.base + 4

    @property
    def exporter(self) -> int:
        return self.base + 5

    def replica(self, service: int, replica: int) -> ReplicaPorts:
        """The ports of the replica-th (from 1) process of the service-th (from 0) service."""
        if not 0 <= service < MAX_SERVICES:
            raise ValueError(f"service {service} is outside 0..{MAX_SERVICES - 1}")
        if not 1 <= replica <= MAX_REPLICAS:
            raise ValueError(f"replica {replica} is outside 1..{MAX_REPLICAS}")
        first = self.base + _FIRST_REPLICA + ((replica - 1) * MAX_SERVICES + service) * _PER_REPLICA
        app = first
        if self.instance == DEFAULT_INSTANCE:
            app = _DEV_APPS + service + (replica * 10 if replica > 1 else 0)
        return ReplicaPorts(app, first + 1, first + 2, first + 3, first + 4)
