"""How notifications are delivered, whatever keeps the index and the inbox: one suite for the stand-ins and for Redis.

A module that has a fixture `world` and imports these classes' subclasses runs them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import count

import pytest
from tests.unit.notifier.samples import (
    START,
    USER,
    completed,
    contact,
    deleted,
    later,
    quiet_around,
    reminder,
    reopened,
    snapshot,
)
from tests.unit.notifier.world import LEASE, CrashError, Gate, World

from event_contracts.tasks import TaskSnapshot
from event_contracts.values import Channel, LatePolicy
from notifier.application.errors import ChannelRefused, ChannelUnavailable
from service_kit.due_index import to_score
from service_kit.sidecar import SidecarUnavailable


def dying_at(point: int) -> tuple[Gate, Callable[[], bool]]:
    """A gate at whose passage number `point` the process dies, and whether it did."""
    passages = count()
    died = False

    async def gate(_: str) -> None:
        nonlocal died
        if next(passages) == point:
            died = True
            raise CrashError

    return gate, lambda: died


class DeliveryBehaviour:
    """From the news that a reminder fired to the last word about it."""

    async def test_both_channels_get_it_and_say_so(self, world: World) -> None:
        task = world.commit(snapshot())
        replica = world.replica()
        await replica.hear_due(task)
        assert await replica.work(Channel.EMAIL, Channel.INBOX) == 2

        (entry,) = await world.entries(USER)
        assert (entry.task_id, entry.title) == (task.task_id, task.title)
        assert await world.unread(USER) == 1
        assert [mail.notification_id for mail in world.mailer.sent] == [entry.notification_id]
        for channel in (Channel.EMAIL, Channel.INBOX):
            (told,) = world.told(channel)
            assert (told["outcome"], told["attempt"], told["reason"]) == ("delivered", 1, None)
            assert told["latency_ms"] >= 1_000
        await world.settle()
        assert len(world.sidecar.events("notification-delivered")) == 2, "nothing is said of ways nobody has"

    async def test_the_news_twice_is_one_notification(self, world: World) -> None:
        task = world.commit(snapshot())
        for _ in range(2):
            replica = world.replica()
            await replica.hear_due(task)
            await replica.hear_due(task)
            await world.settle()
        assert len(await world.entries(USER)) == 1
        assert len(world.mailer.sent) == 1
        assert len(world.sidecar.events("notification-delivered")) == 2

    async def test_news_backwards_end_the_same(self, world: World) -> None:
        """Every order of the same events, each twice: one entry, read; no mail after the end."""
        task = snapshot()
        done = completed(task)
        world.commit(done)
        replica = world.replica()
        for news in (done, task, done):
            await replica.hear_task(news)
        await replica.hear_due(task)
        await replica.hear_task(task)
        await world.settle()
        assert await world.entries(USER) == []
        assert world.mailer.sent == []
        assert {data["reason"] for data in world.told(Channel.EMAIL)} == {"task completed"}

    async def test_one_channel_fails_and_the_other_does_not_notice(self, world: World) -> None:
        task = world.commit(snapshot())
        world.mailer.failures += [ChannelUnavailable("mail server: connection")] * 3
        replica = world.replica()
        await replica.hear_due(task)
        await replica.work()
        assert [data["outcome"] for data in world.told(Channel.INBOX)] == ["delivered"]
        assert world.told(Channel.EMAIL) == []
        for wait in (1, 4, 16):
            assert await world.replica().work() == 0, "not before its time"
            await world.advance(timedelta(seconds=wait))
            assert await world.replica().work() == 1
        (told,) = world.told(Channel.EMAIL)
        assert (told["outcome"], told["attempt"]) == ("delivered", 4)
        assert len(world.mailer.sent) == 1
        tries = world.tries(Channel.EMAIL)
        assert [(one["attempt"], one["reason"]) for one in tries] == [
            (number, "mail server: connection") for number in (1, 2, 3)
        ]
        (entry,) = await world.entries(USER)
        kept = await world.deliveries.attempts(USER, entry.notification_id)
        # To the millisecond, as Redis keeps it.
        assert [to_score(datetime.fromisoformat(one["at"])) for one in tries] == [
            to_score(one.at) for one in kept if one.outcome is None
        ]

    @pytest.mark.parametrize("trouble", ["the bus refuses", "the bus hangs", "the process dies"])
    async def test_a_try_that_cannot_be_told_of_comes_again_at_its_time(
        self, world: World, trouble: str
    ) -> None:
        task = world.commit(snapshot())
        world.mailer.failures.append(ChannelUnavailable("mail server: connection"))
        await world.replica().hear_due(task)

        async def in_the_way(step: str) -> None:
            if step == "before events.to_be_repeated":
                if trouble == "the process dies":
                    raise CrashError
                if trouble == "the bus hangs":
                    await asyncio.Event().wait()
                world.sidecar.fail_next(SidecarUnavailable("by the test"))

        world.aside = 0.05
        with suppress(CrashError):
            async with asyncio.timeout(5):
                await world.replica(in_the_way).work(Channel.EMAIL)
        assert world.tries(Channel.EMAIL) == []
        await world.advance(timedelta(seconds=1))
        assert await world.replica().work(Channel.EMAIL) == 1
        (told,) = world.told(Channel.EMAIL)
        assert (told["outcome"], told["attempt"]) == ("delivered", 2)
        assert len(world.mailer.sent) == 1

    async def test_a_refusal_is_final(self, world: World) -> None:
        world.mailer.failures.append(ChannelRefused("mail server answered 550"))
        task = world.commit(snapshot())
        await world.replica().hear_due(task)
        await world.settle()
        (told,) = world.told(Channel.EMAIL)
        assert (told["outcome"], told["attempt"], told["reason"]) == ("failed", 1, "mail server answered 550")
        assert world.mailer.sent == []

    async def test_it_is_given_up_after_the_horizon(self, world: World) -> None:
        world.mailer.failures += [ChannelUnavailable("mail server: timeout")] * 200
        task = world.commit(snapshot())
        replica = world.replica()
        await replica.hear_due(task)
        tries = 0
        while not world.told(Channel.EMAIL):
            tries += await replica.work(Channel.EMAIL)
            await world.advance(timedelta(minutes=31))
            assert tries <= 60
        (told,) = world.told(Channel.EMAIL)
        assert (told["outcome"], told["reason"]) == ("failed", "given up: mail server: timeout")
        assert 40 <= tries == told["attempt"]
        assert [one["attempt"] for one in world.tries(Channel.EMAIL)] == list(range(1, tries))

    @pytest.mark.parametrize("end", [completed, deleted])
    async def test_a_closed_task_is_not_announced(
        self, world: World, end: Callable[[TaskSnapshot], TaskSnapshot]
    ) -> None:
        task = snapshot()
        world.commit(end(task))
        await world.replica().hear_due(task)
        await world.settle()
        assert world.mailer.sent == []
        assert await world.entries(USER) == []
        for channel in (Channel.EMAIL, Channel.INBOX):
            (told,) = world.told(channel)
            assert told["outcome"] == "cancelled"
            assert told["reason"] in ("task completed", "task deleted")

    async def test_a_task_closed_while_mail_waits_cancels_the_mail_and_clears_the_inbox(
        self, world: World
    ) -> None:
        task = world.commit(snapshot())
        world.mailer.failures.append(ChannelUnavailable("mail server: connection"))
        replica = world.replica()
        await replica.hear_due(task)
        await replica.work()
        assert await world.unread(USER) == 1

        await replica.hear_task(world.commit(completed(task)))
        assert await world.unread(USER) == 0
        (entry,) = await world.entries(USER)
        assert entry.cleared
        await world.settle()
        assert world.mailer.sent == []
        assert [data["reason"] for data in world.told(Channel.EMAIL)] == ["task completed"]

    async def test_a_task_closed_between_the_question_and_the_entry_leaves_nothing_unread(
        self, world: World
    ) -> None:
        """Its news come and find nothing to clear, then the entry comes: whoever adds it must look again."""
        task = world.commit(snapshot())

        async def closing(step: str) -> None:
            if step == "before inbox.add":
                await world.replica().hear_task(world.commit(completed(task)))

        await world.replica().hear_due(task)
        await world.replica(closing).work(Channel.INBOX)
        (entry,) = await world.entries(USER)
        assert entry.cleared
        assert await world.unread(USER) == 0

    async def test_an_old_end_that_is_all_that_was_heard_clears_nothing(self, world: World) -> None:
        """The task was reopened, and only the news of its end are here yet."""
        task = snapshot()
        done = completed(task)
        await world.replica().hear_task(done)
        world.commit(reopened(done))
        await world.replica().hear_due(task)
        await world.settle()
        assert await world.unread(USER) == 1

    async def test_a_reminder_that_was_moved_is_not_sent(self, world: World) -> None:
        task = snapshot()
        moved = task.reminders[0].model_copy(update={"at": START + timedelta(hours=3)})
        world.commit(later(task, reminders=(moved,)))
        await world.replica().hear_due(task)
        await world.settle()
        assert [data["reason"] for data in world.told(Channel.INBOX)] == ["reminder moved"]

    async def test_a_reopened_task_is_told_of_after_all(self, world: World) -> None:
        """Cancelled on both channels, then reopened: once each, whoever hears the news how often."""
        task = world.commit(snapshot())
        done = world.commit(completed(task))
        await world.replica().hear_due(task)
        await world.replica().hear_task(done)
        await world.settle()
        assert (await world.entries(USER), world.mailer.sent) == ([], [])
        again = world.commit(reopened(done))
        for _ in range(3):
            await world.replica().hear_task(again)
        await world.settle()
        await world.replica().hear_task(again)
        await world.settle()
        assert (len(await world.entries(USER)), len(world.mailer.sent)) == (1, 1)
        for channel in (Channel.EMAIL, Channel.INBOX):
            assert [data["outcome"] for data in world.told(channel)] == ["cancelled", "delivered"]

    async def test_a_reminder_that_was_moved_and_moved_back_is_told_of_after_all(self, world: World) -> None:
        """It fired before the news that it was moved came to where it fires, and the move was undone later."""
        task = world.commit(snapshot())
        elsewhere = task.reminders[0].model_copy(update={"at": START + timedelta(hours=3)})
        moved = world.commit(later(task, reminders=(elsewhere,)))
        await world.replica().hear_due(task)
        await world.replica().hear_task(moved)
        await world.settle()
        await world.replica().hear_task(moved)
        await world.settle()
        assert (await world.entries(USER), world.mailer.sent) == ([], [])
        back = world.commit(later(moved, reminders=task.reminders))
        for _ in range(2):
            await world.replica().hear_task(back)
            await world.replica().hear_due(task)
        await world.settle()
        assert (len(await world.entries(USER)), len(world.mailer.sent)) == (1, 1)
        for channel in (Channel.EMAIL, Channel.INBOX):
            assert [data["outcome"] for data in world.told(channel)] == ["cancelled", "delivered"]

    async def test_a_reminder_moved_back_between_the_question_and_the_last_word(self, world: World) -> None:
        task = world.commit(snapshot())
        elsewhere = task.reminders[0].model_copy(update={"at": START + timedelta(hours=3)})
        moved = world.commit(later(task, reminders=(elsewhere,)))

        async def move_back(step: str) -> None:
            if step == "before deliveries.record":
                back = later(moved, reminders=task.reminders)
                await world.replica().hear_task(world.commit(back))

        replica = world.replica(move_back)
        await replica.hear_due(task)
        await replica.work(Channel.EMAIL)
        await world.settle()
        assert len(world.mailer.sent) == 1

    async def test_what_was_moved_while_the_task_was_closed_stays_cancelled(self, world: World) -> None:
        task = world.commit(snapshot())
        done = world.commit(completed(task))
        await world.replica().hear_due(task)
        await world.settle()
        first = task.reminders[0]
        moved = first.model_copy(update={"at": START + timedelta(days=3)})
        again = world.commit(later(reopened(done), reminders=(moved,)))
        await world.replica().hear_task(again)
        await world.settle()
        assert (await world.entries(USER), world.mailer.sent) == ([], [])

    async def test_a_task_reopened_between_the_question_and_the_last_word(self, world: World) -> None:
        """The news that it is open is heard before the cancellation is written down: it is asked once more."""
        task = world.commit(snapshot())
        done = world.commit(completed(task))

        async def reopen(step: str) -> None:
            if step == "before deliveries.record":
                await world.replica().hear_task(world.commit(reopened(done)))

        replica = world.replica(reopen)
        await replica.hear_due(task)
        await replica.work(Channel.EMAIL)
        await world.settle()
        assert len(world.mailer.sent) == 1

    async def test_quiet_hours_hold_back_mail_but_not_the_inbox(self, world: World) -> None:
        """Quiet for two more hours: the mail goes out after them, in its first try."""
        now = await world.clock.now()
        hours = quiet_around(now, left=timedelta(hours=2))
        world.reach(contact(quiet_hours=hours, timezone="UTC"))
        task = world.commit(snapshot(due_at=START + timedelta(hours=9)))
        await world.replica().hear_due(task)
        await world.replica().work()
        assert (len(await world.entries(USER)), world.mailer.sent) == (1, [])
        await world.advance(timedelta(hours=1, minutes=58))
        await world.replica().work()
        assert world.mailer.sent == []
        await world.advance(timedelta(minutes=3))
        await world.replica().work()
        assert len(world.mailer.sent) == 1
        (told,) = world.told(Channel.EMAIL)
        assert (told["outcome"], told["attempt"]) == ("delivered", 1)

    async def test_what_is_later_than_wanted_is_dropped_but_for_the_inbox(self, world: World) -> None:
        world.reach(contact(late_policy=LatePolicy.DROP_AFTER, drop_after=timedelta(hours=1)))
        task = world.commit(snapshot(due_at=START + timedelta(hours=9)))
        await world.replica().hear_due(task)
        await world.advance(timedelta(hours=2))
        await world.replica().work()
        assert (len(await world.entries(USER)), world.mailer.sent) == (1, [])
        (told,) = world.told(Channel.EMAIL)
        assert (told["outcome"], told["reason"]) == ("cancelled", "later than wanted")

    async def test_a_channel_nobody_wants_is_not_used(self, world: World) -> None:
        task = world.commit(snapshot(reminders=(reminder(channels=(Channel.INBOX,)),)))
        await world.replica().hear_due(task)
        await world.settle()
        assert world.mailer.sent == []
        assert [data["reason"] for data in world.told(Channel.EMAIL)] == ["not wanted"]
        assert len(await world.entries(USER)) == 1

    async def test_an_outage_of_task_api_or_the_bus_only_delays(self, world: World) -> None:
        task = world.commit(snapshot())
        replica = world.replica()
        world.sidecar.unavailable = True
        await replica.hear_due(task)
        for _ in range(100):
            await replica.work()
            await world.advance(timedelta(minutes=30))
        assert world.mailer.sent == []
        world.sidecar.unavailable = False
        await world.settle()
        assert len(world.mailer.sent) == len(await world.entries(USER)) == 1
        assert {data["attempt"] for data in world.told(Channel.EMAIL)} == {1}

    async def test_what_the_bus_did_not_take_is_told_again_but_not_sent_again(self, world: World) -> None:
        task = world.commit(snapshot())
        for landed in (False, True, False, True):
            world.sidecar.fail_next(SidecarUnavailable("by the test"), landed=landed)
        await world.replica().hear_due(task)
        await world.settle()
        assert len(world.mailer.sent) == len(await world.entries(USER)) == 1
        assert len(world.told(Channel.EMAIL)) == len(world.told(Channel.INBOX)) == 1

    async def test_an_erased_person_hears_nothing_more(self, world: World) -> None:
        task = world.commit(snapshot())
        waiting = world.commit(snapshot())
        replica = world.replica()
        await replica.hear_due(task)
        await replica.work()
        world.mailer.failures.append(ChannelUnavailable("mail server: connection"))
        await replica.hear_due(waiting)
        await replica.work(Channel.EMAIL)

        await replica.hear_user_deleted(USER)
        await replica.hear_due(task)
        await replica.hear_due(waiting)
        await world.settle()
        assert await world.entries(USER) == []
        assert len(world.mailer.sent) == 1
        assert len(world.told(Channel.EMAIL)) == 1

    async def test_a_slow_process_does_not_undo_what_another_did(self, world: World) -> None:
        task = world.commit(snapshot())
        slow, quick = world.replica(), world.replica()
        await slow.hear_due(task)
        (stale,) = await slow.deliveries.claim(Channel.INBOX, 1)
        await world.advance(LEASE)
        await quick.work(Channel.INBOX)
        world.commit(completed(task))
        await slow.deliver[Channel.INBOX].run(stale)
        assert [data["outcome"] for data in world.told(Channel.INBOX)] == ["delivered"]
        assert len(await world.entries(USER)) == 1
        assert await world.deliveries.depth(Channel.INBOX) == 0


class CrashBehaviour:
    """A process dies between any two steps; the broker and the leases bring back what it had in hand."""

    async def _play(self, world: World, task: TaskSnapshot, gate: Gate) -> None:
        replica = world.replica(gate)
        await replica.hear_task(task)
        await replica.hear_due(task)
        await replica.work()

    async def _each_point(
        self,
        fresh_world: Callable[[], Awaitable[World]],
        after_crash: Callable[[World, TaskSnapshot], Awaitable[None]],
        check: Callable[[World, TaskSnapshot], Awaitable[None]],
    ) -> None:
        for point in count():
            world = await fresh_world()
            task = world.commit(snapshot())
            gate, died = dying_at(point)
            try:
                await self._play(world, task, gate)
            except CrashError:
                await after_crash(world, task)
                replica = world.replica()
                await replica.hear_task(task)
                await replica.hear_due(task)
                await world.advance(LEASE)
            await world.settle()
            await check(world, task)
            if not died():
                assert point > 30, "the gate is passed at every call of a port"
                return

    async def test_dying_anywhere_leaves_one_entry_and_a_mail(
        self, fresh_world: Callable[[], Awaitable[World]]
    ) -> None:
        async def nothing(world: World, task: TaskSnapshot) -> None:
            pass

        async def check(world: World, task: TaskSnapshot) -> None:
            (entry,) = await world.entries(USER)
            assert await world.unread(USER) == 1
            assert 1 <= len(world.mailer.sent) <= 2
            assert {mail.notification_id for mail in world.mailer.sent} == {entry.notification_id}
            for channel in (Channel.EMAIL, Channel.INBOX):
                assert [data["outcome"] for data in world.told(channel)] == ["delivered"]

        await self._each_point(fresh_world, nothing, check)

    async def test_dying_anywhere_while_the_task_is_done_leaves_nothing_unread(
        self, fresh_world: Callable[[], Awaitable[World]]
    ) -> None:
        async def close(world: World, task: TaskSnapshot) -> None:
            await world.replica().hear_task(world.commit(completed(task)))

        async def check(world: World, task: TaskSnapshot) -> None:
            entries = await world.entries(USER)
            (told,) = world.told(Channel.INBOX)
            assert told["outcome"] == ("delivered" if entries else "cancelled")
            assert len(entries) <= 1
            assert len(world.told(Channel.EMAIL)) == 1
            assert len(world.mailer.sent) <= 1
            await world.replica().hear_task(completed(task))
            assert await world.unread(USER) == 0

        await self._each_point(fresh_world, close, check)
