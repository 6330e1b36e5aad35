"""Schedule documents in the Dapr state store. Keys hold the generation; a closed task's document is a tombstone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from uuid import UUID

from event_contracts.topics import DEAD_LETTER_RETENTION
from reminders.application.ports import StoredDocument
from reminders.domain.document import Document
from service_kit.state_store import NEW_DOCUMENT, NO_EXPIRY, DocumentStore, Replacement

# Longer than an event from before the end can come, replayed dead letters among them, or it would open the task again.
# What reopens it later is newer and says itself what has fired.
TOMBSTONE_TTL = DEAD_LETTER_RETENTION + timedelta(days=7)


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

    async def write_many(self, generation: str, documents: Sequence[StoredDocument]) -> None:
        await self._state.replace_many(
            [
                Replacement(
                    _key(generation, one.document.task_id),
                    one.document.dump(),
                    NEW_DOCUMENT if one.etag is None else one.etag,
                    _ttl(one.document),
                )
                for one in documents
            ]
        )


def _ttl(document: Document) -> int:
    return NO_EXPIRY if document.is_open else int(TOMBSTONE_TTL.total_seconds())


def _key(generation: str, task_id: UUID) -> str:
    return f"{generation}:{task_id.hex}"
