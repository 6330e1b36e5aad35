"""Redis dies in the middle of a burst of reminders, and starts from the file it has: all are heard, each once.

`appendfsync everysec` means that a power loss may take the last second. A process that is killed loses less, for the
kernel keeps what was written; so there is a second case, in which what came within that second is cut off the file.
People go on until the end, so that this second holds new schedules, moved ones and closed ones.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff
from redis.exceptions import ConnectionError as NoConnectionError
from tests.chaos.__main__ import instance_name
from tests.chaos.check import check
from tests.chaos.collect import collect, schedules
from tests.chaos.model import Every, Model, Rule, Status, Task
from tests.chaos.person import Person
from tests.chaos.run import fronts, settle
from tests.chaos.writes import Writes

from stack import Instance

REMINDERS = 60
AHEAD, SPREAD = timedelta(seconds=15), timedelta(seconds=6)
LOST_SECONDS = 1.0
ROUNDS, ROUND_EVERY = 30, 0.1
"""What people do meanwhile, for half as long as the burst would take; times in seconds."""
RECURS_EACH = 3
LATER = timedelta(seconds=20)
"""How far ahead of their writing reminders are set meanwhile: long after Redis is back."""


# One for each case: what the people of the one hear, those of the other did not ask for.
@pytest.fixture
def system() -> Iterator[Instance]:
    instance = Instance(f"{instance_name()}-aof")
    instance.up(fresh=True)
    try:
        yield instance
    finally:
        instance.down(wipe=True)


class AppendOnlyFile:
    """The part of Redis' file that grows, and how long it was when."""

    def __init__(self, instance: Instance) -> None:
        self.folder = instance.home / "redis" / "appendonlydir"
        self._sizes: list[tuple[float, int]] = []

    @property
    def _path(self) -> Path:
        [path] = self.folder.glob("*.incr.aof")
        return path

    async def watch(self) -> None:
        """Look until cancelled."""
        while True:
            self._sizes.append((time.monotonic(), self._path.stat().st_size))
            await asyncio.sleep(0.05)

    def cut(self, died: float) -> int:
        """Take away what was written in the second before `died`; how many bytes that were."""
        kept = max(size for at, size in self._sizes if at <= died - LOST_SECONDS)
        lost = self._path.stat().st_size - kept
        os.truncate(self._path, kept)
        return lost

    async def schedules(self, beside: Path) -> dict[str, int]:
        """The versions of the schedules that a Redis finds in it, asked of one that runs on a copy in `beside`: of the
        system's own the services would ask at the same moment, and mend it."""
        shutil.copytree(self.folder, beside / self.folder.name)
        socket = beside / "redis.sock"
        settings = {"dir": beside, "port": 0, "unixsocket": socket, "appendonly": "yes", "save": ""}
        given = [part for name, value in settings.items() for part in (f"--{name}", str(value))]
        process = await asyncio.create_subprocess_exec(
            "redis-server", *given, stdout=asyncio.subprocess.DEVNULL
        )
        try:
            # Retried while it is not there yet, or still reads its file.
            patient = Retry(ConstantBackoff(0.05), 400)
            async with Redis(
                unix_socket_path=str(socket),
                decode_responses=True,
                retry=patient,
                retry_on_error=[NoConnectionError],
            ) as redis:
                return await schedules(redis)
        finally:
            process.kill()
            await process.wait()


@pytest.mark.nightly
@pytest.mark.parametrize("power_fails", [False, True], ids=["killed", "last second lost"])
async def test_a_redis_that_dies_in_a_burst_costs_no_reminder(
    system: Instance, power_fails: bool, tmp_path: Path
) -> None:
    model = Model()
    async with fronts(system, {}) as (tasks, notifications):
        person = Person(model, tasks, notifications, "burst", "Europe/Berlin")
        await person.register()
        writes = Writes(model)
        begins = datetime.now(UTC) + AHEAD
        burst = [begins + SPREAD * number / REMINDERS for number in range(REMINDERS)]
        # Later than what is moved meanwhile is moved to: to where it is already would be no change.
        later = begins + 2 * SPREAD + LATER
        _, to_move, to_close = await asyncio.gather(
            asyncio.gather(
                *(
                    writes.create(person, f"Number {number}", at + timedelta(hours=1), [_whole(at)])
                    for number, at in enumerate(burst)
                )
            ),
            _some(writes, person, later, recurring=0),
            _some(writes, person, later, recurring=RECURS_EACH),
        )
        assert datetime.now(UTC) < begins, "the burst began before all was set"

        file = AppendOnlyFile(system)
        watching = asyncio.create_task(file.watch())
        await asyncio.sleep((begins - datetime.now(UTC)).total_seconds())
        await _go_on(writes, person, to_move, to_close)
        async with Redis.from_url(system.redis_url, decode_responses=True) as redis:
            known = await schedules(redis)
        died = time.monotonic()
        await asyncio.to_thread(system.kill, "redis")
        watching.cancel()
        if power_fails:
            assert file.cut(died) > 0, "nothing was written in the last second"
            left = await file.schedules(tmp_path)
            lost = {task_id for task_id, version in known.items() if left.get(task_id, 0) < version}
            assert lost, "no schedule was lost: nothing had to be brought back"
        await asyncio.to_thread(system.restart, "redis")

        await settle(system, lambda _: None)
        facts = await collect(system, [person])
    if power_fails:
        # What notifier last heard of a task is not brought back: before each send it asks for the task as it is.
        facts = replace(facts, records={})
    assert check(model, facts) == []
    assert writes.mismatches == []
    assert len(facts.inbox) == sum(len(task.still_wanted(facts.now)) for task in model.tasks.values())
    assert len(facts.inbox) > REMINDERS


async def _some(writes: Writes, person: Person, at: datetime, *, recurring: int) -> Sequence[Task]:
    """One task for each round, with a reminder at `at`; each of so many recurs, where that is not 0."""
    rule = Rule(Every.DAY, (at + timedelta(days=2)).date(), 9, person.zone)
    return await asyncio.gather(
        *(
            writes.create(person, f"Daily {number}", rule.due(0), [_whole(at)], rule)
            if recurring and number % recurring == 0
            else writes.create(person, f"Later {number}", at + timedelta(hours=1), [_whole(at)])
            for number in range(ROUNDS)
        )
    )


async def _go_on(writes: Writes, person: Person, to_move: Sequence[Task], to_close: Sequence[Task]) -> None:
    """Make tasks, move the reminders of others and complete third ones; back when all that is acknowledged."""
    async with asyncio.TaskGroup() as under_way:
        for number, (moved, closed) in enumerate(zip(to_move, to_close, strict=True)):
            at = _whole(datetime.now(UTC) + LATER)
            under_way.create_task(writes.create(person, f"Late {number}", at + timedelta(hours=1), [at]))
            under_way.create_task(
                writes.change(person, moved, reminders=dict.fromkeys(moved.wanted.reminders, at))
            )
            under_way.create_task(writes.close(person, closed, Status.COMPLETED))
            # On a slow machine nobody waits for the one before, or little would come within the last second.
            await asyncio.sleep(ROUND_EVERY)


def _whole(at: datetime) -> datetime:
    """In whole milliseconds."""
    return at.replace(microsecond=at.microsecond // 1000 * 1000)
