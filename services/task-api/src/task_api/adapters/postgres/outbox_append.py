"""The publishing adapter: announcements become encoded CloudEvents in the outbox, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from event_contracts.envelope import CloudEvent
from event_contracts.topics import TASK_API, TOPICS
from service_kit.telemetry import correlation_id, current_traceparent
from task_api.adapters.postgres.tables import outbox
from task_api.application.ports import Announcement


def encode(announcement: Announcement) -> bytes:
    """Give the CloudEvent's JSON bytes, with the current trace and correlation id.

    `traceid` repeats the traceparent: daprd fills `traceparent` from it and would empty it otherwise.
    """
    topic = TOPICS[announcement.topic]
    traceparent = current_traceparent()
    event: CloudEvent[Any] = CloudEvent(
        id=str(announcement.event_id),
        source=f"/{TASK_API}",
        type=topic.event_type,
        subject=topic.key_of(announcement.data),
        time=announcement.at,
        traceid=traceparent,
        traceparent=traceparent,
        correlationid=correlation_id(),
        data=announcement.data,
    )
    return event.encode()


def outbox_rows(announcements: Iterable[Announcement]) -> list[dict[str, UUID | str | bytes]]:
    """Give one row for the outbox table per announcement, in their order."""
    return [
        {
            "id": announcement.event_id,
            "topic": announcement.topic,
            "key": TOPICS[announcement.topic].key_of(announcement.data),
            "event": encode(announcement),
        }
        for announcement in announcements
    ]


async def enqueue(connection: AsyncConnection, announcements: Iterable[Announcement]) -> None:
    """Append the announcements to the outbox within the connection's open transaction."""
    rows = outbox_rows(announcements)
    if rows:
        await connection.execute(insert(outbox), rows)
