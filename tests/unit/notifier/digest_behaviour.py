"""What is held comes as one message, each reminder in it once: one suite for the stand-ins and for Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from itertools import count
from uuid import uuid4

from tests.unit.notifier.delivery_behaviour import dying_at
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
from notifier.application.errors import ChannelRefused, ChannelUnavailable
from notifier.domain.timing import LATE

HOUR = timedelta(hours=1)


async def asleep(world: World, policy: LatePolicy = LatePolicy.DIGEST) -> None:
    """The person's quiet hours began an hour ago and end in one."""
    now = await world.clock.now()
    hours = quiet_around(now)
    world.reach(contact(quiet_hours=hours, late_policy=policy, timezone="UTC"))


async def fire(world: World, *titles: str) -> list[TaskSnapshot]:
    """A task for each title, its reminder due now, heard of and worked once."""
    now = await world.clock.now()
    tasks = []
    for title in titles:
        task = snapshot(title=title, due_at=now + 9 * HOUR, reminders=(reminder(at=now),))
        tasks.append(world.commit(task))
        await world.replica().hear_due(task, now)
    await world.replica().work()
    return tasks


def outcomes(world: World) -> list[str]:
    return sorted(data["outcome"] for data in world.told(Channel.EMAIL))


def titles(world: World) -> list[list[str]]:
    """What each mail told of."""
    return [sorted(part.title for part in mail.parts or (mail,)) for mail in world.mailer.sent]


