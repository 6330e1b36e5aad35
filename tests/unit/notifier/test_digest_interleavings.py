"""Several reminders of a person who sleeps and wants a digest, in the seeded random scheduler.

What must hold: whoever dies, is late or comes twice, a reminder is heard of under one identity, so that a copy can be
told from news; each comes to its end on each channel; and one that is open in the end was heard.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from tests.unit.notifier.crowd import ACTORS, Act, Crowd, deliver, hear_due, hear_task
from tests.unit.notifier.memory import MemoryDeliveries
from tests.unit.notifier.samples import START, USER, completed, contact, later, reopened, snapshot
from tests.unit.notifier.world import LEASE, RecordingMailer, World, memory_world
from tests.unit.seeds import of_seed, until_it_fails

from event_contracts.values import Channel, LatePolicy
from notifier.application import batch
from notifier.application.errors import ChannelUnavailable
from notifier.application.ports import Claimed
from notifier.domain.contact import Contact
from notifier.domain.notifications import CHANNELS
from notifier.domain.timing import QuietHours
from notifier.domain.wording import Message
from service_kit.due_index import Lease

RUNS = 20_000 if os.environ.get("HYPOTHESIS_PROFILE") == "nightly" else 100
CHUNK = 50
NIGHT = timedelta(hours=1)


@dataclass
class LossyMailer(RecordingMailer):
    """A server that takes mails and whose answer is lost at first: nobody knows then that they are out."""

    lost_answers: int = 0

    async def send(self, message: Message, contact: Contact, at: datetime) -> None:
        await super().send(message, contact, at)
        if self.lost_answers:
            self.lost_answers -= 1
            raise ChannelUnavailable("no answer")


class Night:
    """One run: what happens is drawn from the seed."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.chance = random.Random(seed)
        # Asleep, or awake and told late of what the server could not take at once.
        quiet = QuietHours(time(8), (START + NIGHT).time()) if self.chance.random() < 0.6 else None
        world.reach(contact(quiet_hours=quiet, late_policy=LatePolicy.DIGEST, timezone="UTC"))
        self.tasks = [world.commit(snapshot(title=title)) for title in "abcd"[: self.chance.randrange(2, 5)]]
        self.closed: set[UUID] = set()
        self.deaths = 0
        self.events: list[Act] = []
        for task in self.tasks:
            self.events += [(True, partial(hear_due, task=task))] * 2
        self.changes = self.chance.randrange(5)
        world.mailer = LossyMailer(failures=[ChannelUnavailable("by the test")] * self.chance.randrange(2))
        world.mailer.lost_answers = self.chance.randrange(3)

    def change(self) -> None:
        """The person does something with a task; the news goes out twice."""
        self.changes -= 1
        place = self.chance.randrange(len(self.tasks))
        task = self.tasks[place]
        if not task.is_open:
            task = reopened(task)
        elif self.chance.random() < 0.7:
            task = completed(task)
            self.closed.add(task.task_id)
        else:
            task = later(task, title=f"{task.title}!")
        self.tasks[place] = self.world.commit(task)
        self.events += [(True, partial(hear_task, task=task))] * 2

    async def play(self) -> None:
        crowd = Crowd(self.world, self.chance)
        rest = 60
        """Draws after everything was heard, so that claims of the night's end are among what dies."""
        while self.events or crowd.busy or self.changes or rest:
            draw = self.chance.random()
            rest -= rest > 0 and not self.events
            if self.changes and draw < 0.03:
                self.change()
            elif draw < 0.06:
                await self.world.advance(self.chance.choice((LEASE, LEASE, NIGHT / 3)))
            elif crowd.busy < ACTORS and draw < 0.3:
                self._begin(crowd)
            else:
                self.events += await crowd.step()
        self.deaths = crowd.deaths
        await self.world.advance(NIGHT)
        await self.world.settle()

    def _begin(self, crowd: Crowd) -> None:
        if self.events and self.chance.random() < 0.5:
            crowd.send(self.events.pop(self.chance.randrange(len(self.events))))
        else:
            crowd.send((False, partial(deliver, channel=self.chance.choice(CHANNELS))))

    async def check(self) -> None:
        entries = [one.task_id for one in await self.world.entries(USER)]
        assert len(entries) == len(set(entries))
        for task in self.tasks:
            identities = self._identities(task.task_id)
            outcomes = self._outcomes(Channel.EMAIL, task.task_id)
            assert set(outcomes) <= {"delivered", "cancelled"}
            assert outcomes, "a reminder that never came to its end"
            assert self._outcomes(Channel.INBOX, task.task_id)
            if task.is_open:
                assert task.task_id in entries
                assert identities, "open, and never heard of"
            if task.task_id not in self.closed:
                assert outcomes == ["delivered"]
            # What is out without anybody knowing, and was closed before it was tried again, may be told of anew.
            if task.task_id not in self.closed:
                assert len(identities) <= 1, f"{task.title} is in {len(identities)} messages"

    def _identities(self, task_id: UUID) -> set[UUID]:
        """The messages that the task is in, copies of one message being one."""
        return {
            mail.notification_id
            for mail in self.world.mailer.sent
            if any(part.task_id == task_id for part in mail.parts or (mail,))
        }

    def _outcomes(self, channel: Channel, task_id: UUID) -> list[str]:
        told = self.world.told(channel)
        return sorted(one["outcome"] for one in told if one["task_id"] == str(task_id))


async def _play(seed: int, lost_answers: int | None = None) -> Night:
    night = Night(await memory_world(), seed)
    if lost_answers is not None:
        night.world.mailer = LossyMailer(lost_answers=lost_answers)
    await night.play()
    with of_seed(seed):
        await night.check()
    return night


@pytest.mark.parametrize("chunk", range(0, RUNS, CHUNK))
async def test_any_night_ends_well(chunk: int) -> None:
    nights = [await _play(seed) for seed in range(chunk, chunk + CHUNK)]
    sent = [mail for night in nights for mail in night.world.mailer.sent]
    assert any(len(mail.parts) > 1 for mail in sent), "nothing came together, so nothing was tried"
    assert any(night.deaths for night in nights)


async def test_the_model_sees_what_is_gathered_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was tried before must not be put into a digest: it may be out, and that would be other news."""
    first = batch.when

    def forgetful(delivery: Any, *rest: Any) -> Any:
        return first(replace(delivery, progress=replace(delivery.progress, attempts=0)), *rest)

    monkeypatch.setattr("notifier.application.deliver.when", forgetful)
    # One night in eighty shows it where mails are out and nobody knows; fewer than one in three hundred otherwise.
    assert await until_it_fails(partial(_play, lost_answers=3), seeds=800)


async def test_the_model_sees_a_digest_that_can_be_joined_once_it_was_claimed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who joins a digest that is under way is in it when that is tried again, and in the next one too."""
    seal = MemoryDeliveries._seal

    def unsealed(self: MemoryDeliveries, lease: Lease) -> tuple[Claimed, ...]:
        places = dict(self._digests)
        members = seal(self, lease)
        self._digests = places
        return members

    monkeypatch.setattr(MemoryDeliveries, "_seal", unsealed)
    assert await until_it_fails(_play)
