"""What arrives on the bus. Every task topic means the same: this is how the task stands."""

from __future__ import annotations

from typing import Any

from event_contracts.envelope import CloudEvent
from event_contracts.topics import REMINDERS, consumed_by
from reminders.application.apply_snapshot import SnapshotApplier
from service_kit.pubsub import EventHandler, Outcome


def handlers(applier: SnapshotApplier) -> dict[str, EventHandler]:
    """A handler for each topic that the registry lets this service consume."""

    async def on_task(event: CloudEvent[Any]) -> Outcome:
        return Outcome.SUCCESS if await applier.apply(event.data) else Outcome.RETRY

    async def on_user_deleted(event: CloudEvent[Any]) -> Outcome:
        # All that is kept of a user are their tasks' documents, and each of those leaves with its task-deleted.
        return Outcome.SUCCESS

    special: dict[str, EventHandler] = {"user-deleted": on_user_deleted}
    return {topic.name: special.get(topic.name, on_task) for topic in consumed_by(REMINDERS)}
