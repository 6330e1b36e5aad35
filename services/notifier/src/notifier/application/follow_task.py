"""Follow a task's news: what a closed task announced is cleared."""

from __future__ import annotations

from notifier.application.errors import RecordWriteFailed
from notifier.application.ports import Clock, Inbox, LoadedRecord, TaskRecords
from notifier.domain.task_record import TaskRecord


class FollowTask:
    """Applies news of a task in any order and any number, and ends in the same state.

    The record is written before the effects, and every copy of the news repeats the effects of whatever is newest,
    so that what a dying process left undone is done by the next delivery.
    """

    def __init__(self, records: TaskRecords, inbox: Inbox, clock: Clock) -> None:
        self._records = records
        self._inbox = inbox
        self._clock = clock

    async def apply(self, news: TaskRecord) -> None:
        """Take one piece of news. Raises NotReady and RecordWriteFailed: then it must come again."""
        loaded = await self._records.load(news.task_id)
        if news.epoch < loaded.epoch:
            return
        newest = loaded.record
        if newest is None or news.order >= newest.order:
            newest = await self._write(loaded, news)
        await self._do(newest)

    async def _write(self, loaded: LoadedRecord, news: TaskRecord) -> TaskRecord:
        try:
            await self._records.save(loaded, news)
        except RecordWriteFailed:
            again = (await self._records.load(news.task_id)).record
            if again is None or again.order <= news.order:
                raise
            return again
        return news

    async def _do(self, newest: TaskRecord) -> None:
        if not newest.is_open:
            await self._inbox.clear(newest.user_id, newest.task_id, await self._clock.now())
