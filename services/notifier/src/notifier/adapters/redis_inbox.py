"""Each person's inbox: a stream of entries, the task of each, the read marks, and the set of what is unread.

An entry is in the unread set exactly until it has a mark; both change in one script, so the count cannot drift.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import cast
from uuid import UUID

from redis.asyncio import Redis

from notifier.adapters.redis_keys import erased_key, live_key
from notifier.adapters.redis_scripts import ADD, CLEAR, MARK_READ, MARK_SOME_READ
from notifier.application.ports import ShownEntry
from notifier.domain.inbox import ClosedTask, Entry, Page
from notifier.domain.task_record import Order
from notifier.domain.wording import Message
from service_kit.due_index import DueIndex, Lease, to_instant, to_score

_ERASED_TTL = timedelta(days=30)
_CLEARED = "!"
_SCAN_STEP = 200
_INSTANTS = frozenset({"fire_at", "created_at"})

_Raw = tuple[str, dict[str, str]]


class RedisInbox:
    """`Inbox` and `ReadMarks` in Redis. Every method raises RedisError when Redis is away."""

    def __init__(self, redis: Redis, *, limit: int, lease: timedelta, clock_offset: bool = False) -> None:
        self._redis = redis
        self._limit = limit
        self._to_tell = DueIndex(redis, "read-marks", shards=1, lease=lease, clock_offset=clock_offset)
        self._add = redis.register_script(ADD)
        self._clear = redis.register_script(CLEAR)
        self._mark = redis.register_script(MARK_READ)
        self._mark_some = redis.register_script(MARK_SOME_READ)

    async def add(self, message: Message, as_of: Order | None, at: datetime) -> None:
        fields = _fields(message, at)
        keys, args = _adding(message, fields, _told(fields), "", as_of, self._limit)
        await self._add(keys=keys, args=args)

    async def restore(self, entries: Sequence[ShownEntry]) -> int:
        if not entries:
            return 0
        async with self._redis.pipeline(transaction=False) as batch:
            for entry in entries:
                mark = "" if entry.read_at is None else str(to_score(entry.read_at))
                fields = _fields(entry.message, entry.at)
                keys, args = _adding(entry.message, fields, "", mark, None, self._limit)
                await self._add(keys=keys, args=args, client=batch)
            return sum(map(int, await batch.execute()))

    async def contains(self, user_id: UUID, notification_id: UUID) -> bool:
        return bool(await self._redis.hexists(_tasks(user_id), str(notification_id)))

    async def missing(self, entries: Sequence[tuple[UUID, UUID]]) -> set[UUID]:
        async with self._redis.pipeline(transaction=False) as batch:
            for user_id, notification_id in entries:
                batch.hexists(_tasks(user_id), str(notification_id))
            found = await batch.execute()
        return {
            notification_id for (_, notification_id), there in zip(entries, found, strict=True) if not there
        }

    async def clear(self, closed: ClosedTask) -> int:
        keys, args = _clearing(closed)
        return int(await self._clear(keys=keys, args=args))

    async def clear_many(self, tasks: Sequence[ClosedTask]) -> None:
        async with self._redis.pipeline(transaction=False) as batch:
            for closed in tasks:
                keys, args = _clearing(closed)
                await self._clear(keys=keys, args=args, client=batch)
            await batch.execute()

    async def page(self, user_id: UUID, *, before: str | None, limit: int, unread_only: bool) -> Page:
        unread = int(await self._redis.zcard(_unread(user_id)))
        if unread_only and not unread:
            return Page((), None, 0)
        found: list[Entry] = []
        position = before
        while len(found) <= limit:
            step = _SCAN_STEP if unread_only else limit + 1
            raw = cast(
                "list[_Raw]",
                await self._redis.xrevrange(
                    _stream(user_id), max="+" if position is None else f"({position}", count=step
                ),
            )
            if not raw:
                break
            position = raw[-1][0]
            entries = await self._with_marks(user_id, raw)
            found += [entry for entry in entries if not unread_only or entry.read_at is None]
            if len(raw) < step:
                break
        more = len(found) > limit
        shown = tuple(found[:limit])
        return Page(shown, shown[-1].position if more else None, unread)

    async def _with_marks(self, user_id: UUID, raw: Sequence[_Raw]) -> list[Entry]:
        marks = cast(
            "list[str | None]",
            await self._redis.hmget(_read(user_id), [fields["notification_id"] for _, fields in raw]),
        )
        return [_entry(position, fields, mark) for (position, fields), mark in zip(raw, marks, strict=True)]

    async def mark_read(self, user_id: UUID, notification_id: UUID, at: datetime) -> bool:
        known = await self._mark(
            keys=[
                _tasks(user_id),
                _read(user_id),
                _unread(user_id),
                self._to_tell.key_of(str(user_id)),
                live_key(user_id),
            ],
            args=[to_score(at), str(user_id), str(notification_id)],
        )
        return bool(known)

    async def mark_all_read(self, user_id: UUID, at: datetime) -> int:
        unread = int(await self._redis.zcard(_unread(user_id)))
        marked = 0
        while marked < unread:
            part = await self._mark_some(
                keys=[
                    _read(user_id),
                    _unread(user_id),
                    self._to_tell.key_of(str(user_id)),
                    live_key(user_id),
                ],
                args=[to_score(at), str(user_id), _SCAN_STEP],
            )
            if not part:
                break
            marked += int(part)
        return marked

    async def erase(self, user_id: UUID) -> None:
        await self._redis.set(erased_key(user_id), "1", ex=int(_ERASED_TTL.total_seconds()))
        await self._redis.delete(_stream(user_id), _tasks(user_id), _read(user_id), _unread(user_id))

    async def claim(self, limit: int) -> Sequence[tuple[UUID, UUID, datetime, object]]:
        claim = await self._to_tell.claim(limit)
        marks: list[tuple[UUID, UUID, datetime, object]] = []
        for lease in claim.leases:
            user, notification, read_ms = lease.member.split(":")
            marks.append((UUID(user), UUID(notification), to_instant(int(read_ms)), lease))
        return marks

    async def finish(self, tokens: Sequence[object]) -> None:
        await self._to_tell.ack_many(cast("Sequence[Lease]", tokens))


def _text(found: UUID | None) -> str:
    return "" if found is None else str(found)


def _stream(user_id: UUID) -> str:
    return f"inbox:{user_id}"


def _tasks(user_id: UUID) -> str:
    return f"inbox:{user_id}:tasks"


def _read(user_id: UUID) -> str:
    return f"inbox:{user_id}:read"


def _unread(user_id: UUID) -> str:
    return f"inbox:{user_id}:unread"


def _fields(message: Message, at: datetime) -> dict[str, str]:
    return {
        "notification_id": str(message.notification_id),
        "task_id": _text(message.task_id),
        "reminder_id": _text(message.reminder_id),
        "title": message.title,
        "body": message.body,
        "due": message.due or "",
        "fire_at": message.fire_at.isoformat(),
        "created_at": at.isoformat(),
    }


def _adding(
    message: Message, fields: Mapping[str, str], told: str, mark: str, as_of: Order | None, limit: int
) -> tuple[list[str], list[str | int]]:
    user = message.user_id
    keys = [_stream(user), _tasks(user), _read(user), _unread(user), erased_key(user), live_key(user)]
    entry = [part for field in fields.items() for part in field]
    version = "" if as_of is None else f" {as_of[0]} {as_of[1]}"
    return keys, [str(message.notification_id), _text(message.task_id), limit, told, mark, version, *entry]


def _told(fields: Mapping[str, str]) -> str:
    """The entry as who listens is told of it, in the words of the inbox over HTTP."""
    said: dict[str, str | None] = {
        name: value.replace("+00:00", "Z") if name in _INSTANTS else value for name, value in fields.items()
    }
    said["id"] = said.pop("notification_id")
    for name in ("task_id", "reminder_id", "due"):
        said[name] = said[name] or None
    return json.dumps(said, ensure_ascii=False)


def _entry(position: str, fields: Mapping[str, str], mark: str | None) -> Entry:
    return Entry(
        position=position,
        notification_id=UUID(fields["notification_id"]),
        task_id=UUID(fields["task_id"]) if fields["task_id"] else None,
        reminder_id=UUID(fields["reminder_id"]) if fields["reminder_id"] else None,
        title=fields["title"],
        body=fields["body"],
        due=fields["due"] or None,
        fire_at=datetime.fromisoformat(fields["fire_at"]),
        created_at=datetime.fromisoformat(fields["created_at"]),
        read_at=None if mark is None else to_instant(int(mark.rstrip(_CLEARED))),
        cleared=mark is not None and mark.endswith(_CLEARED),
    )


def _clearing(closed: ClosedTask) -> tuple[list[str], list[str | int]]:
    user = closed.user_id
    keys = [_tasks(user), _read(user), _unread(user), live_key(user)]
    return keys, [f"{to_score(closed.at)}{_CLEARED}", str(closed.task_id), *closed.by]
