"""What keeps a service that is asked for more than it can do quick for those it answers: the others hear so at once."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service_kit.http_middleware import UNLOGGED_KEY
from service_kit.logs import get_logger
from service_kit.metrics import REQUESTS_SHED, REQUESTS_WAITING
from service_kit.problems import Problem, problem_response

PEOPLES = "/api/"
"""What has a turn to wait for. Probes, metrics, deliveries and siblings have none: they are few, their senders bound
them, and it is they who keep what was promised."""

BURST_SECONDS = 2.0
"""How long one may wait for a turn while the queue was empty not longer ago than that: it is a burst, and passes."""

STANDING_SECONDS = 0.1
"""How long one may wait in a queue that did not empty for so long: it would only make everybody late."""

WAITING_EACH = 4
"""How many may wait for each one that is worked on."""

SLOW_SECONDS = 5.0
"""After which a request has no turn any more: it waits for something else than its share of this process, a lock or
somebody's server, and a few of its kind must not keep everybody out."""

RETRY_AFTER_SECONDS = (1, 3)
"""Spread, or all who were refused together would come again together."""

_TELL_EVERY = 10.0
_log = get_logger(__name__)


class Admission:
    """Lets `at_once` requests of people be worked on at the same time, until their answers begin or they turn out to
    be slow. The next ones wait for their turn in the order they came, and get 503 when it does not come soon or too
    many wait already.

    How long "soon" is depends on how long the queue has been there (CoDel, as in "Fail at Scale", ACM Queue 13:8).
    """

    def __init__(
        self,
        app: ASGIApp,
        at_once: int,
        *,
        burst_seconds: float = BURST_SECONDS,
        standing_seconds: float = STANDING_SECONDS,
        slow_seconds: float = SLOW_SECONDS,
    ) -> None:
        self._app = app
        self._at_once = at_once
        self._burst = burst_seconds
        self._standing = standing_seconds
        self._slow = slow_seconds
        self._working = 0
        self._queue: deque[asyncio.Future[bool]] = deque()
        self._queue_since = 0.0
        self._refused = 0
        self._told_at = float("-inf")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Go on now or at this request's turn, or refuse with 503."""
        if scope["type"] != "http" or not scope["path"].startswith(PEOPLES):
            await self._app(scope, receive, send)
            return
        if self._working < self._at_once:
            self._working += 1
        elif len(self._queue) >= WAITING_EACH * self._at_once:
            await self._refuse("full", scope, receive, send)
            return
        elif not await self._turn():
            await self._refuse("late", scope, receive, send)
            return
        await self._work(scope, receive, send)

    async def _work(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_turn = True

        def give_up_turn() -> None:
            nonlocal has_turn
            if has_turn:
                has_turn = False
                self._pass_on()

        async def watched_send(message: Message) -> None:
            # What is left is to write; a stream would keep its turn for hours.
            give_up_turn()
            await send(message)

        slow = asyncio.get_running_loop().call_later(self._slow, give_up_turn)
        try:
            await self._app(scope, receive, watched_send)
        finally:
            slow.cancel()
            give_up_turn()

    async def _turn(self) -> bool:
        """Wait for a turn and give whether it came: with it, one of `at_once` is ours."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if not self._queue:
            self._queue_since = now
        stands = now - self._queue_since >= self._burst
        mine: asyncio.Future[bool] = loop.create_future()
        self._queue.append(mine)
        REQUESTS_WAITING.inc()
        patience = loop.call_later(self._standing if stands else self._burst, self._too_late, mine)
        try:
            return await mine
        except asyncio.CancelledError:
            # Whoever is cancelled in the moment of getting a turn hands it on, or it would be lost for good.
            if mine.cancelled():
                with suppress(ValueError):
                    self._queue.remove(mine)
            elif mine.result():
                self._pass_on()
            raise
        finally:
            patience.cancel()
            REQUESTS_WAITING.dec()

    def _too_late(self, waiting: asyncio.Future[bool]) -> None:
        if not waiting.done():
            self._queue.remove(waiting)
            waiting.set_result(False)

    def _pass_on(self) -> None:
        """Give a turn that is over to the one who waits longest."""
        while self._queue:
            first = self._queue.popleft()
            # One that is cancelled stands there until its task runs again.
            if not first.done():
                first.set_result(True)
                return
        self._working -= 1

    async def _refuse(self, reason: str, scope: Scope, receive: Receive, send: Send) -> None:
        REQUESTS_SHED.labels(reason).inc()
        scope[UNLOGGED_KEY] = True
        self._tell()
        problem = Problem(
            503,
            "overloaded",
            "More is asked of this service than it can do right now; nothing was done. Try again.",
            headers={"Retry-After": str(random.randint(*RETRY_AFTER_SECONDS))},  # noqa: S311 - spreads, guards nothing
        )
        await problem_response(problem)(scope, receive, send)

    def _tell(self) -> None:
        """A line now and then: one for each would be work that those who are answered wait for."""
        self._refused += 1
        now = asyncio.get_running_loop().time()
        if now - self._told_at >= _TELL_EVERY:
            _log.warning("overloaded", refused=self._refused, at_once=self._at_once, waiting=len(self._queue))
            self._told_at, self._refused = now, 0
