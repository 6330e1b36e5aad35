"""The schedule document: what is remembered of a task's reminders. Ids and times only.

Fire times are epoch milliseconds, rounded up as the due index rounds, so that document and index always compare equal.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from event_contracts.moments import is_past_when_set
from event_contracts.origin import Origin
from event_contracts.reminders import ScheduleReason
from event_contracts.tasks import ReminderDefinition, TaskSnapshot
from reminders.domain.member import Member

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_ms(instant: datetime) -> int:
    """Epoch milliseconds, rounded up: nothing fires before its time."""
    return -(-((instant - _EPOCH) // timedelta(microseconds=1)) // 1000)


def to_instant(ms: int) -> datetime:
    """The instant, UTC, of epoch milliseconds."""
    return _EPOCH + timedelta(milliseconds=ms)


class State(StrEnum):
    """Pending: will fire. Fired: has, for this fire time. Missed: was past when it was set, and will not."""

    PENDING = "p"
    FIRED = "f"
    MISSED = "m"


_REASONS = {
    "c": ScheduleReason.CREATED,
    "m": ScheduleReason.MOVED,
    "s": ScheduleReason.SNOOZED,
    "r": ScheduleReason.REPAIRED,
}
_LETTERS = {reason: letter for letter, reason in _REASONS.items()}


@dataclass(frozen=True)
class Entry:
    """One reminder. `announced_ms` is the fire time that reminder-scheduled last told, None before the first."""

    reminder_id: UUID
    fire_ms: int
    state: State
    reason: ScheduleReason
    announced_ms: int | None = None


@dataclass(frozen=True)
class Document:
    """A task's schedule as of (epoch, version). A closed task keeps its entries: reopened, what fired stays fired.

    `origin` is None where nobody's call is known, as after a rebuild.
    """

    task_id: UUID
    user_id: UUID
    epoch: int
    version: int
    is_open: bool
    is_deleted: bool
    entries: tuple[Entry, ...]
    origin: Origin | None = None

    @property
    def order(self) -> tuple[int, int]:
        return (self.epoch, self.version)

    def pending(self) -> Iterator[Entry]:
        """What the due index must hold."""
        return (entry for entry in self.entries if self.is_open and entry.state is State.PENDING)

    def unannounced(self) -> Iterator[Entry]:
        """Whose fire time task-api has not been told: what fires before that can be told is told of afterwards."""
        return (
            entry
            for entry in self.entries
            if entry.announced_ms != entry.fire_ms
            and (entry.state is State.FIRED or (self.is_open and entry.state is State.PENDING))
        )

    def untold_in(self, successor: Document) -> Iterator[Entry]:
        """What fired untold and would be forgotten with `successor` in this document's place."""
        kept = {(entry.reminder_id, entry.fire_ms) for entry in successor.entries}
        return (
            entry
            for entry in self.unannounced()
            if entry.state is State.FIRED and (entry.reminder_id, entry.fire_ms) not in kept
        )

    def entry(self, reminder_id: UUID) -> Entry | None:
        return next((entry for entry in self.entries if entry.reminder_id == reminder_id), None)

    def with_fired(self, fired: set[tuple[UUID, int]]) -> Document:
        """With those (reminder id, fire time) marked as fired that are still what the document has."""
        return replace(
            self,
            entries=tuple(
                replace(entry, state=State.FIRED) if (entry.reminder_id, entry.fire_ms) in fired else entry
                for entry in self.entries
            ),
        )

    def with_announced(self) -> Document:
        """With every fire time marked as told that was not."""
        told = {entry.reminder_id for entry in self.unannounced()}
        return replace(
            self,
            entries=tuple(
                replace(entry, announced_ms=entry.fire_ms) if entry.reminder_id in told else entry
                for entry in self.entries
            ),
        )

    def dump(self) -> dict[str, Any]:
        """The lean form that is stored; the task id is in the key."""
        origin = {} if self.origin is None else {"o": [self.origin.traceparent, self.origin.correlation_id]}
        return origin | {
            "u": self.user_id.hex,
            "e": self.epoch,
            "v": self.version,
            "s": "d" if self.is_deleted else "o" if self.is_open else "c",
            "r": [
                [
                    entry.reminder_id.hex,
                    entry.fire_ms,
                    entry.state,
                    _LETTERS[entry.reason],
                    entry.announced_ms,
                ]
                for entry in self.entries
            ],
        }

    @classmethod
    def load(cls, task_id: UUID, value: dict[str, Any]) -> Document:
        """Read the stored form. daprd gives numbers back as they were, whole."""
        return cls(
            task_id=task_id,
            user_id=UUID(value["u"]),
            epoch=int(value["e"]),
            version=int(value["v"]),
            is_open=value["s"] == "o",
            is_deleted=value["s"] == "d",
            entries=tuple(
                Entry(
                    UUID(reminder_id),
                    int(fire_ms),
                    State(state),
                    _REASONS[reason],
                    None if announced is None else int(announced),
                )
                for reminder_id, fire_ms, state, reason, announced in value["r"]
            ),
            origin=Origin(*value["o"]) if "o" in value else None,
        )


