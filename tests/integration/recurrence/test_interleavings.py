"""Instances that come by their dates, on a real Redis and a real state store: copies, a crash at every point, two
replicas at once, a sweep that is held up, everything lost. A model of task-api takes the offers as it does."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from pydantic import SecretStr
from redis.asyncio import Redis
from tests.integration.lone_sidecar import LoneSidecar
from tests.integration.reminders.fault_points import Died, FaultPoints
from tests.integration.service_kit.conftest import OwnRedis
from tests.unit.recurrence.conftest import FakeTaskApi, closed, instance_of, series_of, tip_of

from event_contracts.recurrence import GenerationReason, RecurringTaskGenerated
from event_contracts.series import RecurrencePolicies, SeriesSnapshot
from event_contracts.tasks import TaskSnapshot
from event_contracts.topics import TOPICS
from recurrence.adapters.dapr_documents import DaprDocuments
from recurrence.adapters.redis_checks import AWAITED_INDEX_NAME, INDEX_NAME, RedisAwaited, RedisChecks
from recurrence.adapters.redis_facts import RedisServerFacts
from recurrence.adapters.sidecar_publisher import SidecarPublisher
from recurrence.application.by_schedule import BySchedule
from recurrence.application.evaluate import Evaluation
from recurrence.application.keep_complete import DerivedState, KeepComplete
from recurrence.application.propose import Proposer
from recurrence.domain.checks import CHECK_AGAIN_AFTER
from recurrence.settings import RecurrenceSettings
from service_kit.clock import CLOCK_OFFSET_KEY, RedisOffsetClock
from service_kit.due_index import DueIndex
from service_kit.redis_connection import connect_redis
from service_kit.state_store import StateStore
from service_kit.testing.fakes import RecordingSidecar
from stack.ports import free_ports

LEASE = timedelta(seconds=30)
PAST_LEASE = LEASE + timedelta(seconds=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


class ModelTaskApi(FakeTaskApi):
    """task-api by its rules: one follower an instance, at the version of the series, none of a closed one's past."""

    def __init__(self) -> None:
        super().__init__()
        self.chains: dict[UUID, list[TaskSnapshot]] = {}
        self.events: list[TaskSnapshot] = []

    def begin(self, start: datetime, rule: str = "FREQ=DAILY", **policies: str) -> SeriesSnapshot:
        """A series that piles up, with its first instance, which is open and due at `start`."""
        first = start.replace(tzinfo=None, microsecond=0).isoformat()
        series = series_of(
            rrule=rule,
            start=first,
            timezone="UTC",
            policies=RecurrencePolicies.model_validate({"pile_up": "allow", **policies}),
        )
        self.known[series.series_id] = series
        self.chains[series.series_id] = []
        self._put(series, first, start)
        return self.known[series.series_id]

    def tip(self, series_id: UUID) -> TaskSnapshot:
        return self.chains[series_id][-1]

    def close(self, series_id: UUID, at: datetime) -> TaskSnapshot:
        done = closed(self.tip(series_id), self.tip(series_id).version + 1, at=at)
        self.chains[series_id][-1] = done
        self._note(done)
        return done

    def take(self, offer: RecurringTaskGenerated) -> None:
        """Decide on an offer, whenever and however often it comes."""
        chain = self.chains[offer.series_id]
        tip = chain[-1]
        if (
            offer.predecessor_task_id != tip.task_id
            or offer.series_version != self.known[offer.series_id].version
        ):
            return
        if (
            offer.why is not GenerationReason.SCHEDULE
            and offer.predecessor_closed_version != tip.closed_version
        ):
            return
        for one in (offer, *offer.further):
            assert one.due_at is not None
            assert one.occurrence_key > (self.tip(offer.series_id).occurrence_key or "")
            self._put(self.known[offer.series_id], one.occurrence_key, one.due_at)

    def keys(self, series_id: UUID) -> list[str]:
        return [task.occurrence_key or "" for task in self.chains[series_id]]

    def _put(self, series: SeriesSnapshot, key: str, due_at: datetime) -> None:
        task = instance_of(series, occurrence_key=key, due_at=due_at)
        self.chains[series.series_id].append(task)
        self._note(task)

    def _note(self, task: TaskSnapshot) -> None:
        assert task.series_id is not None
        self.known[task.series_id] = self.known[task.series_id].model_copy(update={"tip": tip_of(task)})
        self.known_tasks[task.task_id] = task
        self.events.append(task)


