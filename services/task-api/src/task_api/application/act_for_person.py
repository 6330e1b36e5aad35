"""What a person does by a link in a message: notifier knows that the link is theirs, here it is done in their name.

Each can be asked for again without doing more: a link may be opened twice, and an answer get lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from event_contracts.values import Actor, ActorKind
from task_api.application.answer_reminder import acknowledge_reminder, snooze_reminder
from task_api.application.close_task import complete_task
from task_api.application.ports import Means, TaskView


class LinkAction(StrEnum):
    """What links offer."""

    COMPLETE = "complete"
    SNOOZE = "snooze"
    ACKNOWLEDGE = "acknowledge"


@dataclass(frozen=True, slots=True)
class Asked:
    """`reminder_id` is there for snooze and acknowledge, `until` for snooze: an instant, so that twice is once."""

    action: LinkAction
    user_id: UUID
    task_id: UUID
    reminder_id: UUID | None = None
    until: datetime | None = None


async def act_for_person(means: Means, asked: Asked) -> TaskView:
    """Do it. Raises TaskError."""
    actor = Actor(kind=ActorKind.USER, id=str(asked.user_id))
    match asked:
        case Asked(action=LinkAction.SNOOZE, reminder_id=UUID() as reminder_id, until=datetime() as until):
            return await snooze_reminder(means, actor, asked.user_id, asked.task_id, reminder_id, until)
        case Asked(action=LinkAction.ACKNOWLEDGE, reminder_id=UUID() as reminder_id):
            return await acknowledge_reminder(means, actor, asked.user_id, asked.task_id, reminder_id)
        case Asked(action=LinkAction.COMPLETE):
            return await complete_task(means, actor, asked.user_id, asked.task_id)
        case _:
            raise ValueError(f"{asked.action} lacks what it needs")