def merge(stored: Document | None, task: TaskSnapshot, origin: Origin | None = None) -> Document:
    """The document as `task` makes it, on top of what is stored of an older or equal version.

    A (reminder, fire time) that fired stays fired in every later version. One whose fire time moved begins anew, unless
    it moved along with its task from one past time to another: what went out does not go out again for that, and what
    was due still does.
    Without `origin` the one that is stored stays.
    """
    if task.is_open:
        due = task.due
        entries = tuple(
            entry
            for reminder in task.reminders
            if (entry := _entry(reminder, task.fire_time(reminder), due, stored)) is not None
        )
    else:
        entries = () if task.deleted_at is not None or stored is None else stored.entries
    return Document(
        task_id=task.task_id,
        user_id=task.user_id,
        epoch=task.epoch,
        version=task.version,
        is_open=task.is_open,
        is_deleted=task.deleted_at is not None,
        entries=entries,
        origin=origin if origin is not None or stored is None else stored.origin,
    )


def fence(document: Document, member: Member) -> str | None:
    """Why the document does not stand behind this member any more; None when it does."""
    if not document.is_open:
        return "closed"
    entry = document.entry(member.reminder_id)
    if entry is None:
        return "removed"
    if entry.fire_ms != member.fire_ms:
        return "moved"
    return None if entry.state is State.PENDING else "fired" if entry.state is State.FIRED else "missed"


def _entry(
    reminder: ReminderDefinition, fire_at: datetime | None, due: datetime | None, stored: Document | None
) -> Entry | None:
    if fire_at is None:
        return None
    before = None if stored is None else stored.entry(reminder.reminder_id)
    fire_ms = to_ms(fire_at)
    same = before is not None and before.fire_ms == fire_ms
    announced = before.announced_ms if before is not None else _ms(reminder.scheduled_for)
    if reminder.snoozed_until is not None:
        reason = ScheduleReason.SNOOZED
    else:
        is_new = before is None and announced is None
        reason = ScheduleReason.CREATED if is_new else ScheduleReason.MOVED
    if _ms(reminder.fired_for) == fire_ms or (before is not None and same and before.state is State.FIRED):
        state = State.FIRED
    elif reminder.acknowledged_at is not None or _is_missed(reminder, fire_at, due, stored):
        state = State.MISSED
    else:
        state = State.PENDING
    return Entry(
        reminder.reminder_id,
        fire_ms,
        state,
        before.reason if before is not None and same else reason,
        announced,
    )


def _is_missed(
    reminder: ReminderDefinition, fire_at: datetime, due: datetime | None, stored: Document | None
) -> bool:
    """Whether it was past when it was set, and nobody is owed it."""
    if fire_at > reminder.set_at:
        return False
    before = None if stored is None else stored.entry(reminder.reminder_id)
    if stored is not None and before is not None:
        was_pending = stored.is_open and before.state is State.PENDING
        if was_pending and before.fire_ms <= to_ms(reminder.set_at):
            return False  # it was due, and had not gone out, when it was moved
        # Its task's due moved, or the start of the day. A person who gives the reminder itself a time asks for it anew.
        was_moved_along = reminder.offset is not None and reminder.snoozed_until is None
        if was_moved_along and before.state is State.FIRED:
            return True
    return is_past_when_set(fire_at, reminder.set_at, due)


def _ms(instant: datetime | None) -> int | None:
    return None if instant is None else to_ms(instant)
