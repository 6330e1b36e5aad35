"""The relay's way to the bus: the sidecar's bulk publish, one request a topic, a partition key an event."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID

from service_kit.sidecar import BusAway, Outgoing, PublishRejected, Sidecar, SidecarError
from task_api.application.outbox_ports import (
    BrokerHeld,
    BrokerRefused,
    BrokerUnavailable,
    OutboxRow,
    Rejection,
)

PUBLISH_TIMEOUT = 5.0
"""Seconds. The rows' locks are held as long."""


class DaprPublisher:
    """Publishes through `sidecar`. An answer later than `timeout` seconds is none."""

    def __init__(self, sidecar: Sidecar, *, timeout: float = PUBLISH_TIMEOUT) -> None:
        self._sidecar = sidecar
        self._timeout = timeout

    def holds(self, topic: str) -> bool:
        """Whether the topic is left in peace now."""
        return self._sidecar.holds(topic)

    async def publish(self, topic: str, rows: Sequence[OutboxRow]) -> dict[UUID, Rejection]:
        """Publish `rows` together and say of each that was not accepted why.

        Raises BrokerRefused when the sidecar refused the whole request, BrokerHeld when nothing was sent,
        BrokerUnavailable when there is no answer: daprd goes on with a request that its caller gave up, so the events
        may be out.
        """
        entries = [Outgoing(entry_id=str(row.id), key=row.key, event=row.event) for row in rows]
        try:
            async with asyncio.timeout(self._timeout):
                result = await self._sidecar.publish_bulk(topic, entries)
        except BusAway as away:
            raise BrokerHeld(str(away)) from away
        except PublishRejected as refusal:
            raise BrokerRefused(str(refusal)) from refusal
        except SidecarError as failure:
            raise BrokerUnavailable(str(failure)) from failure
        except TimeoutError as late:
            raise BrokerUnavailable(f"no answer within {self._timeout:g} s") from late
        # What the answer does not name was not accepted for sure.
        accepted = set(result.accepted)
        return {
            row.id: Rejection(
                result.failed.get(str(row.id), "the broker's answer does not name it"),
                is_judged=str(row.id) not in result.unasked,
            )
            for row in rows
            if str(row.id) not in accepted
        }
