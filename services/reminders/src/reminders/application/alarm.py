"""When to look next. The cron tick is a hint that every replica gets; between ticks an alarm is set for the earliest
fire time, and when no tick comes for three intervals the alarm rings by itself."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from reminders.application.fire_due import DueFirer
from reminders.application.ports import Index

_MISSED_TICKS = 3


class Alarm:
    """`ready` says whether claiming is allowed at all, which it is not while the schedule is being rebuilt."""

    def __init__(self, firer: DueFirer, index: Index, tick: timedelta, ready: Callable[[], bool]) -> None:
        self._firer = firer
        self._index = index
        self._longest = tick * _MISSED_TICKS
        self._ready = ready
        self._set_for: datetime | None = None

    async def ring(self) -> timedelta:
        """Fire what is due; how long to wait until the next look."""
        if not self._ready():
            return self._longest
        looked_at = await self._firer.fire_all()
        if looked_at is None:
            return self._longest
        following = await self._index.next_due()
        wait = self._longest if following is None else max(following - looked_at, timedelta(0))
        wait = min(wait, self._longest)
        self._set_for = looked_at + wait
        return wait

    def is_later_than(self, moment: datetime) -> bool:
        """Whether the alarm is set for later than `moment`, so that it has to be set anew."""
        return self._set_for is None or moment < self._set_for
