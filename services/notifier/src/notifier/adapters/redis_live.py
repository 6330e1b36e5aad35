"""The live streams in Redis: one stream a listening person, one channel that says whose has something new."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import cast
from uuid import UUID

from redis.asyncio import Redis
from redis.exceptions import RedisError

from event_contracts.tasks import TaskSnapshot
from notifier.adapters.live_scripts import BEGIN, CHANNEL, KEPT, TELL_TASK
from notifier.adapters.redis_keys import erased_key, live_key, person_of_live_key
from notifier.application.errors import LiveUnavailable
from notifier.application.listeners import Listeners
from notifier.domain.live import LiveEvent, task_row
from service_kit.due_index import to_score
from service_kit.revocations import MirrorIncomplete, RevocationMirror

_BATCH = 100
_READS_AT_ONCE = 200
_LISTEN_SECONDS = 5.0

_Raw = tuple[str, dict[str, str]]
_Read = tuple[str, str]


class RedisLive:
    """`LiveEvents` in Redis. Telling raises RedisError when Redis is away, reading raises LiveUnavailable."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._begin = redis.register_script(BEGIN)
        self._tell_task = redis.register_script(TELL_TASK)
        self._asked: dict[_Read, list[asyncio.Future[list[_Raw]]]] = {}
        self.wake_reader: Callable[[], None] = lambda: None

    async def tell_task(self, task: TaskSnapshot, at: datetime) -> bool:
        told = await self._tell_task(
            keys=[live_key(task.user_id), f"live:task:{task.task_id}"],
            args=[task.epoch, task.version, to_score(at), json.dumps(task_row(task), ensure_ascii=False)],
        )
        return bool(told)

    async def begin(self, user_id: UUID) -> str | None:
        try:
            return cast("str | None", await self._begin(keys=[live_key(user_id), erased_key(user_id)]))
        except RedisError as error:
            raise LiveUnavailable(str(error)) from error

    async def since(self, user_id: UUID, position: str) -> Sequence[LiveEvent] | None:
        answer: asyncio.Future[list[_Raw]] = asyncio.get_running_loop().create_future()
        self._asked.setdefault((live_key(user_id), position), []).append(answer)
        self.wake_reader()
        found = await answer
        if not found or found[0][0] != position:
            return None
        return [LiveEvent(place, fields["kind"], fields["data"]) for place, fields in found[1:]]

    async def erase(self, user_id: UUID) -> None:
        key = live_key(user_id)
        await self._redis.delete(key)
        await self._redis.publish(CHANNEL, key)

    async def read(self) -> None:
        """Answer everybody who asks, many in one round trip, and those who ask for the same together."""
        while self._asked:
            part = [self._asked.popitem() for _ in range(min(len(self._asked), _READS_AT_ONCE))]
            try:
                found = await self._read([read for read, _ in part])
            except RedisError as error:
                for _, answers in part:
                    _settle(answers, None, LiveUnavailable(str(error)))
                continue
            except asyncio.CancelledError:
                for _, answers in part:
                    _settle(answers, None, LiveUnavailable("the reader is stopped"))
                raise
            for (_, answers), entries in zip(part, found, strict=True):
                _settle(answers, entries, None)

    async def _read(self, reads: Sequence[_Read]) -> list[list[_Raw]]:
        async with self._redis.pipeline(transaction=False) as batch:
            for key, position in reads:
                batch.xrange(key, min=position, count=_BATCH + 1)
                batch.expire(key, KEPT)
            return cast("list[list[_Raw]]", (await batch.execute())[::2])


def _settle(
    answers: list[asyncio.Future[list[_Raw]]], found: list[_Raw] | None, error: LiveUnavailable | None
) -> None:
    for answer in answers:
        if answer.done():
            continue  # whoever asked is gone
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(found or [])


class NewsChannel:
    """The one connection on which a process hears whose stream has something new."""

    def __init__(self, redis: Redis, listeners: Listeners) -> None:
        self._redis = redis
        self._listeners = listeners

    async def listen(self) -> None:
        """Wake who is named, for ever. Raises RedisError when the connection cannot be made anew."""
        async with self._redis.pubsub() as channel:
            await channel.subscribe(CHANNEL)
            while True:
                message = await channel.get_message(timeout=_LISTEN_SECONDS)
                if message is None:
                    continue
                if message["type"] == "subscribe":
                    # The first time, or anew after the connection was lost, and with it whatever was said meanwhile.
                    self._listeners.wake_all()
                elif (user_id := person_of_live_key(message["data"])) is not None:
                    self._listeners.wake(user_id)


class MirroredSessions:
    """`Sessions` by the mirror of ended sessions."""

    def __init__(self, mirror: RevocationMirror) -> None:
        self._mirror = mirror

    async def ended_among(self, families: Sequence[UUID]) -> set[UUID] | None:
        try:
            return await self._mirror.ended_among(families)
        except MirrorIncomplete:
            return None
        except RedisError as error:
            raise LiveUnavailable(str(error)) from error
