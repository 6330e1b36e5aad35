"""The real use cases in a seeded random scheduler: two replicas, copies, reordering, and a crash at any await.

Every call of the store, the index and the bus stops at a gate before and after it does its work. The driver picks who
goes on, who dies there, and when time passes. What died is delivered again, as the broker would.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.unit.reminders.conftest import START, Rig, completed, later, reminder, snapshot

from event_contracts.envelope import derive_id
from event_contracts.tasks import TaskSnapshot
from reminders.domain.document import to_ms
from reminders.domain.schedule import fire_time

RUNS = 20_000 if os.environ.get("HYPOTHESIS_PROFILE") == "nightly" else 1_500
CHUNK = 250


class Gate:
    """Where everybody waits until the driver lets one of them go on."""

    def __init__(self) -> None:
        self.waiting: list[asyncio.Future[None]] = []
        self.open = False

    async def passed(self) -> None:
        if self.open:
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append(turn)
        await turn


def _gated(original: Callable[..., Awaitable[Any]], gate: Gate) -> Callable[..., Awaitable[Any]]:
    async def call(*args: Any, **kwargs: Any) -> Any:
        await gate.passed()
        result = await original(*args, **kwargs)
        await gate.passed()
        return result

    return call


def _gate_all(rig: Rig, gate: Gate) -> None:
    ports: Mapping[object, tuple[str, ...]] = {
        rig.state: ("get", "get_many", "create", "replace"),
        rig.index: ("add", "claim", "ack_many", "release"),
        rig.sidecar: ("publish_bulk",),
    }
    for port, names in ports.items():
        for name in names:
            setattr(port, name, _gated(getattr(port, name), gate))


def _history(chance: random.Random) -> list[TaskSnapshot]:
    """The versions of one task with one or two reminders; the last one is open with its reminders ahead or past."""
    # No moment twice: a reminder that is set back to a moment it fired at is a new wish under the old id.
    moments = iter([START + timedelta(seconds=second) for second in chance.sample(range(1, 41), 8)])
    ones = [reminder(at=next(moments)) for _ in range(chance.randint(1, 2))]
    task = snapshot(reminders=tuple(ones))
    found = [task]
    for version in range(2, chance.randint(2, 5)):
        change = chance.random()
        if change < 0.5:
            ones = [ones[0].model_copy(update={"at": next(moments)}), *ones[1:]]
            found.append(later(task, version, reminders=tuple(ones)))
        elif change < 0.7:
            found.append(completed(later(task, version, reminders=tuple(ones)), version))
        else:
            found.append(later(task, version, reminders=tuple(ones)))
    return found


class Run:
    """One interleaving."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.rig = Rig()
        self.gate = Gate()
        self.history = _history(self.chance)
        copies = [task for task in self.history for _ in range(self.chance.randint(1, 2))]
        self.chance.shuffle(copies)
        self.undelivered = copies
        self.going: dict[asyncio.Task[Any], TaskSnapshot | None] = {}
        # In a calm run nobody dies and no lease runs out, so there is no reason for a copy.
        self.calm = seed % 3 == 0

    async def play(self) -> None:
        await self.rig.begin()
        _gate_all(self.rig, self.gate)
        for _ in range(400):
            if not self.undelivered and not self.going and self.chance.random() < 0.5:
                break
            await self._step()
        self.gate.open = True
        for turn in self.gate.waiting:
            if not turn.done():
                turn.set_result(None)
        await asyncio.gather(*self.going, return_exceptions=True)
        self._collect()
        while self.undelivered:
            assert await self.rig.applier().apply(self.undelivered.pop())
        for _ in range(4):
            self.rig.clock.advance(timedelta(seconds=30))
            await self.rig.firer().fire_all()

    async def _step(self) -> None:
        choice = self.chance.random()
        if choice < 0.2 and self.undelivered:
            task = self.undelivered.pop()
            self.going[asyncio.create_task(self.rig.applier().apply(task))] = task
        elif choice < 0.32 and sum(task is None for task in self.going.values()) < 2:
            self.going[asyncio.create_task(self.rig.firer().fire_all())] = None
        elif choice < 0.4 and not (self.calm and None in self.going.values()):
            self.rig.clock.advance(timedelta(seconds=self.chance.choice([1, 5, 16])))
        elif choice < 0.45 and self.going and not self.calm:
            self.chance.choice(list(self.going)).cancel()
        elif self.gate.waiting:
            turn = self.gate.waiting.pop(self.chance.randrange(len(self.gate.waiting)))
            if not turn.done():
                turn.set_result(None)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        self._collect()

    def _collect(self) -> None:
        """What ended: a delivery that died or asks for a retry comes again."""
        for done in [task for task in self.going if task.done()]:
            delivered = self.going.pop(done)
            if delivered is None:
                continue
            if done.cancelled() or done.exception() is not None or done.result() is not True:
                self.undelivered.append(delivered)

    def check(self) -> None:
        final = self.history[-1]
        published = [
            (
                event["id"],
                event["data"]["reminder_id"],
                to_ms(datetime.fromisoformat(event["data"]["fire_at"])),
            )
            for event in self.rig.sidecar.events("reminder-due")
        ]
        known = {
            (str(one.reminder_id), to_ms(at))
            for task in self.history
            for one in task.reminders
            if (at := fire_time(one, task)) is not None
        }
        for identity, one, fire_ms in published:
            assert (one, fire_ms) in known
            assert identity == str(derive_id("reminder-due", one, fire_ms)), "one id for one firing"
        if self.calm:
            assert len(published) == len(set(published)), "a copy without a reason"
        if not final.is_open:
            return
        heard = {(one, fire_ms) for _, one, fire_ms in published}
        for one in final.reminders:
            at = fire_time(one, final)
            assert at is not None
            assert (str(one.reminder_id), to_ms(at)) in heard, "a reminder of the last version was lost"


@pytest.mark.parametrize("chunk", range(RUNS // CHUNK))
async def test_nothing_is_lost_and_one_firing_has_one_id(chunk: int) -> None:
    for seed in range(chunk * CHUNK, (chunk + 1) * CHUNK):
        run = Run(seed)
        await run.play()
        try:
            run.check()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        assert await run.rig.index.depth() == 0, f"seed {seed}: something is left in the index"
