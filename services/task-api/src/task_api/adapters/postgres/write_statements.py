"""The statements that write one new version of a task with all that belongs to it, each in a single round trip.

Sub-statements of one WITH run on one snapshot and commit together; foreign keys are checked at its end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime, time
from typing import Any

from sqlalchemy import ARRAY, Integer, Interval, LargeBinary, Text, TextClause, Time, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeEngine

from event_contracts.topics import TOPICS
from task_api.adapters.postgres.direct import Direct
from task_api.adapters.postgres.outbox_append import encode
from task_api.adapters.postgres.tables import series, task_history, tasks
from task_api.application.ports import Announcement, Owner, SeriesWrite, TaskWrite
from task_api.domain.series import Series
from task_api.domain.task import Reminder, Task

_TASK_COLUMNS = tuple(
    column.name
    for column in tasks.c
    if column.name not in ("number", "purged_at") and column.computed is None
)
_FIXED = frozenset({"id", "user_id", "created_at"})
_SERIES_COLUMNS = tuple(column.name for column in series.c)

_TYPES: dict[str, TypeEngine[Any]] = {
    **{column.name: column.type for column in tasks.c},
    **{f"series_row_{column.name}": column.type for column in series.c},
    "before_version": Integer(),
    "owner_timezone": Text(),
    "owner_day_start": Time(),
    "owner_default_reminder": Interval(),
    "owner_epoch": Integer(),
    "reminders": JSONB(),
    "kept_reminders": ARRAY(Uuid()),
    "event_id": Uuid(),
    "change_id": Uuid(),
    "at": task_history.c["at"].type,
    "actor": JSONB(),
    "changes": JSONB(),
    "activity_kind": Text(),
    "activity_detail": JSONB(),
    "event_ids": ARRAY(Uuid()),
    "topics": ARRAY(Text()),
    "keys": ARRAY(Text()),
    "heads": ARRAY(LargeBinary()),
    "tails": ARRAY(LargeBinary()),
    "events": ARRAY(LargeBinary()),
}


def _statement(sql: str) -> TextClause:
    names = sorted(set(re.findall(r"(?<![:\w]):(\w+)", sql)))
    return text(sql).bindparams(*(bindparam(name, type_=_TYPES[name]) for name in names))


_SAME_OWNER = """
    timezone = :owner_timezone AND day_start = :owner_day_start
    AND default_reminder IS NOT DISTINCT FROM :owner_default_reminder
    AND EXISTS (SELECT FROM epoch WHERE value = :owner_epoch)"""

_ACCOUNT = f"""
    account AS (
        UPDATE users SET last_task_number = last_task_number + 1
        WHERE id = :user_id AND {_SAME_OWNER}
        RETURNING last_task_number AS number
    )"""  # noqa: S608 - our own words

# Waits for nobody, so that others may share its round trip: an account that is locked, or one whose counter of changes
# is, gives no row. Who has never had a task has no counter yet, and gives none either.
_FREE_ACCOUNT = f"""
    account AS (
        UPDATE users SET last_task_number = last_task_number + 1
        WHERE id = (SELECT id FROM users WHERE id = :user_id FOR NO KEY UPDATE SKIP LOCKED)
            AND id = (SELECT user_id FROM user_changes WHERE user_id = :user_id FOR NO KEY UPDATE SKIP LOCKED)
            AND {_SAME_OWNER}
        RETURNING last_task_number AS number
    )"""  # noqa: S608 - our own words

_INSERT_TASK = f"""
    written AS (
        INSERT INTO tasks (number, {", ".join(_TASK_COLUMNS)})
        SELECT account.number, {", ".join(f":{name}" for name in _TASK_COLUMNS)} FROM account
        RETURNING id
    )"""  # noqa: S608 - names of our own columns

_STORED = "id = :id AND user_id = :user_id AND version = :before_version"
# Waits for nobody: a statement that waits for a lock may still be done after its request was given up.
_FREE = f"id = (SELECT id FROM tasks WHERE {_STORED} FOR NO KEY UPDATE SKIP LOCKED)"  # noqa: S608 - our own words


def _update_task(condition: str) -> str:
    """A purged instance that is revived is whole again."""
    return f"""
    written AS (
        UPDATE tasks SET {", ".join(f"{name} = :{name}" for name in _TASK_COLUMNS if name not in _FIXED)},
            purged_at = NULL
        WHERE {condition}
        RETURNING id
    )"""  # noqa: S608 - names of our own columns


_NEW_SERIES = f"""
    begun AS (
        INSERT INTO series ({", ".join(_SERIES_COLUMNS)})
        SELECT {", ".join(f":series_row_{name}" for name in _SERIES_COLUMNS)} FROM written
    ), first_line AS (
        INSERT INTO series_history (series_id, version, at, actor, changes, change_id)
        SELECT :series_row_id, :series_row_version, :at, :actor, '{{}}', :change_id FROM written
    )"""  # noqa: S608 - names of our own columns

_DROPPED_REMINDERS = """
    dropped AS (
        DELETE FROM task_reminders USING written
        WHERE task_id = written.id AND NOT (task_reminders.id = ANY(:kept_reminders))
    )"""

# What the reminders service reported (fired_for, scheduled_for) is not overwritten: it comes by events.
_REMINDERS = """
    reminders AS (
        INSERT INTO task_reminders
            (id, task_id, user_id, position, "offset", at, channels, set_at, snoozed_until, acknowledged_at)
        SELECT r.id, written.id, :user_id, r.position, make_interval(secs => r.seconds), r.at, r.channels,
            r.set_at, r.snoozed_until, r.acknowledged_at
        FROM written, jsonb_to_recordset(:reminders) AS r(
            id uuid, position int, seconds float8, at timestamptz, channels text[], set_at timestamptz,
            snoozed_until timestamptz, acknowledged_at timestamptz)
        ON CONFLICT (id) DO UPDATE SET
            position = excluded.position, "offset" = excluded."offset", at = excluded.at,
            channels = excluded.channels, set_at = excluded.set_at, snoozed_until = excluded.snoozed_until,
            acknowledged_at = excluded.acknowledged_at
        WHERE task_reminders.task_id = excluded.task_id
    )"""

_LEDGERS = """
    revision AS (
        INSERT INTO task_history (id, task_id, user_id, version, at, actor, changes, change_id)
        SELECT :event_id, written.id, :user_id, :version, :at, :actor, :changes, :change_id FROM written
    ), told AS (
        INSERT INTO task_activity (id, task_id, user_id, at, kind, detail)
        SELECT :event_id, written.id, :user_id, :at, :activity_kind, :activity_detail FROM written
    )"""

_ANNOUNCED = """
    announced AS (
        INSERT INTO outbox (id, topic, key, event)
        SELECT e.id, e.topic, e.key, e.event
        FROM written, unnest(:event_ids, :topics, :keys, :events) AS e(id, topic, key, event)
    )"""

# The number is known only here, so the event comes in two halves that it stands between.
_ANNOUNCED_NEW = """
    announced AS (
        INSERT INTO outbox (id, topic, key, event)
        SELECT e.id, e.topic, e.key,
            CASE WHEN e.tail = '' THEN e.head ELSE e.head || convert_to(account.number::text, 'UTF8') || e.tail END
        FROM account, unnest(:event_ids, :topics, :keys, :heads, :tails) AS e(id, topic, key, head, tail)
    )"""


def _with(*parts: str, result: str) -> TextClause:
    return _statement(f"WITH {', '.join(parts)}\n{result}")


_NUMBERED = "account AS (SELECT CAST(:number AS int) AS number)"
_NUMBER = "SELECT number FROM account"
_ID = "SELECT id FROM written"

INSERT = Direct(_with(_ACCOUNT, _INSERT_TASK, _REMINDERS, _LEDGERS, _ANNOUNCED_NEW, result=_NUMBER))
INSERT_WITH_SERIES = Direct(
    _with(_ACCOUNT, _INSERT_TASK, _NEW_SERIES, _REMINDERS, _LEDGERS, _ANNOUNCED_NEW, result=_NUMBER)
)
SHARED_INSERT = Direct(
    _with(
        _FREE_ACCOUNT,
        _INSERT_TASK,
        _REMINDERS,
        _LEDGERS,
        _ANNOUNCED_NEW,
        result="SELECT written.id, account.number FROM written, account",
    )
)
INSERT_NUMBERED = _with(_NUMBERED, _INSERT_TASK, _REMINDERS, _LEDGERS, _ANNOUNCED, result=_ID)
INSERT_NUMBERED_WITH_SERIES = _with(
    _NUMBERED, _INSERT_TASK, _NEW_SERIES, _REMINDERS, _LEDGERS, _ANNOUNCED, result=_ID
)
RESERVE = _statement(
    f"""
    UPDATE users SET last_task_number = last_task_number + :number
    WHERE id = :user_id AND {_SAME_OWNER}
    RETURNING last_task_number"""  # noqa: S608 - our own words
)
_WITH_UPDATE = (_DROPPED_REMINDERS, _REMINDERS, _LEDGERS, _ANNOUNCED)
UPDATE = _with(_update_task(_STORED), *_WITH_UPDATE, result=_ID)
UPDATE_FREE = Direct(_with(_update_task(_FREE), *_WITH_UPDATE, result=_ID))
UPDATE_WITH_SERIES = _with(_update_task(_STORED), _NEW_SERIES, *_WITH_UPDATE, result=_ID)


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _reminder_row(position: int, reminder: Reminder) -> dict[str, Any]:
    return {
        "id": str(reminder.id),
        "position": position,
        "seconds": None if reminder.offset is None else reminder.offset.total_seconds(),
        "at": _text(reminder.at),
        "channels": list(reminder.channels),
        "set_at": _text(reminder.set_at),
        "snoozed_until": _text(reminder.snoozed_until),
        "acknowledged_at": _text(reminder.acknowledged_at),
    }


_ATTRIBUTES = tuple(name for name in _TASK_COLUMNS if name != "due_instant")


def _task_row(task: Task, day_start: time) -> dict[str, Any]:
    row = {name: getattr(task, name) for name in _ATTRIBUTES}
    return row | {
        "tags": list(task.tags),
        "metadata": dict(task.metadata),
        "due_instant": task.due(day_start),
    }


def series_row(row: Series) -> dict[str, Any]:
    """Give the columns of a series."""
    policies = row.recurrence.policies
    return {
        "id": row.id,
        "user_id": row.user_id,
        "version": row.version,
        "rrule": row.recurrence.rrule,
        "anchor": policies.anchor,
        "month_end": policies.month_end,
        "overdue": policies.overdue,
        "dst_gap": policies.dst_gap,
        "pile_up": policies.pile_up,
        "timezone": row.timezone,
        "start_local": row.start,
        "exdates": list(row.exdates),
        "paused_at": row.paused_at,
        "resumed_at": row.resumed_at,
        "ended_at": row.ended_at,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }


def series_line(change: SeriesWrite) -> dict[str, Any]:
    """Give the columns of a new version's line in a series' history."""
    return {
        "series_id": change.after.id,
        "version": change.after.version,
        "at": change.stamp.at,
        "actor": change.stamp.actor.model_dump(mode="json"),
        "changes": {name: asdict(value) for name, value in change.changes.items()},
        "change_id": change.stamp.change_id,
    }


def _changed_reminders(change: TaskWrite) -> list[dict[str, Any]]:
    before = dict(enumerate(change.before.reminders)) if change.before is not None else {}
    return [
        _reminder_row(position, reminder)
        for position, reminder in enumerate(change.after.reminders)
        if before.get(position) != reminder
    ]


def _announcements(change: TaskWrite, series: SeriesWrite | None) -> Sequence[Announcement]:
    return (change.announcement,) if series is None else (change.announcement, series.announcement)


def _common(change: TaskWrite, series: SeriesWrite | None) -> dict[str, Any]:
    announcements = _announcements(change, series)
    values = {
        **_task_row(change.after, change.day_start),
        "reminders": _changed_reminders(change),
        "event_id": change.announcement.event_id,
        "at": change.announcement.at,
        "change_id": change.stamp.change_id,
        "actor": change.stamp.actor.model_dump(mode="json"),
        "changes": {name: asdict(value) for name, value in change.changes.items()},
        "activity_kind": change.activity_kind,
        "activity_detail": change.activity_detail,
        "event_ids": [announcement.event_id for announcement in announcements],
        "topics": [announcement.topic for announcement in announcements],
        "keys": [TOPICS[one.topic].key_of(one.data) for one in announcements],
    }
    if series is not None:
        values |= {f"series_row_{name}": value for name, value in series_row(series.after).items()}
    return values


_NUMBER_SLOT = b',"number":1,'


def _halves(announcement: Announcement) -> tuple[bytes, bytes]:
    """Split a new task's event where its number goes. A quote inside a text is escaped, so no text looks like it."""
    event = encode(announcement)
    if not announcement.topic.startswith("task-"):
        return event, b""
    head, slot, tail = event.partition(_NUMBER_SLOT)
    if not slot:
        raise ValueError("a new task's snapshot carries number 1 until it has its own")
    return head + _NUMBER_SLOT[:-2], _NUMBER_SLOT[-1:] + tail


