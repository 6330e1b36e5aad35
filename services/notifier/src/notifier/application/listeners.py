"""Who listens at this process. All of it lives in one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from time import time
from uuid import UUID

from notifier import metrics
from notifier.application.errors import LeavingNow, ListenersFull, PersonListensEnough
from notifier.domain.live import End


class Listener:
    """One open stream. `ended` says why it is over; `news` wakes whoever serves it."""

    def __init__(self, user_id: UUID, family_id: UUID | None) -> None:
        self.user_id = user_id
        self.family_id = family_id
        self.ended: End | None = None
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """There may be something new."""
        self._woken.set()

    def end(self, why: End) -> None:
        """Have it ended; the first reason stands."""
        self.ended = self.ended or why
        self._woken.set()

    def attend(self) -> None:
        """Forget what woke it until now: who serves it is about to look."""
        self._woken.clear()

    async def woken(self, seconds: float) -> bool:
        """Wait until there may be something new or it is over, `seconds` at most; whether that was so."""
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return False
        return True


class Listeners:
    """Open streams by person. At most `at_most` in this process, and `per_person` of one person."""

    def __init__(self, *, at_most: int, per_person: int) -> None:
        self._at_most = at_most
        self._per_person = per_person
        self._of: dict[UUID, set[Listener]] = {}
        self._timers: dict[Listener, asyncio.TimerHandle] = {}
        self._count = 0
        self._leaving = False

    def join(self, user_id: UUID, family_id: UUID | None, expires_at: float | None) -> Listener:
        """Add a stream, which ends at `expires_at` (Unix time). Raises TooManyListeners."""
        self._require_room(user_id)
        listener = Listener(user_id, family_id)
        self._of.setdefault(user_id, set()).add(listener)
        self._count += 1
        metrics.stream_clients.set(self._count)
        if expires_at is not None:
            loop = asyncio.get_running_loop()
            rest = max(expires_at - time(), 0.0)
            self._timers[listener] = loop.call_later(rest, listener.end, End.TOKEN_EXPIRED)
        return listener

    def _require_room(self, user_id: UUID) -> None:
        if self._leaving:
            raise LeavingNow
        if self._count >= self._at_most:
            raise ListenersFull
        if len(self._of.get(user_id, ())) >= self._per_person:
            raise PersonListensEnough

    def leave(self, listener: Listener) -> None:
        """Take it out; its reason is counted, and one that has none hung up."""
        timer = self._timers.pop(listener, None)
        if timer is not None:
            timer.cancel()
        of_person = self._of[listener.user_id]
        of_person.remove(listener)
        if not of_person:
            del self._of[listener.user_id]
        self._count -= 1
        metrics.stream_clients.set(self._count)
        metrics.streams_ended.labels((listener.ended or End.DISCONNECTED).value).inc()

    def wake(self, user_id: UUID) -> None:
        """There may be something new for this person."""
        for listener in self._of.get(user_id, ()):
            listener.wake()

    def wake_all(self) -> None:
        """There may be something new for anybody."""
        for listener in self._all():
            listener.wake()

    def families(self) -> set[UUID]:
        """The sessions that are listening."""
        return {listener.family_id for listener in self._all() if listener.family_id is not None}

    def end_sessions(self, families: Collection[UUID]) -> None:
        """End the streams of these sessions."""
        for listener in self._all():
            if listener.family_id in families:
                listener.end(End.SESSION_ENDED)

    def close(self) -> None:
        """End everything, and let nobody in any more."""
        self._leaving = True
        for listener in self._all():
            listener.end(End.SHUTDOWN)

    def _all(self) -> Iterable[Listener]:
        return (listener for of_person in self._of.values() for listener in of_person)
