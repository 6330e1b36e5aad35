"""The word on a series' next occurrence: one suite for the stand-ins and for Redis."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from itertools import count, permutations
from uuid import UUID, uuid4

import pytest
from tests.unit.notifier.delivery_behaviour import dying_at
from tests.unit.notifier.samples import (
    USER,
    completed,
    contact,
    deleted,
    made_again,
    occurrence,
    quiet_around,
    reminder,
    renamed,
    snapshot,
    withdrawn,
)
from tests.unit.notifier.world import LEASE, CrashError, World

from event_contracts.tasks import TaskSnapshot
from event_contracts.values import Channel, LatePolicy
from notifier.domain.contact import Contact, Webhook
from notifier.domain.lanes import Lane
from service_kit.pubsub import Outcome

HOUR = timedelta(hours=1)
Ended = Callable[[TaskSnapshot], TaskSnapshot]
WEBHOOK = Webhook(UUID("0197a1c0-0000-7000-8000-0000000000aa"), "https://home.example.org", "whsec_x")


def asking(**fields: object) -> Contact:
    """A person who wants to hear of new occurrences."""
    return contact(**({"generated": True} | fields))


class OccurrenceBehaviour:
    async def test_who_asked_is_told_once_on_every_channel(self, world: World) -> None:
        everywhere = (Channel.INBOX, Channel.EMAIL, Channel.WEBHOOK)
        world.reach(asking(channels=everywhere, webhooks=(WEBHOOK,)))
        task = world.commit(occurrence(title="Water the plants"))
        for _ in range(2):
            assert await world.replica().hear_task(task) is Outcome.SUCCESS
            await world.settle()
        (entry,) = await world.entries(USER)
        assert (entry.task_id, entry.reminder_id, entry.title) == (task.task_id, None, task.title)
        assert entry.body.startswith("The next one is there. Due on ")
        (mail,) = world.mailer.sent
        assert mail.subject == "The next one is there: Water the plants"
        assert mail.notification_id == entry.notification_id
        (queued,) = world.lanes.queued[Lane(Channel.WEBHOOK, WEBHOOK.id)]
        assert queued.notification_id == entry.notification_id
        for channel in (Channel.INBOX, Channel.EMAIL):
            (told,) = world.told(channel)
            assert (told["outcome"], told["reminder_id"]) == ("delivered", None)

    async def test_of_who_did_not_ask_there_is_no_trace(self, world: World) -> None:
        for task in (world.commit(occurrence()), world.commit(completed(occurrence()))):
            await world.replica().hear_task(task)
            await world.replica().hear_task(occurrence(task_id=task.task_id))
        await world.settle()
        assert (await world.entries(USER), world.mailer.sent) == ([], [])
        assert world.sidecar.events("notification-delivered") == []

    @pytest.mark.parametrize("version", [1, 4])
    async def test_what_the_person_does_announces_nothing(self, world: World, version: int) -> None:
        world.reach(asking())
        theirs = snapshot(series_id=uuid4(), occurrence_key="2026-01-05", version=version)
        await world.replica().hear_task(world.commit(theirs))
        await world.settle()
        assert await world.entries(USER) == []

    async def test_any_order_of_the_news_is_one_word(
        self, fresh_world: Callable[[], Awaitable[World]]
    ) -> None:
        for order in permutations(range(3)):
            world = await fresh_world()
            world.reach(asking())
            task = occurrence()
            story = [task, renamed(task), renamed(renamed(task))]
            world.commit(story[-1])
            for position in order:
                await world.replica().hear_task(story[position])
                await world.replica().work()
            await world.settle()
            assert (len(await world.entries(USER)), len(world.mailer.sent)) == (1, 1)

    @pytest.mark.parametrize("ended", [completed, deleted, withdrawn])
    async def test_what_ended_before_it_went_out_is_cancelled(self, world: World, ended: Ended) -> None:
        world.reach(asking())
        task = world.commit(occurrence())
        await world.replica().hear_task(task)
        await world.replica().work(Channel.INBOX)
        await world.replica().hear_task(world.commit(ended(task)))
        await world.settle()
        assert world.mailer.sent == []
        assert [told["outcome"] for told in world.told(Channel.EMAIL)] == ["cancelled"]
        assert await world.unread(USER) == 0

    async def test_undone_and_made_again_at_its_slot_is_told_once(self, world: World) -> None:
        world.reach(asking())
        task = world.commit(occurrence())
        gone, back = withdrawn(task), made_again(withdrawn(task))
        world.commit(gone)
        for news in (gone, task):
            await world.replica().hear_task(news)
        await world.settle()
        assert (await world.entries(USER), world.mailer.sent) == ([], [])
        world.commit(back)
        for news in (back, gone, back):
            await world.replica().hear_task(news)
            await world.settle()
        assert (len(await world.entries(USER)), len(world.mailer.sent)) == (1, 1)

    async def test_made_again_at_another_slot_only_that_is_told(self, world: World) -> None:
        """Both wait for the morning by then, and both tasks are one task that is open."""
        now = await world.clock.now()
        hours = quiet_around(now)
        world.reach(asking(quiet_hours=hours, timezone="UTC"))
        task = world.commit(occurrence())
        back = made_again(withdrawn(task), occurrence_key="2026-01-12")
        await world.replica().hear_task(task)
        await world.replica().work()
        await world.replica().work()
        for news in (withdrawn(task), back):
            await world.replica().hear_task(world.commit(news))
        await world.replica().work()
        assert world.mailer.sent == []
        await world.advance(HOUR)
        await world.settle()
        (mail,) = world.mailer.sent
        # The one that is told may have joined the other before that was dropped, or not.
        (told_of,) = mail.parts or (mail,)
        assert told_of.task_id == task.task_id
        outcomes = sorted((told["outcome"], told["reason"]) for told in world.told(Channel.EMAIL))
        assert outcomes == [("cancelled", "occurrence moved"), ("delivered", None)]

    async def test_a_series_that_catches_up_is_one_mail(self, world: World) -> None:
        world.reach(asking())
        keys = [f"2026-01-{day:02}" for day in range(1, 13)]
        for key in keys:
            await world.replica().hear_task(world.commit(occurrence(title=key, occurrence_key=key)))
        await world.replica().work(limit=50)
        await world.replica().work(limit=50)
        assert world.mailer.sent == []
        await world.settle()
        (mail,) = world.mailer.sent
        assert mail.subject == "12 new occurrences"
        assert sorted(part.title for part in mail.parts) == keys
        assert len(await world.entries(USER)) == 12

    async def test_a_reminder_is_not_kept_waiting_with_them(self, world: World) -> None:
        world.reach(asking())
        await world.replica().hear_task(world.commit(occurrence()))
        await world.replica().work(Channel.INBOX)
        await world.replica().hear_due(world.commit(snapshot()))
        await world.replica().work()
        assert [mail.reminder_id is None for mail in world.mailer.sent] == [False]
        await world.settle()
        assert [mail.reminder_id is None for mail in world.mailer.sent] == [False, True]

    async def test_a_night_of_both_is_one_digest(self, world: World) -> None:
        now = await world.clock.now()
        hours = quiet_around(now)
        world.reach(asking(quiet_hours=hours, timezone="UTC", late_policy=LatePolicy.DIGEST))
        await world.replica().hear_task(world.commit(occurrence()))
        task = snapshot(due_at=now + 9 * HOUR, reminders=(reminder(at=now),))
        await world.replica().hear_due(world.commit(task), now)
        for _ in range(2):
            await world.replica().work()
        await world.advance(HOUR)
        await world.settle()
        assert [mail.subject for mail in world.mailer.sent] == ["2 notifications"]

    async def test_what_is_later_than_wanted_is_in_the_inbox_alone(self, world: World) -> None:
        patience = timedelta(minutes=1)
        world.reach(asking(late_policy=LatePolicy.DROP_AFTER, drop_after=patience))
        in_time = world.commit(occurrence(updated_at=await world.clock.now()))
        await world.replica().hear_task(in_time)
        for _ in range(2):
            await world.replica().work()
        await world.advance(timedelta(seconds=11))
        await world.replica().work()
        assert len(world.mailer.sent) == 1, "the gathering itself makes nothing too late"
        late = world.commit(occurrence(updated_at=await world.clock.now() - 2 * patience))
        await world.replica().hear_task(late)
        await world.settle()
        assert len(world.mailer.sent) == 1
        assert world.told(Channel.EMAIL)[-1]["reason"] == "later than wanted"
        assert len(await world.entries(USER)) == 2

    async def test_news_of_a_past_epoch_announces_nothing(self, world: World) -> None:
        world.reach(asking())
        task = world.commit(occurrence(epoch=1))
        await world.begin(2)
        world.reach(asking())
        await world.replica().hear_task(task)
        await world.settle()
        assert await world.entries(USER) == []

    async def test_a_crash_at_any_step_loses_and_doubles_nothing(
        self, fresh_world: Callable[[], Awaitable[World]]
    ) -> None:
        for point in count():
            world = await fresh_world()
            world.reach(asking())
            task = world.commit(occurrence())
            gate, died = dying_at(point)
            with suppress(CrashError):
                mortal = world.replica(gate)
                await mortal.hear_task(task)
                await mortal.work()
                await world.advance(timedelta(seconds=11))
                await mortal.work()
            await world.replica().hear_task(task)
            await world.advance(LEASE)
            await world.settle()
            assert len(await world.entries(USER)) == 1, point
            assert len({mail.notification_id for mail in world.mailer.sent}) == 1, point
            for channel in (Channel.INBOX, Channel.EMAIL):
                assert [told["outcome"] for told in world.told(channel)] == ["delivered"], point
            if not died():
                return

    async def test_who_lost_the_lease_takes_nothing_out(self, world: World) -> None:
        """One finds by what it remembers that nobody asked; another, meanwhile, that somebody does."""
        task = world.commit(occurrence())
        await world.replica().hear_task(task)
        (slow,) = await world.deliveries.claim(Channel.INBOX, 1)
        await world.advance(LEASE)
        (ours,) = await world.deliveries.claim(Channel.INBOX, 1)
        await world.deliveries.drop(slow)
        assert await world.deliveries.depth(Channel.INBOX) == 1
        await world.deliveries.drop(ours)
        assert await world.deliveries.depth(Channel.INBOX) == 0
