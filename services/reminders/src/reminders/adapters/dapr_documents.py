"""Schedule documents in the Dapr state store. Keys hold the generation; a deleted task's document is a tombstone."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from uuid import UUID

from event_contracts.topics import TOPICS
from reminders.application.ports import StoredDocument
from reminders.domain.document import Document
from service_kit.state_store import NO_EXPIRY, DocumentStore

# Longer than any event of the task can come again, or a late one would bring a deleted task back.
TOMBSTONE_TTL = max(topic.retention for topic in TOPICS.values()) + timedelta(days=7)


class DaprDocuments:
    """`Documents` on the state store."""

    def __init__(self, state: DocumentStore) -> None:
        self._state = state

    async def get(self, generation: str, task_id: UUID) -> StoredDocument | None:
        stored = await self._state.get(_key(generation, task_id))
        return None if stored is None else StoredDocument(Document.load(task_id, stored.value), stored.etag)

    async def get_many(self, generation: str, task_ids: Iterable[UUID]) -> dict[UUID, StoredDocument]:
        by_key = {_key(generation, task_id): task_id for task_id in task_ids}
        found = await self._state.get_many(by_key)
        return {
            by_key[key]: StoredDocument(Document.load(by_key[key], stored.value), stored.etag)
            for key, stored in found.items()
        }

    async def write(self, generation: str, document: Document, etag: str | None) -> None:
        key = _key(generation, document.task_id)
        ttl = int(TOMBSTONE_TTL.total_seconds()) if document.is_deleted else NO_EXPIRY
        if etag is None:
            await self._state.create(key, document.dump(), ttl)
        else:
            await self._state.replace(key, document.dump(), etag, ttl)


def _key(generation: str, task_id: UUID) -> str:
    return f"{generation}:{task_id.hex}"
