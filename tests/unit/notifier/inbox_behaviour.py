"""What an inbox and a delivery index do, whatever keeps them: one suite for the stand-ins and for Redis."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

from tests.unit.notifier.samples import START, USER, message, notification, snapshot
from tests.unit.notifier.world import LEASE, LIMIT, World

from event_contracts.notifications import DeliveryOutcome
from event_contracts.origin import Origin
from event_contracts.values import Channel
from notifier.application.ports import ShownEntry
from notifier.domain.inbox import ClosedTask, Page
from notifier.domain.notifications import Attempt, Progress, Verdict
from service_kit.telemetry import bind_correlation_id, current_traceparent, span

OTHER = UUID("0197a1c0-0000-7000-8000-000000000002")
CLOSED = (1, 2)
"""The epoch and version by which a task was closed."""


async def _page(world: World, before: str | None = None, limit: int = 10, unread_only: bool = False) -> Page:
    return await world.inbox.page(USER, before=before, limit=limit, unread_only=unread_only)


class InboxBehaviour:
    """Entries once, newest first, with marks that are counted by what is there."""

    async def test_an_entry_comes_out_as_it_went_in(self, world: World) -> None:
        told = message(title='<b>"Water" & \u2028 plants</b> 🪴')
        await world.inbox.add(told, None, START)
        (entry,) = (await _page(world)).entries
        assert (entry.notification_id, entry.task_id, entry.reminder_id) == (
            told.notification_id,
            told.task_id,
            told.reminder_id,
        )
        assert (entry.title, entry.body, entry.due) == (told.title, told.body, "2026-01-05T10:00:00Z")
        assert (entry.fire_at, entry.created_at) == (START, START)
        assert (entry.read_at, entry.cleared) == (None, False)

    async def test_what_has_no_due_has_none(self, world: World) -> None:
        await world.inbox.add(message(due_at=None), None, START)
        (entry,) = (await _page(world)).entries
        assert entry.due is None

    async def test_an_entry_comes_once(self, world: World) -> None:
        told = message()
        assert not await world.inbox.contains(USER, told.notification_id)
        for _ in range(3):
            await world.inbox.add(told, None, START)
        assert await world.inbox.contains(USER, told.notification_id)
        assert len((await _page(world)).entries) == 1
        await world.inbox.mark_read(USER, told.notification_id, START)
        await world.inbox.add(told, None, START)
        assert (await _page(world)).unread == 0, "a copy is not unread again"

    async def test_what_was_lost_comes_back_as_it_was_and_once(self, world: World) -> None:
        unread, read, there = (message() for _ in range(3))
        await world.inbox.add(there, None, START)
        lost = [
            ShownEntry(there, START, START),
            ShownEntry(unread, START - timedelta(days=2), None),
            ShownEntry(read, START - timedelta(days=1), START),
        ]
        for expected in (2, 0):
            assert await world.inbox.restore(lost) == expected
        page = await _page(world)
        assert [(entry.notification_id, entry.created_at, entry.read_at) for entry in page.entries] == [
            (read.notification_id, START - timedelta(days=1), START),
            (unread.notification_id, START - timedelta(days=2), None),
            (there.notification_id, START, None),
        ]
        assert page.unread == 2
        await world.inbox.erase(USER)
        assert await world.inbox.restore([ShownEntry(message(), START, None)]) == 0

    async def test_pages_are_newest_first_without_gap_or_double(self, world: World) -> None:
        told = [message() for _ in range(7)]
        for one in told:
            await world.inbox.add(one, None, START)
        seen: list[UUID] = []
        before = None
        sizes = []
        while True:
            page = await _page(world, before, limit=3)
            assert page.unread == 7
            sizes.append(len(page.entries))
            seen += [entry.notification_id for entry in page.entries]
            before = page.next_position
            if before is None:
                break
            await world.inbox.add(message(user_id=OTHER), None, START)
        assert sizes == [3, 3, 1]
        assert seen == [one.notification_id for one in reversed(told)]

    async def test_only_what_is_unread(self, world: World) -> None:
        told = [message() for _ in range(9)]
        for one in told:
            await world.inbox.add(one, None, START)
        for one in told[::2]:
            assert await world.inbox.mark_read(USER, one.notification_id, START)
        first = await _page(world, limit=3, unread_only=True)
        assert [entry.notification_id for entry in first.entries] == [
            one.notification_id for one in reversed(told[3::2])
        ]
        rest = await _page(world, first.next_position, limit=3, unread_only=True)
        assert [entry.notification_id for entry in rest.entries] == [told[1].notification_id]
        assert rest.next_position is None
        assert first.unread == rest.unread == 4
        await world.inbox.mark_all_read(USER, START)
        assert await _page(world, unread_only=True) == Page((), None, 0)

    async def test_a_mark_stays_as_it_was_first_made(self, world: World) -> None:
        told = message()
        await world.inbox.add(told, None, START)
        assert await world.inbox.mark_read(USER, told.notification_id, START)
        assert await world.inbox.mark_read(USER, told.notification_id, START + timedelta(hours=1))
        assert told.task_id is not None
        assert (
            await world.inbox.clear(ClosedTask(USER, told.task_id, CLOSED, START + timedelta(hours=2))) == 0
        )
        (entry,) = (await _page(world)).entries
        assert (entry.read_at, entry.cleared) == (START, False)

    async def test_what_is_not_there_cannot_be_read(self, world: World) -> None:
        foreign = message(user_id=OTHER)
        await world.inbox.add(foreign, None, START)
        assert not await world.inbox.mark_read(USER, foreign.notification_id, START)
        assert not await world.inbox.mark_read(USER, uuid4(), START)
        assert await world.inbox.mark_all_read(USER, START) == 0
        assert (await world.inbox.page(OTHER, before=None, limit=1, unread_only=False)).unread == 1

    async def test_a_task_clears_what_it_announced_and_nothing_else(self, world: World) -> None:
        task, neighbour = snapshot(), snapshot()
        mine = [message(task), message(task)]
        for one in (*mine, message(neighbour)):
            await world.inbox.add(one, None, START)
        assert await world.inbox.clear(ClosedTask(USER, task.task_id, CLOSED, START)) == 2
        assert await world.inbox.clear(ClosedTask(USER, task.task_id, CLOSED, START)) == 0
        page = await _page(world)
        assert page.unread == 1
        assert [entry.cleared for entry in page.entries] == [False, True, True]
        assert await world.inbox.claim(10) == [], "nobody read them: nothing to tell"

    async def test_what_was_told_since_a_task_was_opened_again_is_not_cleared_by_its_old_end(
        self, world: World
    ) -> None:
        task = snapshot()
        told = [message(task) for _ in range(4)]
        orders = [(1, 1), (1, 9), (1, 10), (2, 1)]
        for one, as_of in zip(told, orders, strict=True):
            await world.inbox.add(one, as_of, START)
        for by, unread in (((1, 9), 2), ((1, 10), 1), ((2, 1), 0)):
            cleared = await world.inbox.clear(ClosedTask(USER, task.task_id, by, START))
            page = await _page(world)
            assert (cleared, page.unread) == (2 if by == (1, 9) else 1, unread)
            newest_first = [entry.cleared for entry in page.entries]
            assert newest_first == [False] * unread + [True] * (4 - unread)

    async def test_what_is_of_a_version_is_read_and_makes_way_like_all_else(self, world: World) -> None:
        told = [message() for _ in range(LIMIT + 2)]
        for one in told:
            await world.inbox.add(one, (1, 7), START)
        page = await _page(world, limit=LIMIT + 2)
        assert (len(page.entries), page.unread) == (LIMIT, LIMIT)
        assert await world.inbox.mark_read(USER, told[-1].notification_id, START)
        assert (await _page(world)).unread == LIMIT - 1
        assert not await world.inbox.mark_read(USER, told[0].notification_id, START)

    async def test_what_was_read_is_told_once(self, world: World) -> None:
        told = [message() for _ in range(3)]
        for one in told:
            await world.inbox.add(one, None, START)
        await world.inbox.mark_read(USER, told[0].notification_id, START)
        await world.inbox.mark_read(USER, told[0].notification_id, START)
        assert await world.inbox.mark_all_read(USER, START) == 2
        await world.advance(timedelta(seconds=1))
        marks = await world.inbox.claim(10)
        assert {(user, notification, at) for user, notification, at, _ in marks} == {
            (USER, one.notification_id, START) for one in told
        }
        await world.inbox.finish([token for *_, token in marks])
        await world.advance(LEASE)
        assert await world.inbox.claim(10) == []

    async def test_the_oldest_leave_when_it_is_full(self, world: World) -> None:
        told = [message() for _ in range(LIMIT + 5)]
        for one in told[: LIMIT - 1]:
            await world.inbox.add(one, None, START)
        await world.inbox.mark_read(USER, told[0].notification_id, START)
        for one in told[LIMIT - 1 :]:
            await world.inbox.add(one, None, START)
        page = await _page(world, limit=LIMIT + 5)
        assert [entry.notification_id for entry in page.entries] == [
            one.notification_id for one in reversed(told[5:])
        ]
        assert page.unread == LIMIT
        assert await world.inbox.mark_all_read(USER, START) == LIMIT

    async def test_an_erased_person_gets_nothing_any_more(self, world: World) -> None:
        told = message()
        await world.inbox.add(told, None, START)
        await world.inbox.add(message(user_id=OTHER), None, START)
        await world.inbox.erase(USER)
        await world.inbox.add(told, None, START)
        assert await _page(world) == Page((), None, 0)
        assert not await world.inbox.contains(USER, told.notification_id)
        assert (await world.inbox.page(OTHER, before=None, limit=1, unread_only=False)).unread == 1


class IndexBehaviour:
    """Each delivery once, to one worker at a time, until its verdict is out."""

    async def test_it_is_queued_once_for_each_channel(self, world: World) -> None:
        news = notification(snapshot())
        assert await world.deliveries.enqueue(news, Channel.EMAIL)
        assert not await world.deliveries.enqueue(news, Channel.EMAIL)
        assert await world.deliveries.enqueue(news, Channel.INBOX)
        assert await world.deliveries.depth(Channel.EMAIL) == 1
        (claimed,) = await world.deliveries.claim(Channel.EMAIL, 5)
        assert claimed.delivery.notification == news
        assert (claimed.delivery.channel, claimed.delivery.progress) == (Channel.EMAIL, Progress())
        assert claimed.delivery.verdict is None
        assert not await world.deliveries.finish(claimed), "there is no last word yet"
        await world.deliveries.record(claimed, Verdict(DeliveryOutcome.DELIVERED, 1, START))
        assert await world.deliveries.finish(claimed)
        assert not await world.deliveries.enqueue(news, Channel.EMAIL), "not after its end either"

    async def test_what_had_it_queued_is_known_to_the_end(self, world: World) -> None:
        news = notification(snapshot())
        with bind_correlation_id("request-1"), span("reminder-due process"):
            origin = Origin(current_traceparent(), "request-1")
            await world.deliveries.enqueue(news, Channel.EMAIL)
        with bind_correlation_id("request-2"), span("a copy of the news"):
            await world.deliveries.enqueue(news, Channel.EMAIL)
        (claimed,) = await world.deliveries.claim(Channel.EMAIL, 5)
        assert claimed.delivery.origin == origin
        until = await world.clock.now() + timedelta(hours=1)
        await world.deliveries.put_off(claimed, Progress(attempts=1), until)
        await world.advance(timedelta(hours=1, seconds=1))
        (again,) = await world.deliveries.claim(Channel.EMAIL, 5)
        assert (again.delivery.origin, again.delivery.progress.attempts) == (origin, 1)

    async def test_what_is_put_back_after_a_loss_has_no_origin(self, world: World) -> None:
        await world.deliveries.enqueue(notification(snapshot()), Channel.EMAIL)
        (claimed,) = await world.deliveries.claim(Channel.EMAIL, 5)
        assert claimed.delivery.origin == Origin()

    async def test_a_claim_is_ones_own_until_the_lease_ends(self, world: World) -> None:
        await world.deliveries.enqueue(notification(snapshot()), Channel.INBOX)
        assert len(await world.deliveries.claim(Channel.INBOX, 5)) == 1
        assert await world.deliveries.claim(Channel.INBOX, 5) == []
        await world.advance(LEASE)
        assert len(await world.deliveries.claim(Channel.INBOX, 5)) == 1

    async def test_the_oldest_is_claimed_first_and_no_more_than_asked(self, world: World) -> None:
        news = [notification(snapshot(), START - timedelta(minutes=minutes)) for minutes in (1, 3, 2)]
        for one in news:
            await world.deliveries.enqueue(one, Channel.INBOX)
        claimed = await world.deliveries.claim(Channel.INBOX, 2)
        assert [one.delivery.notification for one in claimed] == [news[1], news[2]]

    async def test_the_first_verdict_stands(self, world: World) -> None:
        await world.deliveries.enqueue(notification(snapshot()), Channel.EMAIL)
        (slow,) = await world.deliveries.claim(Channel.EMAIL, 1)
        await world.advance(LEASE)
        (quick,) = await world.deliveries.claim(Channel.EMAIL, 1)
        first = Verdict(DeliveryOutcome.FAILED, 3, START, "mail server answered 550")
        assert await world.deliveries.record(quick, first) == first
        assert await world.deliveries.record(slow, Verdict(DeliveryOutcome.DELIVERED, 1, START)) == first
        await world.advance(LEASE)
        (again,) = await world.deliveries.claim(Channel.EMAIL, 1)
        assert again.delivery.verdict == first
        assert await world.deliveries.finish(again)
        assert not await world.deliveries.finish(slow)
        assert await world.deliveries.record(slow, first) is None
        assert await world.deliveries.depth(Channel.EMAIL) == 0

    async def test_what_was_put_off_comes_back_with_its_past(self, world: World) -> None:
        await world.deliveries.enqueue(notification(snapshot()), Channel.EMAIL)
        (claimed,) = await world.deliveries.claim(Channel.EMAIL, 1)
        now = await world.clock.now()
        progress = Progress(2, 1, START)
        await world.deliveries.put_off(claimed, progress, now + timedelta(minutes=5))
        await world.advance(timedelta(minutes=4))
        assert await world.deliveries.claim(Channel.EMAIL, 1) == []
        await world.advance(timedelta(minutes=1, seconds=1))
        (again,) = await world.deliveries.claim(Channel.EMAIL, 1)
        assert again.delivery.progress == progress

    async def test_every_try_is_kept_and_the_last_word_once(self, world: World) -> None:
        news = notification(snapshot())
        await world.deliveries.enqueue(news, Channel.EMAIL)
        (claimed,) = await world.deliveries.claim(Channel.EMAIL, 1)
        failed = Attempt(Channel.EMAIL, None, 1, START, None, "mail server: connection")
        await world.deliveries.put_off(claimed, Progress(1, 0, START), START, failed)
        verdict = Verdict(DeliveryOutcome.DELIVERED, 2, START)
        for _ in range(2):
            await world.deliveries.record(claimed, verdict)
        last = Attempt(Channel.EMAIL, None, 2, START, DeliveryOutcome.DELIVERED, None)
        assert list(await world.deliveries.attempts(USER, news.notification_id)) == [failed, last]
        assert list(await world.deliveries.attempts(OTHER, news.notification_id)) == []
        await world.deliveries.forget(USER)
        assert list(await world.deliveries.attempts(USER, news.notification_id)) == []

    async def test_off_the_shelf_it_is_queued_once_and_begins_anew(self, world: World) -> None:
        """The first holder is slow: it was queued again before that one takes it out. When it fired is not kept."""
        news = notification(snapshot())
        await world.deliveries.enqueue(news, Channel.EMAIL)
        (slow,) = await world.deliveries.claim(Channel.EMAIL, 1)
        assert await world.deliveries.shelved(USER, news.task_id) == []
        closed = Verdict(DeliveryOutcome.CANCELLED, 1, START, "task completed", until_changed=True)
        await world.deliveries.record(slow, closed)
        (shelved,) = await world.deliveries.shelved(USER, news.task_id)
        kept = replace(news, fired_at=None)
        assert (shelved.notification, shelved.channel) == (kept, Channel.EMAIL)
        assert await world.deliveries.requeue(shelved)
        assert not await world.deliveries.requeue(shelved)
        assert not await world.deliveries.enqueue(news, Channel.EMAIL)
        assert await world.deliveries.shelved(USER, news.task_id) == []
        assert not await world.deliveries.finish(slow)
        (again,) = await world.deliveries.claim(Channel.EMAIL, 5)
        assert (again.delivery.notification, again.delivery.verdict) == (kept, None)
        assert again.delivery.progress == Progress()

    async def test_what_is_on_the_shelf_is_erased_with_its_person(self, world: World) -> None:
        news = notification(snapshot())
        await world.deliveries.enqueue(news, Channel.EMAIL)
        (claimed,) = await world.deliveries.claim(Channel.EMAIL, 1)
        closed = Verdict(DeliveryOutcome.CANCELLED, 1, START, "task completed", until_changed=True)
        await world.deliveries.record(claimed, closed)
        await world.deliveries.finish(claimed)
        await world.deliveries.forget(USER)
        assert await world.deliveries.shelved(USER, news.task_id) == []

    async def test_who_lost_the_lease_cannot_put_it_off(self, world: World) -> None:
        await world.deliveries.enqueue(notification(snapshot()), Channel.EMAIL)
        (slow,) = await world.deliveries.claim(Channel.EMAIL, 1)
        await world.advance(LEASE)
        assert len(await world.deliveries.claim(Channel.EMAIL, 1)) == 1
        await world.deliveries.put_off(slow, Progress(1, 0, START), START)
        assert await world.deliveries.claim(Channel.EMAIL, 1) == []

    async def test_a_person_is_forgotten_with_everything_that_waits(self, world: World) -> None:
        mine, other = notification(snapshot()), notification(snapshot(user_id=OTHER))
        for news in (mine, other):
            for channel in (Channel.EMAIL, Channel.INBOX):
                await world.deliveries.enqueue(news, channel)
        held = await world.deliveries.claim(Channel.EMAIL, 5)
        await world.deliveries.forget(USER)
        for claimed in held:
            stands = await world.deliveries.record(claimed, Verdict(DeliveryOutcome.DELIVERED, 1, START))
            assert (stands is None) == (claimed.delivery.notification == mine)
        (claimed,) = await world.deliveries.claim(Channel.INBOX, 5)
        assert claimed.delivery.notification == other
