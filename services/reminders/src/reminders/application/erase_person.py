"""Forget a person who had themselves erased. The documents of their tasks leave one by one, each with its end."""

from __future__ import annotations

from uuid import UUID

from reminders.application.ports import Upcoming
from service_kit.rebuild import Markers


class PersonEraser:
    """Doing it twice is doing it once."""

    def __init__(self, markers: Markers, upcoming: Upcoming) -> None:
        self._markers = markers
        self._upcoming = upcoming

    async def erase(self, user_id: UUID) -> bool:
        """Whether it is done; False asks for it to come again. Raises StateUnavailable or RedisError."""
        marker = await self._markers.read()
        if marker is None:
            return False
        await self._upcoming.forget(marker.generation, user_id)
        return True
