"""Events as task-api writes them: tasks of made-up people, each with a reminder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from event_contracts.envelope import CloudEvent
from event_contracts.tasks import ReminderDefinition, TaskSnapshot
from event_contracts.values import Actor, ActorKind, Priority, TaskStatus

TOPIC = "task-created"
_TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

OutboxRow = tuple[UUID, str, str, bytes]
"""Id, topic, partition key and encoded event, as the outbox has them."""


def snapshot(
    user_id: UUID | None = None, task_id: UUID | None = None, due_in: timedelta = timedelta(days=30)
) -> TaskSnapshot:
    """Give a task that was just made, with a reminder half an hour before it is due."""
    now, owner = datetime.now(UTC), user_id or uuid4()
    return TaskSnapshot(
        task_id=task_id or uuid4(),
        user_id=owner,
        number=1,
        version=1,
        epoch=1,
        title="Water the plants in the office on the second floor",
        description="The ferns in the hall, too.",
        status=TaskStatus.PENDING,
        priority=Priority.MEDIUM,
        tags=("home",),
        due_at=now + due_in,
        timezone="Europe/Berlin",
        day_start=datetime.min.time().replace(hour=9),
        reminders=(ReminderDefinition(reminder_id=uuid4(), offset=timedelta(minutes=30), set_at=now),),
        created_at=now,
        updated_at=now,
        actor=Actor(kind=ActorKind.USER, id=str(owner)),
    )


def made_up(count: int) -> Sequence[OutboxRow]:
    """Give rows that tell of as many new tasks that nobody has, each of a person of its own."""
    return [_row(snapshot()) for _ in range(count)]


def created(tasks: Iterable[tuple[UUID, UUID]]) -> Sequence[OutboxRow]:
    """Give rows that tell of tasks that are there: owner and id of each."""
    return [_row(snapshot(owner, task)) for owner, task in tasks]


def _row(task: TaskSnapshot) -> OutboxRow:
    event_id = uuid4()
    event = CloudEvent[TaskSnapshot](
        id=str(event_id),
        source="/task-api",
        type="task.created.v1",
        subject=str(task.task_id),
        time=task.created_at,
        traceid=_TRACE,
        traceparent=_TRACE,
        correlationid=str(event_id),
        data=task,
    )
    return event_id, TOPIC, str(task.task_id), event.encode()
