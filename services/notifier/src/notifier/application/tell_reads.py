"""Tell task-api what people read: what a person said belongs into its database."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from uuid import UUID

from notifier.application.ports import Events, ReadMarks


class TellReads:
    """Publishes read marks that were not told yet, at least once: a mark is taken out after the bus has it."""

    def __init__(self, marks: ReadMarks, events: Events, batch: int = 200) -> None:
        self._marks = marks
        self._events = events
        self._batch = batch

    async def step(self) -> None:
        """Tell everything there is. Raises PublishFailed: the rest comes back when its lease ends."""
        while claimed := await self._marks.claim(self._batch):
            by_user: defaultdict[UUID, dict[UUID, datetime]] = defaultdict(dict)
            for user_id, notification_id, read_at, _ in claimed:
                by_user[user_id][notification_id] = read_at
            for user_id, marks in by_user.items():
                await self._events.read(user_id, marks)
            await self._marks.finish([token for *_, token in claimed])
