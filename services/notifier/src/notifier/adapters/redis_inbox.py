"""Each person's inbox: a stream of entries, the ids that are in it, and the read marks.

What is unread is what is in it and has no mark, so the count cannot drift.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import cast
from uuid import UUID

from redis.asyncio import Redis

from notifier.adapters.redis_keys import erased_key
from notifier.adapters.redis_scripts import ADD, CLEAR, MARK_READ
from notifier.domain.inbox import Entry, Page
from notifier.domain.wording import Message
from service_kit.due_index import DueIndex, Lease, to_instant, to_score

_ERASED_TTL = timedelta(days=30)
_TASK_TTL = timedelta(days=90)
_CLEARED = "!"
_SCAN_STEP = 200

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

    async def add(self, message: Message, at: datetime) -> None:
        fields = {
            "notification_id": str(message.notification_id),
            "task_id": str(message.task_id),
            "reminder_id": str(message.reminder_id),
            "title": message.title,
            "body": message.body,
            "due": message.due or "",
            "fire_at": message.fire_at.isoformat(),
            "created_at": at.isoformat(),
        }
        user = message.user_id
        await self._add(
            keys=[_stream(user), _ids(user), _read(user), _of_task(user, message.task_id), erased_key(user)],
            args=[
                str(message.notification_id),
                str(message.task_id),
                self._limit,
                int(_TASK_TTL.total_seconds()),
                *(part for item in fields.items() for part in item),
            ],
        )

    async def contains(self, user_id: UUID, notification_id: UUID) -> bool:
        return bool(await self._redis.hexists(_ids(user_id), str(notification_id)))

    async def clear(self, user_id: UUID, task_id: UUID, at: datetime) -> int:
        cleared = await self._clear(
            keys=[_ids(user_id), _read(user_id), _of_task(user_id, task_id)],
            args=[f"{to_score(at)}{_CLEARED}"],
        )
        return int(cleared)

    async def page(self, user_id: UUID, *, before: str | None, limit: int, unread_only: bool) -> Page:
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
        async with self._redis.pipeline(transaction=True) as batch:
            batch.hlen(_ids(user_id))
            batch.hlen(_read(user_id))
            held, read = cast("list[int]", await batch.execute())
        more = len(found) > limit
        shown = tuple(found[:limit])
        return Page(shown, shown[-1].position if more else None, max(held - read, 0))

    async def _with_marks(self, user_id: UUID, raw: Sequence[_Raw]) -> list[Entry]:
        marks = cast(
            "list[str | None]",
            await self._redis.hmget(_read(user_id), [fields["notification_id"] for _, fields in raw]),
        )
        return [_entry(position, fields, mark) for (position, fields), mark in zip(raw, marks, strict=True)]

    async def mark_read(self, user_id: UUID, notification_id: UUID, at: datetime) -> bool:
        known, _ = await self._mark_read(user_id, [str(notification_id)], at)
        return known == 1

    async def mark_all_read(self, user_id: UUID, at: datetime) -> int:
        held = cast("Mapping[str, str]", await self._redis.hgetall(_ids(user_id)))
        if not held:
            return 0
        _, new = await self._mark_read(user_id, list(held), at)
        return new

    async def _mark_read(self, user_id: UUID, notifications: list[str], at: datetime) -> tuple[int, int]:
        known = new = 0
        for start in range(0, len(notifications), _SCAN_STEP):
            part = notifications[start : start + _SCAN_STEP]
            more_known, more_new = await self._mark(
                keys=[_ids(user_id), _read(user_id), self._to_tell.key_of(str(user_id))],
                args=[to_score(at), to_score(at), str(user_id), *part],
            )
            known, new = known + int(more_known), new + int(more_new)
        return known, new

    async def erase(self, user_id: UUID) -> None:
        await self._redis.set(erased_key(user_id), "1", ex=int(_ERASED_TTL.total_seconds()))
        held = cast("Mapping[str, str]", await self._redis.hgetall(_ids(user_id)))
        tasks = [_of_task(user_id, UUID(task)) for task in set(held.values())]
        await self._redis.delete(_stream(user_id), _ids(user_id), _read(user_id), *tasks)

    async def claim(self, limit: int) -> Sequence[tuple[UUID, UUID, datetime, object]]:
        claim = await self._to_tell.claim(limit)
        marks: list[tuple[UUID, UUID, datetime, object]] = []
        for lease in claim.leases:
            user, notification, read_ms = lease.member.split(":")
            marks.append((UUID(user), UUID(notification), to_instant(int(read_ms)), lease))
        return marks

    async def finish(self, tokens: Sequence[object]) -> None:
        await self._to_tell.ack_many(cast("Sequence[Lease]", tokens))


def _stream(user_id: UUID) -> str:
    return f"inbox:{user_id}"


def _ids(user_id: UUID) -> str:
    return f"inbox:{user_id}:ids"


def _read(user_id: UUID) -> str:
    return f"inbox:{user_id}:read"


def _of_task(user_id: UUID, task_id: UUID) -> str:
    return f"inbox:{user_id}:task:{task_id}"


def _entry(position: str, fields: Mapping[str, str], mark: str | None) -> Entry:
    return Entry(
        position=position,
        notification_id=UUID(fields["notification_id"]),
        task_id=UUID(fields["task_id"]),
        reminder_id=UUID(fields["reminder_id"]),
        title=fields["title"],
        body=fields["body"],
        due=fields["due"] or None,
        fire_at=datetime.fromisoformat(fields["fire_at"]),
        created_at=datetime.fromisoformat(fields["created_at"]),
        read_at=None if mark is None else to_instant(int(mark.rstrip(_CLEARED))),
        cleared=mark is not None and mark.endswith(_CLEARED),
    )
