"""Events from the bus: to the application, and its outcome back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog

from event_contracts.envelope import CloudEvent
from event_contracts.series import SeriesSnapshot
from event_contracts.tasks import TaskSnapshot
from event_contracts.users import UserDeleted
from recurrence.application.errors import NotReady, TryAgain
from recurrence.application.evaluate import Evaluation
from recurrence.application.keep_complete import DerivedState
from service_kit.pubsub import EventHandler, Outcome

_log = structlog.get_logger(__name__)


def event_handlers(evaluation: Evaluation, state: DerivedState) -> Mapping[str, EventHandler]:
    """Give the handler of each topic that this service consumes."""

    async def task_changed(event: CloudEvent[TaskSnapshot]) -> Outcome:
        return await _outcome(evaluation.on_task(event.data), event, state)

    async def series_updated(event: CloudEvent[SeriesSnapshot]) -> Outcome:
        return await _outcome(evaluation.on_series(event.data), event, state)

    async def user_deleted(event: CloudEvent[UserDeleted]) -> Outcome:
        return await _outcome(evaluation.on_user_deleted(event.data.user_id), event, state)

    handlers: dict[str, Callable[[CloudEvent[Any]], Awaitable[Outcome]]] = {
        "task-created": task_changed,
        "task-updated": task_changed,
        "task-completed": task_changed,
        "task-deleted": task_changed,
        "series-updated": series_updated,
        "user-deleted": user_deleted,
    }
    return handlers


async def _outcome(work: Awaitable[object], event: CloudEvent[Any], state: DerivedState) -> Outcome:
    try:
        await work
    except TryAgain as reason:
        if isinstance(reason, NotReady):
            state.doubt()
        _log.warning("event_again_later", event_id=event.id, event_type=event.type, reason=str(reason))
        return Outcome.RETRY
    return Outcome.SUCCESS
