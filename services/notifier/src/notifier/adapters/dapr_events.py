"""Publishes through the sidecar, under ids that are the same each time the same thing is said."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import UUID

from pydantic import BaseModel

from event_contracts.envelope import derive_id
from event_contracts.notifications import DeliveryOutcome, NotificationDelivered, NotificationRead
from event_contracts.topics import NOTIFIER, TOPICS, Topic
from notifier.application.errors import PublishFailed
from notifier.domain.notifications import Attempt, Delivery, Verdict, latency
from service_kit.due_index import to_score
from service_kit.sidecar import Sidecar, SidecarError
from service_kit.telemetry import correlation_id, current_traceparent

_DELIVERED = TOPICS["notification-delivered"]
_READ = TOPICS["notification-read"]


class DaprEvents:
    """`Events` on the sidecar."""

    def __init__(self, sidecar: Sidecar) -> None:
        self._sidecar = sidecar

    async def delivered(self, delivery: Delivery, verdict: Verdict, place: str | None = None) -> None:
        data = _delivered(delivery, verdict, place)
        identity = derive_id(*_attempt_of(delivery, verdict))
        await self._publish(_DELIVERED, identity, data.task_id, verdict.at, data)

    async def to_be_repeated(self, delivery: Delivery, failed: Attempt, place: str | None = None) -> None:
        ended = Verdict(DeliveryOutcome.TO_BE_REPEATED, failed.number, failed.at, failed.reason)
        data = _delivered(delivery, ended, place)
        # When it was, too: the attempts of what is queued again are counted anew.
        identity = derive_id(*_attempt_of(delivery, ended), to_score(failed.at))
        await self._publish(_DELIVERED, identity, data.task_id, failed.at, data)

    async def read(self, user_id: UUID, marks: Mapping[UUID, datetime]) -> None:
        read_at = max(marks.values())
        data = NotificationRead(user_id=user_id, notification_ids=tuple(sorted(marks)), read_at=read_at)
        identity = derive_id("notification-read", user_id, *data.notification_ids)
        await self._publish(_READ, identity, user_id, read_at, data)

    async def _publish(
        self, topic: Topic, identity: UUID, subject: UUID, at: datetime, data: BaseModel
    ) -> None:
        traceparent = current_traceparent()
        event = topic.event_model(
            id=str(identity),
            source=f"/{NOTIFIER}",
            type=topic.event_type,
            subject=str(subject),
            time=at,
            traceid=traceparent,
            traceparent=traceparent,
            correlationid=correlation_id(),
            data=data,
        )
        try:
            await self._sidecar.publish(topic.name, event.encode(), topic.key_of(data))
        except SidecarError as error:
            raise PublishFailed(str(error)) from error


def _delivered(delivery: Delivery, ended: Verdict, place: str | None) -> NotificationDelivered:
    notification = delivery.notification
    return NotificationDelivered(
        notification_id=notification.notification_id,
        task_id=notification.task_id,
        user_id=notification.user_id,
        reminder_id=notification.reminder_id,
        channel=delivery.channel,
        destination=place,
        destination_id=delivery.destination,
        attempt=ended.attempt,
        outcome=ended.outcome,
        reason=ended.reason,
        latency_ms=latency(notification, ended.at) // timedelta(milliseconds=1),
        at=ended.at,
    )


def _attempt_of(delivery: Delivery, ended: Verdict) -> tuple[object, ...]:
    where = () if delivery.destination is None else (delivery.destination,)
    return delivery.notification.notification_id, delivery.channel, *where, ended.attempt, ended.outcome