class DigestBehaviour:
    async def test_a_night_is_one_mail_and_the_inbox_has_each_at_once(self, world: World) -> None:
        await asleep(world)
        tasks = await fire(world, "a", "b", "c")
        assert (len(await world.entries(USER)), world.mailer.sent) == (3, [])
        await world.advance(HOUR - timedelta(seconds=30))
        await world.replica().work()
        assert world.mailer.sent == []
        await world.advance(timedelta(seconds=31))
        await world.replica().work()
        assert titles(world) == [["a", "b", "c"]]
        (mail,) = world.mailer.sent
        assert mail.subject == "3 reminders"
        told = world.told(Channel.EMAIL)
        assert {data["task_id"] for data in told} == {str(task.task_id) for task in tasks}
        assert [(data["outcome"], data["attempt"]) for data in told] == [("delivered", 1)] * 3
        for entry in await world.entries(USER):
            kept = await world.deliveries.attempts(USER, entry.notification_id)
            assert len([one for one in kept if one.channel is Channel.EMAIL]) == 1
        await world.settle()
        assert len(world.mailer.sent) == 1

    async def test_without_the_policy_they_come_one_by_one(self, world: World) -> None:
        await asleep(world, LatePolicy.SEND)
        await fire(world, "a", "b")
        await world.advance(HOUR)
        await world.settle()
        assert sorted(titles(world)) == [["a"], ["b"]]

    async def test_one_alone_is_the_reminder_itself(self, world: World) -> None:
        await asleep(world)
        await fire(world, "a")
        await world.advance(HOUR)
        await world.settle()
        (mail,) = world.mailer.sent
        (entry,) = await world.entries(USER)
        assert (mail.parts, mail.notification_id) == ((), entry.notification_id)

    async def test_what_comes_late_is_gathered_for_a_minute(self, world: World) -> None:
        """The service was away for an hour; the person sleeps at other times."""
        world.reach(contact(late_policy=LatePolicy.DIGEST))
        now = await world.clock.now()
        for title in ("a", "b"):
            at = now - HOUR
            task = world.commit(snapshot(title=title, due_at=now + HOUR, reminders=(reminder(at=at),)))
            await world.replica().hear_due(task, at)
            await world.replica().work()
        await fire(world, "on time")
        assert titles(world) == [["on time"]]
        await world.advance(timedelta(seconds=61))
        await world.settle()
        assert titles(world) == [["on time"], ["a", "b"]]

    async def test_who_was_too_slow_sends_nothing_past_the_digest(self, world: World) -> None:
        """It stood still between its question and the mail; meanwhile another replica found it late and gathered it."""
        world.reach(contact(late_policy=LatePolicy.DIGEST))
        quick, stood_still = world.replica(), False

        async def stand_still(step: str) -> None:
            nonlocal stood_still
            if step == "before deliveries.note" and not stood_still:
                stood_still = True
                await world.advance(LATE + LEASE)
                await quick.work(Channel.EMAIL)

        slow = world.replica(stand_still)
        now = await world.clock.now()
        first, second = [
            world.commit(snapshot(title=title, due_at=now + 9 * HOUR, reminders=(reminder(at=now),)))
            for title in ("a", "b")
        ]
        await slow.hear_due(first, now)
        await slow.work(Channel.EMAIL)
        assert stood_still
        await slow.hear_due(second, now)
        await world.settle()
        assert titles(world) == [["a", "b"]]

    async def test_what_is_done_by_the_morning_is_left_out(self, world: World) -> None:
        """The first that was held as well: the others still go out with it."""
        await asleep(world)
        first, _, third = await fire(world, "a", "b", "c")
        for task in (first, third):
            await world.replica().hear_task(world.commit(completed(task)))
        await world.advance(HOUR)
        await world.settle()
        assert titles(world) == [["b"]]
        assert outcomes(world) == ["cancelled", "cancelled", "delivered"]

        await world.advance(HOUR)
        for task in (first, third):
            await world.replica().hear_task(world.commit(reopened(completed(task))))
        await world.settle()
        assert titles(world) == [["b"], ["a", "c"]]
        assert len({mail.notification_id for mail in world.mailer.sent}) == 2, "none passes for a copy"

    async def test_a_digest_that_fails_comes_again_as_the_same(self, world: World) -> None:
        await asleep(world)
        await fire(world, "a", "b")
        world.mailer.failures += [ChannelUnavailable("mail server: timeout")]
        await world.advance(HOUR)
        await world.replica().work()
        assert outcomes(world) == []
        await fire(world, "c")
        assert titles(world) == [["c"]], "the night is over"
        await world.settle()
        assert titles(world) == [["c"], ["a", "b"]]
        for entry in await world.entries(USER):
            kept = await world.deliveries.attempts(USER, entry.notification_id)
            numbers = [one.number for one in kept if one.channel is Channel.EMAIL]
            assert numbers == ([1] if entry.title == "c" else [1, 2])
            mine = [one for one in world.tries(Channel.EMAIL) if one["task_id"] == str(entry.task_id)]
            assert [one["attempt"] for one in mine] == ([] if entry.title == "c" else [1])

    async def test_a_refusal_is_that_of_each(self, world: World) -> None:
        await asleep(world)
        await fire(world, "a", "b")
        world.mailer.failures.append(ChannelRefused("mail server answered 550"))
        await world.advance(HOUR)
        await world.settle()
        assert outcomes(world) == ["failed", "failed"]

    async def test_nothing_joins_a_digest_that_was_begun(self, world: World) -> None:
        """It was sent, the answer was lost, the next night begins: what is held then is another message."""
        await asleep(world)
        await fire(world, "a", "b")
        await world.advance(HOUR)
        world.mailer.failures.append(ChannelUnavailable("mail server: timeout"))
        await world.replica().work()
        await asleep(world)
        await fire(world, "c", "d")
        await world.advance(HOUR)
        await world.settle()
        assert sorted(titles(world)) == [["a", "b"], ["c", "d"]]
        assert len({mail.notification_id for mail in world.mailer.sent}) == 2

    async def test_a_long_night_is_several_mails(self, world: World) -> None:
        await asleep(world)
        await fire(world, *(f"{number:03}" for number in range(60)))
        for _ in range(10):
            await world.replica().work(Channel.EMAIL)
        await world.advance(HOUR)
        await world.settle()
        assert sorted(map(len, titles(world))) == [10, 50]
        assert len({title for mail in titles(world) for title in mail}) == 60

    async def test_everybody_has_their_own(self, world: World) -> None:
        await asleep(world)
        bob = uuid4()
        now = await world.clock.now()
        hours = quiet_around(now)
        of_bob = contact(user_id=bob, quiet_hours=hours, late_policy=LatePolicy.DIGEST, timezone="UTC")
        world.reach(of_bob)
        await fire(world, "a", "b")
        task = world.commit(
            snapshot(user_id=bob, title="x", due_at=now + HOUR, reminders=(reminder(at=now),))
        )
        await world.replica().hear_due(task, now)
        await world.replica().work()
        await world.advance(HOUR)
        await world.settle()
        assert sorted(titles(world)) == [["a", "b"], ["x"]]

    async def test_nothing_is_left_when_the_person_goes(self, world: World) -> None:
        await asleep(world)
        await fire(world, "a", "b")
        await world.replica().hear_user_deleted(USER)
        await world.advance(HOUR)
        await world.settle()
        assert (world.mailer.sent, outcomes(world)) == ([], [])

    async def test_two_replicas_send_it_once(self, world: World) -> None:
        await asleep(world)
        await fire(world, *"abcdef")
        await world.advance(HOUR)
        both = (world.replica(), world.replica())
        for _ in range(5):
            await asyncio.gather(*(one.work(Channel.EMAIL, limit=2) for one in both))
        assert titles(world) == [list("abcdef")]
        assert outcomes(world) == ["delivered"] * 6

    async def test_a_follower_that_was_reopened_goes_its_own_way(self, world: World) -> None:
        """The process died after it wrote that follower's cancellation: the digest may not take it along again."""
        await asleep(world)
        tasks = []
        for title in "abc":
            tasks += await fire(world, title)
            await world.advance(timedelta(seconds=1))
        await world.replica().hear_task(world.commit(completed(tasks[1])))
        await world.advance(HOUR)
        written = 0

        async def die(step: str) -> None:
            nonlocal written
            written += step == "after deliveries.record"
            if written == 1:
                raise CrashError

        with suppress(CrashError):
            await world.replica(die).work(Channel.EMAIL)
        await world.replica().hear_task(world.commit(reopened(completed(tasks[1]))))
        await world.advance(LEASE)
        await world.settle()
        last = {data["task_id"]: data["outcome"] for data in world.told(Channel.EMAIL)}
        assert last == {str(task.task_id): "delivered" for task in tasks}
        assert titles(world) == [["a", "c"], ["a", "c"], ["b"]]
        assert len({mail.notification_id for mail in world.mailer.sent}) == 2, "the second is a copy"


