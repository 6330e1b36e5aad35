"""Work off the lanes of people's own destinations, many lanes at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from notifier import metrics
from notifier.application.deliver import DeliverNotification, Trial
from notifier.application.origins import carried_on
from notifier.application.ports import Claimed, ClaimedLane, Clock, Lanes
from notifier.application.side_by_side import SideBySide
from notifier.domain.lanes import Circuit

log = structlog.get_logger(__name__)

_SIDE_BY_SIDE = 4
_SWEEP = 50


class LaneWorker:
    """Takes turns with the lanes in which something is due.

    A turn sends a few messages side by side and gives the lane back. It ends before the lane's lease does, so no
    other process works the same lane. Messages to a destination that is down cost one probe a turn: the others wait
    in the lane, and leave it when their time is over.
    """

    def __init__(
        self,
        deliver: DeliverNotification,
        lanes: Lanes,
        clock: Clock,
        *,
        circuit: Circuit,
        concurrency: int,
        is_ready: Callable[[], bool],
        wake: Callable[[], None],
    ) -> None:
        self._deliver = deliver
        self._lanes = lanes
        self._clock = clock
        self._circuit = circuit
        self._is_ready = is_ready
        self._running = SideBySide(concurrency, wake)
        self.close = self._running.close

    async def step(self) -> None:
        """Begin a turn with as many lanes as there is room for, and return at once; a turn that ends asks for more."""
        room = self._running.room
        if room <= 0 or not self._is_ready():
            return
        for claimed in await self._lanes.claim_lanes(room):
            self._running.begin(self._take_turn(claimed), f"lane-{claimed.lane.channel}")

    async def _take_turn(self, claimed: ClaimedLane) -> None:
        lane = claimed.lane
        try:
            await self._work(claimed)
        except Exception:
            metrics.delivery_errors.labels(lane.channel).inc()
            log.exception("lane_failed_unexpectedly", channel=lane.channel, destination=str(lane.destination))

    async def _work(self, claimed: ClaimedLane) -> None:
        lane = claimed.lane
        limit = 1 if self._circuit.is_broken(claimed.failures) else _SIDE_BY_SIDE
        trials = await self._send(await self._lanes.claim_in(lane, limit))
        failed = sum(trial is Trial.FAILED for trial in trials)
        # One that got through says that the destination works: what failed beside it is its own trouble.
        failures = 0 if Trial.TAKEN in trials else claimed.failures + failed
        pause = self._circuit.pause(failures)
        if not (failed and pause):
            await self._lanes.rest(claimed, failures, None)
            return
        metrics.lanes_closed.labels(lane.channel).inc()
        log.warning(
            "destination_closed",
            channel=lane.channel,
            destination=str(lane.destination),
            failures=failures,
            seconds=pause.total_seconds(),
        )
        until = await self._clock.now() + pause
        while waiting := await self._lanes.claim_in(lane, _SWEEP):
            for one in waiting:
                await self._deliver.leave(one, until)
        await self._lanes.rest(claimed, failures, until)

    async def _send(self, batch: Sequence[Claimed]) -> list[Trial]:
        ended = await asyncio.gather(*(self._try(one) for one in batch), return_exceptions=True)
        errors = [one for one in ended if isinstance(one, BaseException)]
        if errors:
            raise errors[0]
        return [one for one in ended if isinstance(one, Trial)]

    async def _try(self, claimed: Claimed) -> Trial:
        with carried_on(claimed, f"deliver {claimed.delivery.channel}"):
            return await self._deliver.run(claimed)
