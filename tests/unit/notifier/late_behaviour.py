"""What comes late says how late, whoever held it up: one suite for the stand-ins and for Redis."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta

from tests.unit.notifier.samples import (
    USER,
    completed,
    contact,
    quiet_around,
    reminder,
    reopened,
    snapshot,
)
from tests.unit.notifier.world import LEASE, CrashError, World

from event_contracts.tasks import TaskSnapshot
from event_contracts.values import Channel, LatePolicy
from notifier.application.errors import ChannelUnavailable
from notifier.domain.timing import QuietHours

HALF, HOUR = timedelta(minutes=30), timedelta(hours=1)
AWAY = ChannelUnavailable("mail server: connection")


def due_now(world: World, now: datetime) -> TaskSnapshot:
    return world.commit(snapshot(due_at=now + 24 * HOUR, reminders=(reminder(at=now),)))


async def said(world: World) -> tuple[list[str], list[str]]:
    """What the inbox and the mails say of being late, oldest first; "" where they do not."""
    bodies = [entry.body for entry in reversed(await world.entries(USER))]
    return [_late(body) for body in bodies], [_late(mail.body) for mail in world.mailer.sent]


def _late(body: str) -> str:
    return body.partition(" This reminder comes ")[2].removesuffix(" late.")


class LateBehaviour:
    async def test_what_fired_late_says_so(self, world: World) -> None:
        """Reminders was down; a copy of the news says another time, which changes nothing."""
        task, late = due_now(world, now := await world.clock.now()), timedelta(hours=2, minutes=5)
        await world.advance(late)
        replica = world.replica()
        await replica.hear_due(task, now, late)
        await replica.hear_due(task, now, late + HOUR)
        await replica.work()
        assert await said(world) == (["2 h 5 min"], ["2 h 5 min"])

    async def test_a_mail_server_that_was_away_makes_the_mail_late(self, world: World) -> None:
        """For two hours. Each try says what is true of it, and is the same message."""
        world.mailer.failures += [AWAY] * 4
        await world.replica().hear_due(due_now(world, now := await world.clock.now()), now)
        await world.replica().work()
        for _ in range(4):
            await world.advance(HALF)
            await world.replica().work()
        assert await said(world) == ([""], ["2 h"]), "the inbox had it in time"
        assert [_late(mail.body) for mail in world.mailer.tried] == ["", "30 min", "1 h", "1 h 30 min", "2 h"]
        assert len({mail.notification_id for mail in world.mailer.tried}) == 1

    async def test_news_that_waited_for_this_service_come_late(self, world: World) -> None:
        """Once on the bus, once in the index: it fired in time, and nobody was there for an hour."""
        now = await world.clock.now()
        queued, on_the_bus = due_now(world, now), due_now(world, now)
        await world.replica().hear_due(queued, now)
        await world.advance(HOUR)
        await world.replica().hear_due(on_the_bus, now)
        await world.replica().work()
        assert await said(world) == (["1 h"] * 2, ["1 h"] * 2)

    async def test_an_outage_of_task_api_makes_it_late(self, world: World) -> None:
        await world.replica().hear_due(due_now(world, now := await world.clock.now()), now)
        world.sidecar.unavailable = True
        await world.replica().work()
        await world.advance(HOUR)
        world.sidecar.unavailable = False
        await world.replica().work()
        assert await said(world) == (["1 h"], ["1 h"])

    async def test_quiet_hours_are_not_late_and_what_follows_them_is(self, world: World) -> None:
        """Ten hours of night, after which the mail server is away for one."""
        now = await world.clock.now()
        world.reach(contact(quiet_hours=quiet_around(now, left=10 * HOUR), timezone="UTC"))
        await world.replica().hear_due(due_now(world, now), now)
        await world.replica().work()
        await world.advance(10 * HOUR)
        world.mailer.failures += [AWAY] * 2
        for _ in range(3):
            await world.replica().work()
            await world.advance(HALF)
        assert [_late(mail.body) for mail in world.mailer.tried] == ["", "30 min", "1 h"]
        assert (await said(world))[0] == [""]

    async def test_what_fired_late_within_quiet_hours_comes_when_it_should(self, world: World) -> None:
        """It would have waited for the morning all the same; the inbox does not wait."""
        now = await world.clock.now()
        world.reach(contact(quiet_hours=quiet_around(now, left=10 * HOUR), timezone="UTC"))
        task = due_now(world, now)
        await world.advance(3 * HOUR)
        await world.replica().hear_due(task, now, late=3 * HOUR)
        await world.replica().work()
        await world.advance(7 * HOUR)
        await world.replica().work()
        assert await said(world) == (["3 h"], [""])

    async def test_what_missed_the_evening_is_late_in_the_morning(self, world: World) -> None:
        """The mail server went away an hour before the night, which is ten hours long."""
        now = await world.clock.now()
        start, until = (now + HOUR).replace(microsecond=0), (now + 11 * HOUR).replace(microsecond=0)
        world.reach(contact(quiet_hours=QuietHours(start.time(), until.time()), timezone="UTC"))
        world.mailer.failures.append(AWAY)
        await world.replica().hear_due(due_now(world, now), now)
        await world.replica().work()
        await world.advance(2 * HOUR)
        await world.replica().work()
        assert world.mailer.sent == []
        await world.advance(9 * HOUR)
        await world.replica().work()
        assert await said(world) == ([""], ["11 h"])

    async def test_each_part_of_a_digest_says_how_late_it_is(self, world: World) -> None:
        """One of them missed the evening; the mail server is away for half an hour of the morning."""
        now = await world.clock.now()
        hours = quiet_around(now, left=2 * HOUR)
        world.reach(contact(quiet_hours=hours, late_policy=LatePolicy.DIGEST, timezone="UTC"))
        evening, night = now - 3 * HOUR, now
        for moment in (evening, night):
            await world.replica().hear_due(due_now(world, moment), moment)
        await world.replica().work()
        world.mailer.failures.append(AWAY)
        await world.advance(2 * HOUR)
        for _ in range(2):
            await world.replica().work()
            await world.advance(HALF)
        first, second = world.mailer.tried
        assert [_late(part.body) for part in first.parts] == ["5 h", ""]
        assert [_late(part.body) for part in second.parts] == ["5 h 30 min", "30 min"]
        assert first.notification_id == second.notification_id

    async def test_what_waited_for_its_task_is_not_late(self, world: World) -> None:
        """It was done when its reminder fired, and was opened again two hours later."""
        task = due_now(world, now := await world.clock.now())
        done = world.commit(completed(task))
        await world.replica().hear_due(task, now)
        await world.settle()
        await world.advance(2 * HOUR)
        await world.replica().hear_task(world.commit(reopened(done)))
        await world.replica().work()
        assert await said(world) == ([""], [""])

    async def test_a_copy_of_an_entry_says_what_the_first_said(self, world: World) -> None:
        """Whoever wrote it died before the last word on it: the next one finds it there."""
        await world.replica().hear_due(due_now(world, now := await world.clock.now()), now)

        async def die(step: str) -> None:
            if step == "after inbox.add":
                raise CrashError

        with suppress(CrashError):
            await world.replica(die).work(Channel.INBOX)
        await world.advance(HOUR + LEASE)
        await world.replica().work(Channel.INBOX)
        assert (await said(world))[0] == [""]
        assert [data["outcome"] for data in world.told(Channel.INBOX)] == ["delivered"]
