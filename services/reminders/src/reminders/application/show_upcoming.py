"""What reminds a person next. The person's own index proposes, the documents decide: as when a reminder fires.

Not asked of task-api: when a reminder fires is known here alone, and to put the next ones first all tasks of the person
would have to be read, in the process that has to be on time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from reminders.application.ports import Documents, Upcoming
from reminders.domain.document import fence, to_instant, to_ms
from reminders.domain.member import Member
from service_kit.clock import Clock
from service_kit.rebuild import Markers

_AT_ONCE = 200


class ScheduleNotThere(Exception):
    """The schedule is about to be built again."""


@dataclass(frozen=True)
class UpcomingReminder:
    """A reminder that is to fire at `fire_at`."""

    reminder_id: UUID
    task_id: UUID
    fire_at: datetime


@dataclass(frozen=True)
class UpcomingPage:
    """The earliest first. `more` says that the last one is not the end."""

    items: Sequence[UpcomingReminder]
    more: bool


class ShowUpcoming:
    """The reminders of one person at a time; `user_id` comes from the verified token and from nowhere else."""

    def __init__(self, markers: Markers, documents: Documents, upcoming: Upcoming, clock: Clock) -> None:
        self._markers = markers
        self._documents = documents
        self._upcoming = upcoming
        self._clock = clock

    async def page(self, user_id: UUID, after: Member | None, limit: int) -> UpcomingPage:
        """Those that follow `after`, from now on without it. Raises ScheduleNotThere, StateUnavailable, RedisError."""
        marker = await self._markers.read()
        if marker is None:
            raise ScheduleNotThere
        from_ms = to_ms(await self._clock.now()) if after is None else after.fire_ms
        found: list[UpcomingReminder] = []
        skip = 0
        while len(found) <= limit:
            names = await self._upcoming.following(user_id, from_ms, skip, _AT_ONCE)
            members = [Member.parse(name) for name in names]
            # Of one moment they come in the order of their names.
            ahead = [
                member
                for member in members
                if after is None or (member.fire_ms, str(member)) > (after.fire_ms, str(after))
            ]
            found += await self._standing(marker.generation, user_id, ahead)
            skip += len(names)
            if len(names) < _AT_ONCE:
                break
        return UpcomingPage(found[:limit], more=len(found) > limit)

    async def _standing(
        self, generation: str, user_id: UUID, members: Sequence[Member]
    ) -> list[UpcomingReminder]:
        stored = await self._documents.get_many(generation, {member.task_id for member in members})
        return [
            UpcomingReminder(member.reminder_id, member.task_id, to_instant(member.fire_ms))
            for member in members
            if (found := stored.get(member.task_id)) is not None
            and found.document.user_id == user_id
            and fence(found.document, member) is None
        ]
