"""Publishes through the sidecar, under ids that are the same each time the same thing is said."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from event_contracts.envelope import derive_id
from event_contracts.origin import Origin
from event_contracts.reminders import ReminderDue, ReminderScheduled
from event_contracts.topics import REMINDERS, TOPICS, Topic
from reminders.domain.document import to_ms
from service_kit.clock import Clock
from service_kit.sidecar import Outgoing, PublishRejected, Sidecar
from service_kit.telemetry import carry_on, correlation_id, current_traceparent

_SCHEDULED = TOPICS["reminder-scheduled"]
_DUE = TOPICS["reminder-due"]
_AT_ONCE = 200


class DaprAnnouncer:
    """`Announcer` on the sidecar's bulk publish; the task id is the partition key."""

    def __init__(self, sidecar: Sidecar, clock: Clock) -> None:
        self._sidecar = sidecar
        self._clock = clock

    async def scheduled(self, events: Sequence[tuple[ReminderScheduled, Origin | None]]) -> None:
        """Raises SidecarError unless the broker took them all."""
        now = await self._clock.now()
        entries = [
            _entry(
                _SCHEDULED,
                derive_id("reminder-scheduled", event.reminder_id, to_ms(event.fire_at), event.version),
                event,
                now,
                origin,
            )
            for event, origin in events
        ]
        for start in range(0, len(entries), _AT_ONCE):
            result = await self._sidecar.publish_bulk(_SCHEDULED.name, entries[start : start + _AT_ONCE])
            if result.failed:
                raise PublishRejected(
                    f"{len(result.failed)} of {len(entries)} refused: {next(iter(result.failed.values()))}"
                )

    async def due(
        self, events: Sequence[tuple[ReminderDue, Origin | None]]
    ) -> Collection[tuple[UUID, datetime]]:
        by_id = {
            str(derive_id("reminder-due", event.reminder_id, to_ms(event.fire_at))): (event, origin)
            for event, origin in events
        }
        entries = [
            _entry(_DUE, UUID(key), event, event.fired_at, origin) for key, (event, origin) in by_id.items()
        ]
        result = await self._sidecar.publish_bulk(_DUE.name, entries)
        told = (by_id[key][0] for key in result.accepted)
        return [(event.reminder_id, event.fire_at) for event in told]


def _entry(
    topic: Topic,
    identity: UUID,
    data: ReminderScheduled | ReminderDue,
    at: datetime,
    origin: Origin | None,
) -> Outgoing:
    if origin is None or origin.traceparent is None:
        traceparent = current_traceparent()
    else:
        traceparent = carry_on(origin.traceparent, f"{topic.name} publish")
    event = topic.event_model(
        id=str(identity),
        source=f"/{REMINDERS}",
        type=topic.event_type,
        subject=str(data.task_id),
        time=at,
        traceid=traceparent,
        traceparent=traceparent,
        correlationid=correlation_id() if origin is None else origin.correlation_id,
        data=data,
    )
    return Outgoing(str(identity), topic.key_of(data), event.encode())
