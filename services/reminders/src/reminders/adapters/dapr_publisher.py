"""Publishes through the sidecar, under ids that are the same each time the same thing is said."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from event_contracts.envelope import derive_id
from event_contracts.reminders import ReminderDue, ReminderScheduled
from event_contracts.topics import REMINDERS, TOPICS, Topic
from reminders.domain.document import to_ms
from service_kit.clock import Clock
from service_kit.sidecar import Outgoing, PublishRejected, Sidecar
from service_kit.telemetry import correlation_id, current_traceparent

_SCHEDULED = TOPICS["reminder-scheduled"]
_DUE = TOPICS["reminder-due"]


class DaprAnnouncer:
    """`Announcer` on the sidecar's bulk publish; the task id is the partition key."""

    def __init__(self, sidecar: Sidecar, clock: Clock) -> None:
        self._sidecar = sidecar
        self._clock = clock

    async def scheduled(self, events: Sequence[ReminderScheduled]) -> None:
        """Raises SidecarError unless the broker took them all."""
        now = await self._clock.now()
        entries = [
            _entry(
                _SCHEDULED,
                derive_id("reminder-scheduled", event.reminder_id, to_ms(event.fire_at), event.version),
                event,
                now,
            )
            for event in events
        ]
        result = await self._sidecar.publish_bulk(_SCHEDULED.name, entries)
        if result.failed:
            raise PublishRejected(
                f"{len(result.failed)} of {len(entries)} refused: {next(iter(result.failed.values()))}"
            )

    async def due(self, events: Sequence[ReminderDue]) -> Collection[tuple[UUID, datetime]]:
        by_id = {
            str(derive_id("reminder-due", event.reminder_id, to_ms(event.fire_at))): event for event in events
        }
        entries = [_entry(_DUE, UUID(key), event, event.fired_at) for key, event in by_id.items()]
        result = await self._sidecar.publish_bulk(_DUE.name, entries)
        return [(by_id[key].reminder_id, by_id[key].fire_at) for key in result.accepted]


def _entry(topic: Topic, identity: UUID, data: ReminderScheduled | ReminderDue, at: datetime) -> Outgoing:
    traceparent = current_traceparent()
    event = topic.event_model(
        id=str(identity),
        source=f"/{REMINDERS}",
        type=topic.event_type,
        subject=str(data.task_id),
        time=at,
        traceid=traceparent,
        traceparent=traceparent,
        correlationid=correlation_id(),
        data=data,
    )
    return Outgoing(str(identity), topic.key_of(data), event.encode())
