"""Processes that work the lane of one destination, and the destination, which judges who sends there and when.

Every call of a port stops at a gate before and after it does its work, and so does each message while it is sent. The
driver picks who goes on and who dies there; what a process does side by side goes on, and dies, piece by piece.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

from tests.unit.notifier.memory_lanes import MemoryLanes, Note
from tests.unit.notifier.world import CrashError, Gated, World

from event_contracts.values import Channel
from notifier.adapters.dapr_events import DaprEvents
from notifier.adapters.languages import Languages
from notifier.adapters.task_api import InvokedTaskApi
from notifier.application.deliver import DeliverNotification, Pace
from notifier.application.errors import ChannelUnavailable
from notifier.application.lane_worker import LaneWorker
from notifier.application.ports import ClaimedLane
from notifier.application.requeue import RequeueCancelled
from notifier.application.senders import DestinationSender, OutsideSenders
from notifier.domain.contact import Webhook
from notifier.domain.lanes import Circuit, Lane
from notifier.domain.retries import RetryPolicy
from notifier.domain.wording import Message
from service_kit.due_index import Lease, to_instant
from service_kit.testing.fakes import ManualClock

PLACE = Webhook(UUID("0197a1c0-0000-7000-8000-0000000000aa"), "https://home.example.org", "whsec_x")
LANE = Lane(Channel.WEBHOOK, PLACE.id)
CIRCUIT = Circuit(tolerated=2, first=timedelta(seconds=60), longest=timedelta(minutes=4))
RETRIES = RetryPolicy(first=timedelta(seconds=1), longest=timedelta(seconds=4))
"""A message's own waits are the short ones here: what is held longer is held by the lane."""

_QUIET_TURNS = 12
_NEVER = 3_600.0


@dataclass
class Destination:
    """Takes messages while it `works`; `faults` says what came that must not come at its time."""

    world: World
    lanes: MemoryLanes
    works: bool = True
    taken: set[UUID] = field(default_factory=set)
    under_way: list[Process] = field(default_factory=list)
    probes: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def now(self) -> datetime:
        assert isinstance(self.world.clock, ManualClock)
        return self.world.clock.instant

    async def take(self, process: Process, message: Message) -> None:
        if process.has_lane:
            self._judge(process)
        self.under_way.append(process)
        try:
            await process.gate("while it is sent")
        finally:
            self.under_way.remove(process)
        if not self.works:
            raise ChannelUnavailable("by the test")
        self.taken.add(message.notification_id)

    def _judge(self, process: Process) -> None:
        assert process.turn is not None
        process.sent += 1
        if any(one.has_lane and one is not process for one in self.under_way):
            self.faults.append("two processes work the lane")
        if self.now < to_instant(self.lanes.notes.get(LANE, Note()).closed_until_ms):
            self.faults.append("the lane is closed")
        if CIRCUIT.is_broken(process.turn.failures):
            self.probes += 1
            if process.sent > 1:
                self.faults.append("a probe is more than one message")


class Process:
    """One process with its worker; once it has died, no step of it is made any more."""

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._dead = False
        self.turn: ClaimedLane | None = None
        self.sent = 0
        self.waiting: list[asyncio.Future[None]] = []
        self.claim_in, self.rest = destination.lanes.claim_in, destination.lanes.rest
        self.work = asyncio.ensure_future(self._work())

    @property
    def has_lane(self) -> bool:
        """Whether its lease has not run out: whoever is later than that was held up as a process hardly ever is."""
        if self._dead or self.turn is None:
            return False
        return self._destination.now < to_instant(cast("Lease", self.turn.token).score_ms)

    async def gate(self, _: str) -> None:
        if self._dead:
            raise CrashError
        going_on = asyncio.get_running_loop().create_future()
        self.waiting.append(going_on)
        await going_on

    def go_on(self, going_on: asyncio.Future[None]) -> None:
        self.waiting.remove(going_on)
        going_on.set_result(None)

    def die(self) -> None:
        self._dead = True
        for going_on in self.waiting:
            going_on.set_exception(CrashError())
        self.waiting.clear()

    async def settle(self) -> bool:
        """Let it come to its next gates; whether it has ended. Raises what it failed with, if it was not its death."""
        seen, quiet = -1, 0
        while quiet < _QUIET_TURNS and not self.work.done():
            await asyncio.sleep(0)
            quiet, seen = (quiet + 1 if seen == len(self.waiting) else 0), len(self.waiting)
        if not self.work.done():
            return False
        error = self.work.exception()
        if error is not None and not isinstance(error, CrashError):
            raise error
        return True

    # What the worker asks of the lanes: theirs, but that a claim is noted and what it sends is judged by it.

    async def claim_lanes(self, limit: int) -> Sequence[ClaimedLane]:
        turns = await self._destination.lanes.claim_lanes(limit)
        for turn in turns:
            self.turn, self.sent = turn, 0
        return turns

    async def post(self, webhook: Webhook, message: Message, at: datetime) -> None:
        await self._destination.take(self, message)

    async def _work(self) -> None:
        world = self._destination.world

        def gated(port: object, name: str) -> Any:
            return Gated(port, name, self.gate)

        task_api = gated(InvokedTaskApi(world.sidecar, remember=0), "task_api")
        deliveries = gated(world.deliveries, "deliveries")
        nowhere: Any = None
        deliver = DeliverNotification(
            DestinationSender(OutsideSenders(self, nowhere, nowhere), task_api, world.clock),
            deliveries=deliveries,
            task_api=task_api,
            events=gated(DaprEvents(world.sidecar), "events"),
            clock=world.clock,
            pace=Pace(RETRIES, _NEVER, lambda: 0.0, _NEVER),
            requeue=RequeueCancelled(deliveries, gated(world.lanes, "lanes"), lambda: None),
            languages=Languages(),
        )
        worker = LaneWorker(
            deliver,
            gated(self, "lanes"),
            world.clock,
            circuit=CIRCUIT,
            concurrency=8,
            is_ready=lambda: True,
            wake=lambda: None,
        )
        await worker.step()
        await worker.close(_NEVER)