class DigestCrashBehaviour:
    async def test_what_a_dead_process_may_have_sent_comes_again_as_itself(
        self, fresh_world: Callable[[], Awaitable[World]]
    ) -> None:
        """The mail was out and nobody wrote it down; by the next try it is late enough to be gathered, and is not."""
        world = await fresh_world()
        world.reach(contact(late_policy=LatePolicy.DIGEST))

        async def gate(name: str) -> None:
            if name == "after mailer.send":
                raise CrashError

        now = await world.clock.now()
        task = snapshot(title="a", due_at=now + 9 * HOUR, reminders=(reminder(at=now),))
        world.commit(task)
        dying = world.replica(gate)
        await dying.hear_due(task, now)
        with suppress(CrashError):
            await dying.work(Channel.EMAIL)
        assert titles(world) == [["a"]]
        await world.advance(LATE + LEASE)
        late = [world.commit(snapshot(title=title, reminders=(reminder(at=now),))) for title in "bc"]
        for one in late:
            await world.replica().hear_due(one, now)
        await world.settle()
        assert sorted(titles(world)) == [["a"], ["a"], ["b", "c"]]
        assert len({mail.notification_id for mail in world.mailer.sent if not mail.parts}) == 1

    async def test_dying_anywhere_leaves_one_message_and_a_verdict_each(
        self, fresh_world: Callable[[], Awaitable[World]]
    ) -> None:
        """Once while they are held, once when they go out; one of the three is done before."""
        for point in count():
            world = await fresh_world()
            await asleep(world)
            gate, died = dying_at(point)
            tasks = await self._play(world, gate, died)
            by_task = {
                str(task.task_id): [
                    data["outcome"]
                    for data in world.told(Channel.EMAIL)
                    if data["task_id"] == str(task.task_id)
                ]
                for task in tasks
            }
            assert by_task == {
                str(task.task_id): ["cancelled" if task is tasks[1] else "delivered"] for task in tasks
            }
            first, *copies = titles(world)
            assert first == ["a", "c"]
            assert all(set(copy) <= {"a", "c"} for copy in copies)
            assert len({mail.notification_id for mail in world.mailer.sent}) == 1
            assert len(world.mailer.sent) <= 2
            if not died():
                assert point > 60, "the gate is passed at every call of a port"
                return

    async def _play(
        self, world: World, gate: Callable[[str], Awaitable[None]], died: Callable[[], bool]
    ) -> list[TaskSnapshot]:
        now = await world.clock.now()
        tasks = [
            world.commit(snapshot(title=title, due_at=now + 9 * HOUR, reminders=(reminder(at=now),)))
            for title in "abc"
        ]
        replica = world.replica(gate)
        for step in range(3):
            try:
                if step == 0:
                    for task in tasks:
                        await replica.hear_due(task, now)
                if step == 2:
                    await replica.hear_task(completed(tasks[1]))
                await replica.work()
            except CrashError:
                await world.advance(LEASE)
                replica = world.replica()
                for task in tasks:
                    await replica.hear_due(task, now)
                if step == 2:
                    await replica.hear_task(completed(tasks[1]))
                await replica.work()
            if step == 1:
                world.commit(completed(tasks[1]))
                await world.advance(HOUR)
        await world.settle()
        return tasks
