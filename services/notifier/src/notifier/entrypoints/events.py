"""What arrives on the bus, made into calls of the use cases."""

from __future__ import annotations

from typing import Any

from event_contracts.envelope import CloudEvent
from event_contracts.topics import NOTIFIER, consumed_by
from notifier.application.announce import AnnounceNotification, notification_of
from notifier.application.errors import NotifierError
from notifier.application.follow_task import FollowTask
from notifier.application.forget_user import ForgetUser
from service_kit.logs import get_logger
from service_kit.pubsub import EventHandler, Outcome

_log = get_logger(__name__)


def handlers(
    announce: AnnounceNotification, follow: FollowTask, forget: ForgetUser
) -> dict[str, EventHandler]:
    """A handler for each topic that the registry lets this service consume."""

    async def on_reminder_due(event: CloudEvent[Any]) -> Outcome:
        due = event.data
        await announce.run(
            notification_of(due.reminder_id, due.task_id, due.user_id, due.fire_at, due.fired_at)
        )
        return Outcome.SUCCESS

    async def on_task(event: CloudEvent[Any]) -> Outcome:
        await follow.apply(event.data, event.time)
        return Outcome.SUCCESS

    async def on_user_deleted(event: CloudEvent[Any]) -> Outcome:
        await forget.run(event.data.user_id)
        return Outcome.SUCCESS

    async def on_generated(event: CloudEvent[Any]) -> Outcome:
        # An offer: task-api may refuse it. What it made of it comes as task-created.
        return Outcome.SUCCESS

    own: dict[str, EventHandler] = {
        "reminder-due": on_reminder_due,
        "user-deleted": on_user_deleted,
        "recurring-task-generated": on_generated,
    }
    return {topic.name: _retrying(own.get(topic.name, on_task)) for topic in consumed_by(NOTIFIER)}


def _retrying(handler: EventHandler) -> EventHandler:
    """What the use cases expect to go wrong goes away by itself: the event comes again."""

    async def handle(event: CloudEvent[Any]) -> Outcome:
        try:
            return await handler(event)
        except NotifierError as error:
            _log.warning("event_to_be_retried", event_id=event.id, error=f"{type(error).__name__}: {error}")
            return Outcome.RETRY

    return handle
