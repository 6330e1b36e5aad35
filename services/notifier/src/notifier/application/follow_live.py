"""What one open stream is told, from where it left off until it ends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from uuid import UUID

from notifier import metrics
from notifier.application.errors import LiveUnavailable
from notifier.application.listeners import Listener, Listeners
from notifier.application.live_ports import LiveEvents, Sessions
from notifier.domain.live import End, Kind, LiveEvent

_AGAIN_SECONDS = 1.0
_AT_ONCE = 500


class FollowLive:
    """Reads a person's events after the position of each stream, as fast as that stream takes them.

    The store is the queue: a stream that is slow has at most one batch in this process. What woke it only says that
    there may be something; the position alone says what was told. And the position is good exactly as long as its own
    event is still kept, since the oldest leave first: whoever falls behind that, or comes with a position of before a
    wipe, is told to begin anew.
    """

    def __init__(self, live: LiveEvents, *, sign_of_life: float, chance: Callable[[], float]) -> None:
        self._live = live
        self._sign_of_life = sign_of_life
        self._chance = chance

    async def events(self, listener: Listener, position: str | None) -> AsyncIterator[Sequence[LiveEvent]]:
        """Give batches until the stream is over. An empty one is a sign of life."""
        greeting = Kind.READY
        while listener.ended is None:
            listener.attend()
            wait = self._sign_of_life * (1 - self._chance() / 4)
            try:
                batch = () if position is None else await self._live.since(listener.user_id, position)
                if position is None or batch is None:
                    greeting = Kind.RESET if batch is None else greeting
                    position = await self._live.begin(listener.user_id)
                    if position is None:
                        listener.end(End.ACCOUNT_ERASED)
                        return
                    metrics.stream_greetings.labels(greeting).inc()
                    yield (LiveEvent(position, greeting),)
                    continue
            except LiveUnavailable:
                batch, wait = (), _AGAIN_SECONDS
            if batch:
                position = batch[-1].position
                shown = [event for event in batch if event.kind != Kind.START]
                for event in shown:
                    metrics.stream_events.labels(event.kind).inc()
                yield shown
            elif not await listener.woken(wait):
                yield ()


class WatchSessions:
    """Ends the streams of sessions that were ended. While that cannot be known because the record of ended sessions is
    not whole, no session's stream goes on: the next request of the person is refused just the same."""

    def __init__(self, listeners: Listeners, sessions: Sessions) -> None:
        self._listeners = listeners
        self._sessions = sessions

    async def step(self) -> None:
        families = list(self._listeners.families())
        # While the store is away there is nothing to tell either.
        with suppress(LiveUnavailable):
            for start in range(0, len(families), _AT_ONCE):
                part = families[start : start + _AT_ONCE]
                ended: set[UUID] | None = await self._sessions.ended_among(part)
                self._listeners.end_sessions(set(part) if ended is None else ended)
