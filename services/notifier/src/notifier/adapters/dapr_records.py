"""Task records in the Dapr state store. Keys hold the generation; a deleted task's record expires."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from uuid import UUID

from event_contracts.topics import DEAD_LETTER_RETENTION
from notifier.application.errors import NotReady, RecordWriteFailed
from notifier.application.ports import LoadedRecord
from notifier.domain.task_record import TaskRecord
from service_kit.asked_together import AskedTogether
from service_kit.marker import Marker, MarkerStore
from service_kit.state_store import (
    NO_EXPIRY,
    DocumentStore,
    StateUnavailable,
    StateWriteFailed,
    Stored,
)

# Longer than any event of the task can come, replayed dead letters among them, or a late one would pass for news.
TOMBSTONE_TTL = DEAD_LETTER_RETENTION + timedelta(days=7)

_AT_ONCE = 100


class DaprTaskRecords:
    """`TaskRecords` on the state store."""

    def __init__(self, state: DocumentStore, markers: MarkerStore) -> None:
        self._state = state
        self._markers = markers
        # Events of many tasks come side by side: their records are read together.
        self._loaded = AskedTogether(self._load, at_most=_AT_ONCE)

    async def load(self, task_id: UUID) -> LoadedRecord:
        loaded = await self._loaded.one(task_id)
        assert loaded is not None  # noqa: S101 - of what there is no record of, that is told
        return loaded

    async def newest(self, task_ids: Collection[UUID]) -> Mapping[UUID, TaskRecord]:
        loaded = await self._load(list(task_ids))
        return {task_id: one.record for task_id, one in loaded.items() if one.record is not None}

    async def _load(self, task_ids: Sequence[UUID]) -> Mapping[UUID, LoadedRecord]:
        try:
            marker = await self._markers.read()
            if marker is None:
                raise NotReady("there is no marker")
            keys = {task_id: _key(marker.generation, task_id) for task_id in task_ids}
            found = await self._state.get_many(keys.values())
        except StateUnavailable as error:
            raise NotReady(str(error)) from error
        return {task_id: _loaded_record(task_id, marker, found.get(key)) for task_id, key in keys.items()}

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


def _loaded_record(task_id: UUID, marker: Marker, stored: Stored | None) -> LoadedRecord:
    if stored is None:
        return LoadedRecord(task_id, marker.generation, marker.epoch, None, None)
    return LoadedRecord(task_id, marker.generation, marker.epoch, _record(task_id, stored), stored.etag)


def _record(task_id: UUID, stored: Stored) -> TaskRecord:
    value = stored.value
    return TaskRecord(
        task_id=task_id,
        user_id=UUID(value["u"]),
        epoch=int(value["e"]),
        version=int(value["v"]),
        is_open=value["s"] == "o",
        is_deleted=value["s"] == "d",
    )


def _key(generation: str, task_id: UUID) -> str:
    return f"{generation}:{task_id.hex}"
