"""Task records and the marker in the Dapr state store. Keys hold the generation; a deleted task's record expires."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from redis.asyncio import Redis

from event_contracts.topics import TOPICS
from notifier.application.errors import NotReady, RecordWriteFailed
from notifier.application.ports import LoadedRecord
from notifier.domain.task_record import TaskRecord
from service_kit.marker import MarkerStore
from service_kit.state_store import (
    NO_EXPIRY,
    DocumentStore,
    StateConflict,
    StateUnavailable,
    StateWriteFailed,
)

# Longer than any event of the task can come again, or a late one would pass for news.
TOMBSTONE_TTL = max(topic.retention for topic in TOPICS.values()) + timedelta(days=7)


class DaprMarkers:
    """`Markers` on the state store. Raises StateWriteFailed, RedisError."""

    def __init__(self, markers: MarkerStore, redis: Redis) -> None:
        self._markers = markers
        self._redis = redis

    async def epoch(self) -> int | None:
        marker = await self._markers.read()
        return None if marker is None else marker.epoch

    async def create(self, epoch: int) -> None:
        server = await self._redis.info("server")
        if await self._markers.read() is not None:
            return  # made while task-api was asked: a second one would throw away what is written under it
        try:
            await self._markers.create(epoch, str(server["run_id"]))
        except StateConflict:
            return  # another replica was first


class DaprTaskRecords:
    """`TaskRecords` on the state store."""

    def __init__(self, state: DocumentStore, markers: MarkerStore) -> None:
        self._state = state
        self._markers = markers

    async def load(self, task_id: UUID) -> LoadedRecord:
        try:
            marker = await self._markers.read()
            if marker is None:
                raise NotReady("there is no marker")
            stored = await self._state.get(_key(marker.generation, task_id))
        except StateUnavailable as error:
            raise NotReady(str(error)) from error
        if stored is None:
            return LoadedRecord(task_id, marker.generation, marker.epoch, None, None)
        value = stored.value
        record = TaskRecord(
            task_id=task_id,
            user_id=UUID(value["u"]),
            epoch=int(value["e"]),
            version=int(value["v"]),
            is_open=value["s"] == "o",
            is_deleted=value["s"] == "d",
        )
        return LoadedRecord(task_id, marker.generation, marker.epoch, record, stored.etag)

    async def save(self, loaded: LoadedRecord, record: TaskRecord) -> None:
        value = {
            "u": record.user_id.hex,
            "e": record.epoch,
            "v": record.version,
            "s": "d" if record.is_deleted else "o" if record.is_open else "c",
        }
        ttl = int(TOMBSTONE_TTL.total_seconds()) if record.is_deleted else NO_EXPIRY
        key = _key(loaded.generation, loaded.task_id)
        try:
            if loaded.etag is None:
                await self._state.create(key, value, ttl)
            else:
                await self._state.replace(key, value, loaded.etag, ttl)
        except StateWriteFailed as error:
            raise RecordWriteFailed(str(error)) from error


def _key(generation: str, task_id: UUID) -> str:
    return f"{generation}:{task_id.hex}"