def insertion(change: TaskWrite, owner: Owner, series: SeriesWrite | None) -> tuple[Direct, dict[str, Any]]:
    """Give the statement that inserts a new task and answers its number, or no row when the owner changed."""
    return INSERT if series is None else INSERT_WITH_SERIES, insertion_values(change, owner, series)


def insertion_values(change: TaskWrite, owner: Owner, series: SeriesWrite | None) -> dict[str, Any]:
    """Give what those two statements are asked with, and SHARED_INSERT where no series begins."""
    halves = [_halves(announcement) for announcement in _announcements(change, series)]
    return _common(change, series) | {
        **guard(owner),
        "heads": [head for head, _ in halves],
        "tails": [tail for _, tail in halves],
    }


def guard(owner: Owner) -> dict[str, Any]:
    """Give the owner's settings as a statement must find them."""
    return {
        "owner_timezone": owner.timezone,
        "owner_day_start": owner.day_start,
        "owner_default_reminder": owner.default_reminder,
        "owner_epoch": owner.epoch,
    }


def insertions(
    changes: Sequence[tuple[TaskWrite, SeriesWrite | None]],
) -> Iterator[tuple[TextClause, list[dict[str, Any]]]]:
    """Give the statements, each with its rows, that insert new tasks whose numbers are known."""
    # Those that begin a series come first: others may belong to it.
    for statement, wanted in ((INSERT_NUMBERED_WITH_SERIES, True), (INSERT_NUMBERED, False)):
        rows = [
            _common(change, series)
            | {
                "number": change.after.number,
                "events": [encode(announcement) for announcement in _announcements(change, series)],
            }
            for change, series in changes
            if (series is not None) is wanted
        ]
        if rows:
            yield statement, rows


def update(change: TaskWrite, before: Task, series: SeriesWrite | None) -> tuple[TextClause, dict[str, Any]]:
    """Give the statement that writes the next version of a task and answers its id, or no row when it moved on."""
    return UPDATE if series is None else UPDATE_WITH_SERIES, update_values(change, before, series)


def update_values(change: TaskWrite, before: Task, series: SeriesWrite | None = None) -> dict[str, Any]:
    """Give what that statement is asked with."""
    return _common(change, series) | {
        "before_version": before.version,
        "kept_reminders": [reminder.id for reminder in change.after.reminders],
        "events": [encode(announcement) for announcement in _announcements(change, series)],
    }
