"""Follow a task's news: what a closed task announced is cleared, what waits for an open one is queued again, a
next occurrence is announced, and who listens is told."""

from __future__ import annotations

from datetime import datetime

from event_contracts.tasks import TaskSnapshot
from notifier.application.announce import AnnounceNotification
from notifier.application.errors import RecordWriteFailed
from notifier.application.live_ports import LiveEvents
from notifier.application.ports import Clock, Inbox, LoadedRecord, TaskRecords
from notifier.application.requeue import RequeueCancelled
from notifier.domain.inbox import ClosedTask
from notifier.domain.occurrences import occurrence_in
from notifier.domain.task_record import TaskRecord, record_of


class FollowTask:
    """Applies news of a task in any order and any number, and ends in the same state.

    The record is written before the effects, and every copy of the news repeats the effects of whatever is newest,
    so that what a dying process left undone is done by the next delivery.
    """

    def __init__(
        self,
        records: TaskRecords,
        inbox: Inbox,
        clock: Clock,
        requeue: RequeueCancelled,
        announce: AnnounceNotification,
        live: LiveEvents,
    ) -> None:
        self._records = records
        self._inbox = inbox
        self._clock = clock
        self._requeue = requeue
        self._announce = announce
        self._live = live

    async def apply(self, task: TaskSnapshot, at: datetime) -> None:
        """Take one piece of news, of `at`. Raises NotReady and RecordWriteFailed: then it must come again."""
        news = record_of(task)
        loaded = await self._records.load(news.task_id)
        if news.epoch < loaded.epoch:
            return
        newest = loaded.record
        if newest is None or news.order >= newest.order:
            newest = await self._write(loaded, news)
        await self._do(newest, task if newest.order == news.order else None)
        # By this news, overtaken or not: the one that overtook it does not say what made the task.
        if (occurrence := occurrence_in(task)) is not None:
            await self._announce.run(occurrence)
        if newest.order == news.order:
            await self._live.tell_task(task, at)

    async def _write(self, loaded: LoadedRecord, news: TaskRecord) -> TaskRecord:
        try:
            await self._records.save(loaded, news)
        except RecordWriteFailed:
            again = (await self._records.load(news.task_id)).record
            if again is None or again.order < news.order:
                raise
            return again
        return news

    async def _do(self, newest: TaskRecord, task: TaskSnapshot | None) -> None:
        if newest.is_open:
            await self._requeue.run(newest.user_id, newest.task_id, task)
        else:
            now = await self._clock.now()
            await self._inbox.clear(ClosedTask(newest.user_id, newest.task_id, newest.order, now))