class Replica:
    """The use cases of one process; `faults` are around everything that it asks of the outside."""

    def __init__(self, place: Place, faults: FaultPoints) -> None:
        def index(name: str) -> Any:
            return faults.around(DueIndex(place.redis, name, lease=LEASE, clock_offset=True))

        documents, task_api = faults.around(place.documents), place.task_api
        self.awaited = RedisAwaited(index(AWAITED_INDEX_NAME))
        proposer = Proposer(
            faults.around(SidecarPublisher(place.bus)),
            RedisChecks(index(INDEX_NAME)),
            self.awaited,
            place.clock,
        )
        self.evaluation = Evaluation(documents, faults.around(task_api), proposer)
        self.state = DerivedState()
        self.state.note(complete=True)
        self.keeper = KeepComplete(
            place.documents, task_api, RedisServerFacts(place.redis), self.state, self.evaluation.on_series
        )
        self.by_schedule = BySchedule(
            self.awaited, faults.around(task_api), self.evaluation, self.state, place.clock
        )


class Place:
    """What all replicas share."""

    def __init__(self, sidecar: LoneSidecar, settings: RecurrenceSettings) -> None:
        self.redis: Redis = connect_redis(settings)
        self.bus = RecordingSidecar()
        self.documents = DaprDocuments(StateStore(sidecar, settings.state_store_name))
        self.clock = RedisOffsetClock(self.redis)
        self.task_api = ModelTaskApi()
        self.taken = 0

    async def begin(self) -> None:
        """An empty Redis, a silent bus, a task-api that knows nothing, and an empty generation that is complete."""
        await self.redis.flushall()
        self.bus.published.clear()
        self.task_api = ModelTaskApi()
        self.taken = 0
        await self.replica().keeper.step()

    def replica(self, faults: FaultPoints | None = None) -> Replica:
        return Replica(self, faults or FaultPoints())

    async def advance(self, step: timedelta) -> None:
        await self.redis.incrby(CLOCK_OFFSET_KEY, step // timedelta(milliseconds=1))

    def offers(self) -> list[RecurringTaskGenerated]:
        model = TOPICS["recurring-task-generated"].event_model
        return [model.model_validate(event).data for event in self.bus.events("recurring-task-generated")]

    async def settle(self) -> None:
        """task-api takes each offer twice and in two orders, and what it says of it is delivered twice."""
        new = self.offers()[self.taken :]
        self.taken += len(new)
        for offer in [*new, *reversed(new)]:
            self.task_api.take(offer)
        events, self.task_api.events = self.task_api.events, []
        for event in [*events, *reversed(events)]:
            await self.replica().evaluation.on_task(event)

    async def opened(self, due_in: timedelta = -DAY, **rule: str) -> SeriesSnapshot:
        """A series with one open instance that everybody has heard of; due a day ago, unless said otherwise."""
        # Whole seconds, and a little late, so that the next date has come.
        series = self.task_api.begin((await self.clock.now()).replace(microsecond=0) + due_in, **rule)
        events, self.task_api.events = self.task_api.events, []
        for event in events:
            await self.replica().evaluation.on_task(event)
        return series

    async def depth(self, index: str = AWAITED_INDEX_NAME) -> int:
        return await DueIndex(self.redis, index).depth()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def place(tmp_path_factory: Any) -> AsyncIterator[Place]:
    """A redis-server and a daprd that knows its state store alone."""
    folder: Path = tmp_path_factory.mktemp("recurrence")
    server = OwnRedis(folder)
    await server.start()
    settings = RecurrenceSettings(
        app_api_token=SecretStr("app-token"),
        dapr_api_token=SecretStr("dapr-token"),
        dapr_http_port=free_ports(1)[0],
        redis_url=SecretStr(server.url),
        environment="test",
        test_clock=True,
    )
    sidecar = LoneSidecar(settings, folder, server.port)
    try:
        await sidecar.start()
        made = Place(sidecar, settings)
        yield made
        await made.redis.aclose()
    finally:
        await sidecar.stop()
        server.kill()


@pytest_asyncio.fixture(loop_scope="session")
async def fresh(place: Place) -> Place:
    await place.begin()
    return place


async def _dying(work: Callable[[FaultPoints], Awaitable[object]]) -> AsyncIterator[str]:
    """Run `work` again and again, each time dying one point later, until it gets through alive; gives the points."""
    for number in itertools.count():
        faults = FaultPoints(die_at=number)
        try:
            await work(faults)
        except Died:
            yield faults.passed[number]
        else:
            return


async def _held(place: Place, point: int) -> tuple[asyncio.Task[None], FaultPoints]:
    """A sweep that waits at a point, or is through when it has fewer."""
    slow = FaultPoints(wait_at=point)
    sweeping = asyncio.create_task(place.replica(slow).by_schedule.sweep())
    reached = asyncio.create_task(slow.reached.wait())
    await asyncio.wait({sweeping, reached}, return_when=asyncio.FIRST_COMPLETED)
    reached.cancel()
    return sweeping, slow


async def _due_now(place: Place, count: int = 1, **rule: str) -> list[SeriesSnapshot]:
    """Series whose next date comes in a moment and has come when this returns."""
    made = [await place.opened(timedelta(minutes=1) - DAY, **rule) for _ in range(count)]
    assert place.offers()[place.taken :] == []
    await place.advance(timedelta(minutes=1))
    return made


Delivery = Callable[[Place, Replica, SeriesSnapshot], Awaitable[object]]


async def _an_open_instance(place: Place, replica: Replica, series: SeriesSnapshot) -> None:
    await replica.evaluation.on_task(place.task_api.tip(series.series_id))


async def _a_closed_instance(place: Place, replica: Replica, series: SeriesSnapshot) -> None:
    if place.task_api.tip(series.series_id).is_open:
        place.task_api.close(series.series_id, datetime.now(UTC))
    await replica.evaluation.on_task(place.task_api.tip(series.series_id))


async def _a_series_with_a_closed_tip(place: Place, replica: Replica, series: SeriesSnapshot) -> None:
    if place.task_api.tip(series.series_id).is_open:
        place.task_api.close(series.series_id, datetime.now(UTC))
    await replica.evaluation.on_series(place.task_api.known[series.series_id])


async def _a_series_with_an_open_tip(place: Place, replica: Replica, series: SeriesSnapshot) -> None:
    await replica.evaluation.on_series(place.task_api.known[series.series_id])


_AWAITS = {"after put_task", "before add", "after add"}
_CLOSES = _AWAITS | {"before occurrence_generated", "after occurrence_generated"}


@pytest.mark.parametrize(
    ("deliver", "index", "passes"),
    [
        pytest.param(_an_open_instance, AWAITED_INDEX_NAME, _AWAITS | {"after series"}, id="open"),
        pytest.param(_a_closed_instance, INDEX_NAME, _CLOSES | {"after series"}, id="closed"),
        pytest.param(
            _a_series_with_a_closed_tip, INDEX_NAME, _CLOSES | {"after put_series"}, id="series, closed"
        ),
        pytest.param(
            _a_series_with_an_open_tip, AWAITED_INDEX_NAME, _AWAITS | {"after put_series"}, id="series, open"
        ),
    ],
)
async def test_a_delivery_that_died_anywhere_is_healed_by_the_next(
    fresh: Place, deliver: Delivery, index: str, passes: set[str]
) -> None:
    """Whatever is delivered: in the end one thing of each series is looked after, and what was closed has its offer;
    that was not out before somebody looked after it."""
    points: list[str] = []
    begun: list[SeriesSnapshot] = []

    async def die(faults: FaultPoints) -> None:
        begun.append(fresh.task_api.begin(datetime.now(UTC) + DAY))
        await deliver(fresh, fresh.replica(faults), begun[-1])

    async for point in _dying(die):
        points.append(point)
        offered = {offer.series_id for offer in fresh.offers()}
        looked_after = await fresh.depth(index)
        assert begun[-1].series_id not in offered or looked_after == len(begun), point
        await deliver(fresh, fresh.replica(), begun[-1])
        assert await fresh.depth(index) == len(begun), point
        assert len({offer.series_id for offer in fresh.offers()}) == (
            len(begun) if index == INDEX_NAME else 0
        ), point
    assert passes <= set(points)
    await fresh.settle()
    for series in begun:
        chain = fresh.task_api.chains[series.series_id]
        assert [task.is_open for task in chain] == ([False, True] if index == INDEX_NAME else [True])


async def test_a_sweep_that_died_anywhere_is_done_by_another_and_makes_one(fresh: Place) -> None:
    points: list[str] = []
    begun: list[SeriesSnapshot] = []

    async def sweep(faults: FaultPoints) -> None:
        begun.extend(await _due_now(fresh))
        await fresh.replica(faults).by_schedule.sweep()

    async for point in _dying(sweep):
        points.append(point)
        await fresh.replica().by_schedule.sweep()
        await fresh.advance(PAST_LEASE)
        await fresh.replica().by_schedule.sweep()
        await fresh.settle()
        assert len(fresh.task_api.chains[begun[-1].series_id]) == 2, point
    await fresh.settle()
    assert {
        "after series",
        "before occurrence_generated",
        "after occurrence_generated",
        "before release",
    } <= set(points)
    await fresh.advance(CHECK_AGAIN_AFTER)
    await fresh.replica().by_schedule.sweep()
    await fresh.settle()
    for series in begun:
        assert len(fresh.task_api.chains[series.series_id]) == 2
    assert await fresh.depth() == len(begun), "each awaits its next, and nothing else is left"


async def test_two_replicas_tick_at_once_and_each_slot_is_offered_once(fresh: Place) -> None:
    begun = await _due_now(fresh, 60)
    await asyncio.gather(*(fresh.replica().by_schedule.sweep() for _ in range(2)))
    offered = Counter(offer.series_id for offer in fresh.offers())
    assert offered == {series.series_id: 1 for series in begun}
    await fresh.settle()
    for series in begun:
        assert len(fresh.task_api.chains[series.series_id]) == 2


async def test_a_sweep_that_is_held_up_past_its_lease_changes_nothing_any_more(fresh: Place) -> None:
    for point in itertools.count():
        (series,) = await _due_now(fresh)
        sweeping, slow = await _held(fresh, point)
        if sweeping.done():
            assert point > 10
            return
        await fresh.advance(PAST_LEASE)
        await fresh.replica().by_schedule.sweep()
        await fresh.settle()
        slow.go_on.set()
        await sweeping
        await fresh.settle()
        for _ in range(2):
            assert len(fresh.task_api.chains[series.series_id]) == 2, slow.passed
            await fresh.advance(CHECK_AGAIN_AFTER)
            await fresh.replica().by_schedule.sweep()
            await fresh.settle()


async def test_everything_lost_and_built_anew_awaits_the_same(fresh: Place) -> None:
    coming = [await fresh.opened(HOUR - DAY) for _ in range(5)]
    offset = await fresh.redis.get(CLOCK_OFFSET_KEY)
    await fresh.redis.flushall()
    await fresh.redis.set(CLOCK_OFFSET_KEY, offset or 0)
    replica = fresh.replica()
    await replica.keeper.step()
    assert replica.state.is_complete
    assert await fresh.depth() == 5
    assert fresh.offers() == []
    await fresh.advance(HOUR)
    await replica.by_schedule.sweep()
    await fresh.settle()
    assert [len(fresh.task_api.chains[series.series_id]) for series in coming] == [2] * 5


async def test_weeks_of_downtime_are_made_up_for_without_a_storm_wherever_a_sweep_dies(fresh: Place) -> None:
    series = await fresh.opened(-HOUR / 2, rule="FREQ=HOURLY", overdue="catch_up")
    await fresh.advance(130 * HOUR)
    chain = fresh.task_api.chains[series.series_id]
    for die_at in (0, 3, 7, 9, None, None, None):
        before = len(chain)
        faults = FaultPoints(die_at=die_at)
        replicas = [fresh.replica(faults), fresh.replica()]
        for answer in await asyncio.gather(
            *(replica.by_schedule.sweep() for replica in replicas), return_exceptions=True
        ):
            assert answer is None or isinstance(answer, Died)
        await fresh.settle()
        for replica in replicas:  # what is new is not looked at before the next hour
            if replica is not replicas[0] or die_at is None:
                await replica.by_schedule.sweep()
        await fresh.settle()
        assert len(chain) - before <= 50
        await fresh.advance(HOUR)
    first = datetime.fromisoformat(series.start)
    keys = fresh.task_api.keys(series.series_id)
    assert keys == [(first + number * HOUR).isoformat() for number in range(len(keys))], (
        "none left out, none twice"
    )
    assert len(keys) >= 1 + 130


async def test_after_weeks_the_other_policy_makes_the_newest_alone(fresh: Place) -> None:
    series = await fresh.opened(-HOUR / 2, rule="FREQ=HOURLY")
    await fresh.advance(500 * HOUR)
    await asyncio.gather(*(fresh.replica().by_schedule.sweep() for _ in range(2)))
    await fresh.settle()
    first = datetime.fromisoformat(series.start)
    assert fresh.task_api.keys(series.series_id)[1:] == [(first + 500 * HOUR).isoformat()]


async def test_closing_and_the_date_at_the_same_moment_make_one(fresh: Place) -> None:
    for point in itertools.count():
        (series,) = await _due_now(fresh)
        sweeping, slow = await _held(fresh, point)
        if sweeping.done():
            assert point > 10
            return
        fresh.task_api.close(series.series_id, await fresh.clock.now())
        await fresh.settle()
        slow.go_on.set()
        await sweeping
        for _ in range(2):
            await fresh.settle()
        chain = fresh.task_api.chains[series.series_id]
        assert [task.is_open for task in chain] == [False, True], slow.passed


async def test_an_alarm_is_set_by_what_another_replica_awaits(fresh: Place) -> None:
    first, second = fresh.replica(), fresh.replica()
    assert await second.by_schedule.ring() > timedelta(minutes=60)
    await fresh.opened(timedelta(seconds=5) - DAY)
    assert await first.by_schedule.ring() < timedelta(seconds=6)
    assert await second.by_schedule.ring() < timedelta(seconds=6)
