"""How long until a reminder comes through the whole flow again, after what was hit is ready."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

from tests.chaos.person import GivenUpError, Person
from tests.chaos.writes import Writes

AT_ONCE = 6
"""Tasks of one probe, so that they fall on several partitions: one task would hardly notice one that nobody reads."""
AHEAD = timedelta(seconds=1)
PATIENCE_SECONDS = 90.0
_LOOK_EVERY = 0.1


class Probe:
    """One person whose only business it is to be reminded of something a second ahead."""

    def __init__(self, person: Person, writes: Writes) -> None:
        self._person = person
        self._writes = writes

    async def recovery(self, ready: float) -> float | None:
        """Seconds from `ready` (of time.monotonic) to the last of the probe's reminders in the inbox, the second that
        it is set ahead counted in; None when one did not come for a minute and a half."""
        made = [self._writes.create(self._person, f"Probe {n}", *self._when()) for n in range(AT_ONCE)]
        try:
            waiting = {task.task_id: task for task in await asyncio.gather(*made)}
            while waiting:
                if time.monotonic() - ready > PATIENCE_SECONDS:
                    return None
                for item in await self._person.inbox(pages=1):
                    if (task := waiting.pop(item["task_id"], None)) is not None:
                        task.heard.update(task.spells)
                await asyncio.sleep(_LOOK_EVERY if waiting else 0)
        except GivenUpError:
            return None
        return time.monotonic() - ready

    def _when(self) -> tuple[datetime, list[datetime]]:
        now = datetime.now(UTC)
        at = now + AHEAD
        return now + timedelta(hours=2), [at.replace(microsecond=at.microsecond // 1000 * 1000)]
