"""What arrives on the bus. Every task topic means the same: this is how the task stands."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from event_contracts.envelope import CloudEvent
from event_contracts.topics import REMINDERS, consumed_by
from reminders.application.apply_together import TogetherApplier
from reminders.application.erase_person import PersonEraser
from service_kit.pubsub import EventHandler, Outcome
from service_kit.telemetry import present_origin


def handlers(
    applier: TogetherApplier, eraser: PersonEraser, note_made_at: Callable[[datetime], None]
) -> dict[str, EventHandler]:
    """A handler for each topic that the registry lets this service consume."""

    async def on_task(event: CloudEvent[Any]) -> Outcome:
        note_made_at(event.time)
        return Outcome.SUCCESS if await applier.apply(event.data, present_origin()) else Outcome.RETRY

    async def on_user_deleted(event: CloudEvent[Any]) -> Outcome:
        return Outcome.SUCCESS if await eraser.erase(event.data.user_id) else Outcome.RETRY

    special: dict[str, EventHandler] = {"user-deleted": on_user_deleted}
    return {topic.name: special.get(topic.name, on_task) for topic in consumed_by(REMINDERS)}
