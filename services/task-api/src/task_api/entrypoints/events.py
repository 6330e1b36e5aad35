"""What the siblings publish: reports on reminders and notifications, and offers of next occurrences."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from dapr.ext.fastapi import DaprApp
from fastapi import FastAPI

from event_contracts.envelope import CloudEvent, derive_id
from event_contracts.notifications import NotificationDelivered, NotificationRead
from event_contracts.recurrence import RecurringTaskGenerated
from event_contracts.reminders import ReminderDue, ReminderScheduled
from service_kit.logs import get_logger
from service_kit.pubsub import EventHandler, Outcome, subscribe
from service_kit.settings import ServiceSettings
from task_api.application import record_activity
from task_api.application.insert_successor import Succession, insert_successor
from task_api.application.judge_offer import Verdict
from task_api.application.ports import Now, Wake
from task_api.application.record_activity import Ledger
from task_api.domain.errors import ConcurrentChange, StorageUnavailable

_log = get_logger(__name__)


@dataclass(frozen=True)
class Consumers:
    """One method a topic. An unknown task is no error: it was purged or erased."""

    ledger: Ledger
    succession: Succession
    now: Now
    wake: Wake

    async def reminder_scheduled(self, event: CloudEvent[ReminderScheduled]) -> Outcome:
        """Note when a reminder will fire."""
        await record_activity.reminder_scheduled(self.ledger, id_of(event), event.time, event.data)
        return Outcome.SUCCESS

    async def reminder_due(self, event: CloudEvent[ReminderDue]) -> Outcome:
        """Note that a reminder fired."""
        await record_activity.reminder_due(self.ledger, id_of(event), event.data)
        return Outcome.SUCCESS

    async def notification_delivered(self, event: CloudEvent[NotificationDelivered]) -> Outcome:
        """Note how a notification fared."""
        await record_activity.notification_delivered(self.ledger, id_of(event), event.data)
        return Outcome.SUCCESS

    async def notification_read(self, event: CloudEvent[NotificationRead]) -> Outcome:
        """Note what a person read."""
        await record_activity.notification_read(self.ledger, event.data)
        return Outcome.SUCCESS

    async def recurring_task_generated(self, event: CloudEvent[RecurringTaskGenerated]) -> Outcome:
        """Decide on the next instance of a series."""
        verdict = await insert_successor(self.succession, self.now, self.wake, id_of(event), event.data)
        return Outcome.RETRY if verdict is Verdict.AHEAD else Outcome.SUCCESS


def id_of(event: CloudEvent[Any]) -> UUID:
    """Give the id under which an event's effects are kept: its own, or one that always belongs to it."""
    try:
        return UUID(event.id)
    except ValueError:
        return derive_id(event.source, event.id)


def install_events(app: FastAPI, settings: ServiceSettings, consumers: Consumers) -> DaprApp:
    """Subscribe to what task-api consumes. Whatever the database cannot take now is delivered again."""
    handlers: dict[str, Callable[[CloudEvent[Any]], Awaitable[Outcome]]] = {
        "reminder-scheduled": consumers.reminder_scheduled,
        "reminder-due": consumers.reminder_due,
        "recurring-task-generated": consumers.recurring_task_generated,
        "notification-delivered": consumers.notification_delivered,
        "notification-read": consumers.notification_read,
    }
    return subscribe(app, settings, {topic: _retried(topic, handler) for topic, handler in handlers.items()})


def _retried(topic: str, handler: EventHandler) -> EventHandler:
    async def handle(event: CloudEvent[Any]) -> Outcome:
        try:
            return await handler(event)
        except (StorageUnavailable, ConcurrentChange) as passing:
            _log.warning("event_to_be_retried", topic=topic, event_id=event.id, error=repr(passing))
            return Outcome.RETRY

    return handle
