"""Redis dies in the middle of a burst of reminders, and starts from the file it has: all are heard, each once.

`appendfsync everysec` means that a power loss may take the last second. A process that is killed loses less, for the
kernel keeps what was written; so there is a second case, in which what came within that second is cut off the file.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.chaos.__main__ import instance_name
from tests.chaos.check import check
from tests.chaos.collect import collect
from tests.chaos.model import Model
from tests.chaos.person import Person
from tests.chaos.run import fronts, settle
from tests.chaos.writes import Writes

from stack import Instance

REMINDERS = 60
AHEAD, SPREAD = timedelta(seconds=15), timedelta(seconds=6)
LOST_SECONDS = 1.0


@pytest.fixture(scope="module")
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
        self._folder = instance.home / "redis" / "appendonlydir"
        self._sizes: list[tuple[float, int]] = []

    @property
    def _path(self) -> Path:
        [path] = self._folder.glob("*.incr.aof")
        return path

    def look(self) -> None:
        self._sizes.append((time.monotonic(), self._path.stat().st_size))

    def cut(self, died: float) -> int:
        """Take away what was written in the second before `died`; how many bytes that were."""
        kept = max(size for at, size in self._sizes if at <= died - LOST_SECONDS)
        lost = self._path.stat().st_size - kept
        os.truncate(self._path, kept)
        return lost


@pytest.mark.nightly
@pytest.mark.parametrize("power_fails", [False, True], ids=["killed", "last second lost"])
async def test_a_redis_that_dies_in_a_burst_costs_no_reminder(system: Instance, power_fails: bool) -> None:
    model = Model()
    async with fronts(system, {}) as (tasks, notifications):
        person = Person(model, tasks, notifications, "burst", "Europe/Berlin")
        await person.register()
        writes = Writes(model)
        begins = datetime.now(UTC) + AHEAD
        moments = [begins + SPREAD * number / REMINDERS for number in range(REMINDERS)]
        await asyncio.gather(
            *(
                writes.create(person, f"Number {number}", at + timedelta(hours=1), [_whole(at)])
                for number, at in enumerate(moments)
            )
        )
        assert datetime.now(UTC) < begins, "the burst began before all was set"

        file = AppendOnlyFile(system)
        while datetime.now(UTC) < begins + SPREAD / 2:
            file.look()
            await asyncio.sleep(0.05)
        died = time.monotonic()
        await asyncio.to_thread(system.kill, "redis")
        if power_fails:
            assert file.cut(died) > 0, "nothing was written in the last second"
        await asyncio.to_thread(system.restart, "redis")

        await settle(system, lambda _: None)
        facts = await collect(system, [person])
    assert check(model, facts) == []
    assert len(facts.inbox) == REMINDERS


def _whole(at: datetime) -> datetime:
    """In whole milliseconds."""
    return at.replace(microsecond=at.microsecond // 1000 * 1000)
