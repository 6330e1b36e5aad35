"""What the relay promises, told once for the outbox in memory and the one in PostgreSQL."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from uuid import UUID

import pytest
from tests.unit.task_api.relay_parts import (
    LANES,
    TOPICS,
    ScriptedBroker,
    Seconds,
    Standing,
    Table,
    all_rejected,
    no_answer,
)

from task_api.application import relay_metrics, relay_outbox
from task_api.application.outbox_ports import BrokerHeld, BrokerUnavailable, OutboxRow, Rejection
from task_api.application.relay_outbox import MAX_BYTES, MAX_EVENTS, PARK_AFTER, OutboxRelay


class RelayBehaviour:
    """Subclasses give the fixture `table`."""

    @pytest.fixture
    def seconds(self) -> Seconds:
        return Seconds()

    @pytest.fixture
    def broker(self) -> ScriptedBroker:
        return ScriptedBroker()

    @pytest.fixture
    def relay(self, table: Table, broker: ScriptedBroker, seconds: Seconds) -> OutboxRelay:
        return OutboxRelay(table.outbox, broker, TOPICS, lanes=LANES, monotonic=seconds, rng=random.Random(7))

    async def drains(
        self, relay: OutboxRelay, table: Table, seconds: Seconds, times: int, extra: Iterable[str] = ()
    ) -> None:
        """Drain again and again, with every wait over; `extra` topics get a fresh row before each."""
        for _ in range(times):
            for topic in extra:
                await table.add(topic)
            await table.make_due()
            seconds.now += 31
            await relay.drain()

    async def test_everything_goes_out_and_the_outbox_is_empty(
        self, relay: OutboxRelay, table: Table, broker: ScriptedBroker
    ) -> None:
        ids = await table.add(count=3) + await table.add(TOPICS[1], count=2)
        await relay.drain()
        assert sorted(broker.out) == sorted(ids)
        assert await table.left() == {}
        assert {broker.keys[row] for row in ids[:3]} == {f"key-{row}" for row in ids[:3]}

    async def test_one_request_a_topic_of_so_many_at_most(
        self, relay: OutboxRelay, table: Table, broker: ScriptedBroker
    ) -> None:
        ids = await table.add(count=MAX_EVENTS + 50)
        other = await table.add(TOPICS[1], count=5)
        await relay.drain()
        requests = {topic: [len(rows) for at, rows in broker.requests if at == topic] for topic in TOPICS}
        assert (requests[TOPICS[0]][0], sum(requests[TOPICS[0]])) == (MAX_EVENTS, MAX_EVENTS + 50)
        assert requests[TOPICS[1]] == [5]
        assert sorted(broker.out) == sorted(ids + other)

    async def test_what_comes_close_together_goes_together(
        self, relay: OutboxRelay, table: Table, broker: ScriptedBroker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(relay_outbox, "ROUND_EVERY", 0.5)
        (first,) = await table.add()
        sent = asyncio.Event()
        broker.after_sending = sent.set
        draining = asyncio.create_task(relay.drain())
        async with asyncio.timeout(10):
            await sent.wait()
            others = [row for _ in range(5) for row in await table.add()]
            await draining
        assert [rows for _, rows in broker.requests] == [[first], others]

    async def test_of_a_backlog_several_batches_are_under_way(
        self, relay: OutboxRelay, table: Table, broker: ScriptedBroker
    ) -> None:
        ids = await table.add(count=MAX_EVENTS * (1 + 2 * LANES))
        all_lanes = asyncio.Barrier(LANES)

        async def meet(topic: str) -> None:
            if 1 < len(broker.requests) <= 1 + LANES:
                async with asyncio.timeout(10):
                    await all_lanes.wait()

        broker.before_sending = lambda topic: asyncio.ensure_future(meet(topic))
        await relay.drain()
        assert await table.left() == {}
        assert sorted(broker.out) == sorted(ids)

    async def test_of_a_backlog_of_great_events_too(
        self, relay: OutboxRelay, table: Table, broker: ScriptedBroker
    ) -> None:
        ids = await table.add(count=4 * (1 + 2 * LANES), size=MAX_BYTES // 4)
        under_way = most = 0

        async def count(topic: str) -> None:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0.01)
            under_way -= 1

        broker.before_sending = lambda topic: asyncio.ensure_future(count(topic))
        await relay.drain()
        assert most > 1
        assert sorted(broker.out) == sorted(ids)

    async def test_one_lane_works_a_backlog_off_batch_by_batch(
        self, table: Table, broker: ScriptedBroker, seconds: Seconds
    ) -> None:
        ids = await table.add(count=MAX_EVENTS * 3)
        under_way = 0

        async def alone(topic: str) -> None:
            nonlocal under_way
            assert under_way == 0
            under_way += 1
            await asyncio.sleep(0.01)
            under_way -= 1

        broker.before_sending = lambda topic: asyncio.ensure_future(alone(topic))
        await OutboxRelay(table.outbox, broker, TOPICS, lanes=1, monotonic=seconds).drain()
        assert await table.left() == {}
        assert sorted(broker.out) == sorted(ids)

    async def test_a_key_goes_out_in_its_order(
        self, relay: OutboxRelay, table: Table, broker: ScriptedBroker
    ) -> None:
        chance = random.Random(3)
        wanted: dict[str, list[UUID]] = {f"key-{number}": [] for number in range(20)}
        for _ in range(4 * MAX_EVENTS):
            key = chance.choice(list(wanted))
            wanted[key] += await table.add(key=key)

        async def dawdle(topic: str) -> None:
            await asyncio.sleep(chance.uniform(0, 0.01))

        broker.before_sending = lambda topic: asyncio.ensure_future(dawdle(topic))
        await relay.drain()
        assert await table.left() == {}
        for key, ids in wanted.items():
            assert [row for row in broker.out if broker.keys[row] == key] == ids

    async def test_a_lane_that_fails_leaves_the_others_whole(
        self, relay: OutboxRelay, table: Table, broker: ScriptedBroker
    ) -> None:
        ids = await table.add(count=MAX_EVENTS * (1 + LANES))

        def crash() -> None:
            if len(broker.requests) == 2:
                raise RuntimeError("something nobody foresaw")

        broker.after_sending = crash
        with pytest.raises(RuntimeError):
            await relay.drain()
        # What the broker has and nobody deleted is the batch of the lane that failed, and nothing else.
        repeated = set(await table.left()) & set(broker.out)
        assert repeated == set(broker.requests[1][1])
        await relay.drain()
        assert await table.left() == {}
        assert set(broker.out) == set(ids)

    async def test_a_request_stays_within_a_mebibyte(
        self, relay: OutboxRelay, table: Table, broker: ScriptedBroker
    ) -> None:
        # Of one key, so that one lane has all of them.
        await table.add(count=7, size=300_000, key="key")
        await table.add(size=MAX_BYTES + 1, key="key")
        await relay.drain()
        assert [len(rows) for _, rows in broker.requests] == [3, 3, 1, 1]
        assert await table.left() == {}

    async def test_topics_go_out_side_by_side(
        self, relay: OutboxRelay, table: Table, broker: ScriptedBroker
    ) -> None:
        both = asyncio.Barrier(2)

        async def meet(topic: str) -> None:
            async with asyncio.timeout(5):
                await both.wait()

        broker.before_sending = lambda topic: asyncio.ensure_future(meet(topic))
        await table.add()
        await table.add(TOPICS[1])
        await relay.drain()
        assert await table.left() == {}

    async def test_a_crash_between_publish_and_delete_repeats_the_same_ids(
        self, relay: OutboxRelay, table: Table, broker: ScriptedBroker
    ) -> None:
        ids = await table.add(count=3)

        def crash() -> None:
            raise asyncio.CancelledError

        broker.after_sending = crash
        with pytest.raises(asyncio.CancelledError):
            await relay.drain()
        assert set(await table.left()) == set(ids)
        broker.after_sending = lambda: None
        await relay.drain()
        assert sorted(broker.out) == sorted(ids * 2)
        assert await table.left() == {}

    async def test_stopped_it_finishes_the_batch_in_flight(
        self, relay: OutboxRelay, table: Table, broker: ScriptedBroker
    ) -> None:
        await table.add(count=2)
        sending, go_on = asyncio.Event(), asyncio.Event()

        async def hold(topic: str) -> None:
            sending.set()
            await go_on.wait()

        broker.before_sending = lambda topic: asyncio.ensure_future(hold(topic))
        drain = asyncio.ensure_future(relay.drain())
        async with asyncio.timeout(5):
            await sending.wait()
            drain.cancel()
            await asyncio.sleep(0)
            go_on.set()
            with pytest.raises(asyncio.CancelledError):
                await drain
        assert len(broker.out) == 2
        assert await table.left() == {}

    async def test_two_relays_share_the_rows(
        self, table: Table, broker: ScriptedBroker, seconds: Seconds
    ) -> None:
        ids = await table.add(count=MAX_EVENTS * 2)
        both = asyncio.Barrier(2)

        async def meet(topic: str) -> None:
            if len(broker.requests) <= 2:
                async with asyncio.timeout(5):
                    await both.wait()

        broker.before_sending = lambda topic: asyncio.ensure_future(meet(topic))
        relays = [OutboxRelay(table.outbox, broker, TOPICS, lanes=LANES, monotonic=seconds) for _ in range(2)]
        await asyncio.gather(*(relay.drain() for relay in relays))
        assert sorted(broker.out) == sorted(ids), "each row went out once"
        assert await table.left() == {}

    async def test_what_failed_stays_and_what_passed_goes(
        self, relay: OutboxRelay, table: Table, broker: ScriptedBroker
    ) -> None:
        ids = await table.add(count=3)
        broker.poison = {ids[1]}
        await relay.drain()
        assert await table.left() == {ids[1]: Standing(attempts=1, waits=True, parked=False)}

    async def test_a_row_that_failed_is_tried_alone_and_may_pass(
        self, relay: OutboxRelay, table: Table, broker: ScriptedBroker, seconds: Seconds
    ) -> None:
        ids = await table.add(count=3)
        broker.poison = {ids[1]}
        await relay.drain()
        broker.poison = set()
        await self.drains(relay, table, seconds, 1, extra=TOPICS[:1])
        assert (TOPICS[0], [ids[1]]) in broker.requests
        assert await table.left() == {}

    @pytest.mark.parametrize("kind", [no_answer, all_rejected])
    async def test_an_outage_counts_nothing_and_parks_no_one(
        self,
        relay: OutboxRelay,
        table: Table,
        broker: ScriptedBroker,
        seconds: Seconds,
        kind: Callable[[Sequence[OutboxRow]], dict[UUID, Rejection]],
    ) -> None:
        ids = await table.add(count=30)
        (nearly,) = await table.add(attempts=PARK_AFTER - 1)
        broker.down = kind
        await self.drains(relay, table, seconds, 40)
        standings = await table.left()
        assert {standings[row].attempts for row in ids} == {0}
        assert standings[nearly] == Standing(attempts=PARK_AFTER - 1, waits=True, parked=False)
        broker.down = None
        await self.drains(relay, table, seconds, 10)
        assert sorted(broker.out) == sorted([*ids, nearly])
        assert await table.left() == {}

    async def test_an_outage_after_good_times_parks_no_one(
        self, relay: OutboxRelay, table: Table, broker: ScriptedBroker, seconds: Seconds
    ) -> None:
        await table.add(count=3)
        await relay.drain()
        broker.down = all_rejected
        ids = await table.add(count=3) + await table.add(attempts=PARK_AFTER - 1)
        await self.drains(relay, table, seconds, 15)
        assert not any(standing.parked for standing in (await table.left()).values())
        assert set(await table.left()) == set(ids)

    async def test_of_a_topic_that_is_held_nothing_is_asked(
        self, relay: OutboxRelay, table: Table, broker: ScriptedBroker
    ) -> None:
        ids = await table.add(count=3)
        others = await table.add(TOPICS[1], count=3)
        broker.held = {TOPICS[0]}
        await relay.drain()
        assert {topic for topic, _ in broker.requests} == {TOPICS[1]}
        assert sorted(broker.out) == sorted(others)
        broker.held = set()
        await relay.drain()
        assert sorted(broker.out) == sorted(ids + others)

    async def test_a_topic_that_is_held_needs_no_pause_of_its_own(
        self, relay: OutboxRelay, table: Table, broker: ScriptedBroker
    ) -> None:
        ids = await table.add(count=3)

        def away(rows: Sequence[OutboxRow]) -> dict[UUID, Rejection]:
            broker.held = {TOPICS[0]}
            return all_rejected(rows)

        broker.down = away
        for _ in range(8):
            broker.held = set()
            await relay.drain()
        broker.down, broker.held = None, set()
        await relay.drain()
        assert sorted(broker.out) == sorted(ids), "at once, and with no time gone by"
        assert await table.left() == {}

    async def test_a_poison_row_holds_up_nobody_while_it_makes_its_topic_be_held(
        self, relay: OutboxRelay, table: Table, broker: ScriptedBroker, seconds: Seconds
    ) -> None:
        """Alone in its request it looks like an outage, and the row that would tell is not let through."""
        ids = await table.add(count=MAX_EVENTS)

        def down(rows: Sequence[OutboxRow]) -> dict[UUID, Rejection]:
            if broker.held:
                raise BrokerHeld("the bus took nothing a moment ago")
            if any(row.id == ids[0] for row in rows):
                broker.held = {TOPICS[0]}
                return all_rejected(rows)
            broker.out += [row.id for row in rows]
            return {}

        broker.down = down
        for _ in range(40):
            broker.held = set()
            seconds.now += 0.6
            await relay.drain()
        assert sorted(broker.out) == sorted(ids[1:])
        assert (await table.left())[ids[0]].attempts == 0

    async def test_a_row_that_may_not_be_tried_makes_room_for_others(
        self, relay: OutboxRelay, table: Table, broker: ScriptedBroker
    ) -> None:
        """Greater than a request, it goes alone, and its partition has failed as often as it bears."""
        (great,) = await table.add(size=MAX_BYTES + 1)
        (other,) = await table.add()

        def down(rows: Sequence[OutboxRow]) -> dict[UUID, Rejection]:
            if any(row.id == great for row in rows):
                raise BrokerHeld("the bus took nothing a moment ago")
            broker.out += [row.id for row in rows]
            return {}

        broker.down = down
        for _ in range(2):
            await relay.drain()
        assert broker.out == [other]
        assert await table.left() == {great: Standing(attempts=0, waits=True, parked=False)}

    async def test_a_partition_that_is_shut_counts_against_no_row(
        self, relay: OutboxRelay, table: Table, broker: ScriptedBroker, seconds: Seconds
    ) -> None:
        ids = await table.add(count=2)
        (nearly,) = await table.add(attempts=PARK_AFTER - 1)
        shut = {ids[0], nearly}

        def down(rows: Sequence[OutboxRow]) -> dict[UUID, Rejection]:
            broker.out += [row.id for row in rows if row.id not in shut]
            return {row.id: Rejection("shut", is_judged=False) for row in rows if row.id in shut}

        broker.down = down
        await relay.drain()
        await self.drains(relay, table, seconds, PARK_AFTER + 2, extra=TOPICS[:1])
        assert await table.left() == {
            ids[0]: Standing(attempts=0, waits=True, parked=False),
            nearly: Standing(attempts=PARK_AFTER - 1, waits=True, parked=False),
        }
        broker.down = None
        await self.drains(relay, table, seconds, 1)
        assert await table.left() == {}

    async def test_nobody_else_waits_when_all_of_a_request_is_for_a_partition_that_is_shut(
        self, relay: OutboxRelay, table: Table, broker: ScriptedBroker
    ) -> None:
        shut = set(await table.add(count=2))

        def down(rows: Sequence[OutboxRow]) -> dict[UUID, Rejection]:
            broker.out += [row.id for row in rows if row.id not in shut]
            return {row.id: Rejection("shut", is_judged=False) for row in rows if row.id in shut}

        broker.down = down
        for _ in range(3):
            await relay.drain()
        (other,) = await table.add()
        await relay.drain()
        assert broker.out == [other]

    async def test_failures_of_whole_requests_back_off_up_to_five_seconds(
        self, relay: OutboxRelay, table: Table, broker: ScriptedBroker, seconds: Seconds
    ) -> None:
        await table.add()
        broker.down = no_answer
        waits: list[float] = []
        for _ in range(9):
            await relay.drain()
            asked, began = len(broker.requests), seconds.now
            while len(broker.requests) == asked:
                seconds.now += 0.05
                await relay.drain()
            waits.append(seconds.now - began)
        assert waits[0] <= 0.16
        assert waits[3] >= 0.3
        assert 2.4 <= waits[-1] <= 5.06
        assert len({round(wait, 2) for wait in waits[-3:]}) > 1, "jitter"

    async def test_the_other_topics_go_on_while_one_is_stuck(
        self, relay: OutboxRelay, table: Table, broker: ScriptedBroker, seconds: Seconds
    ) -> None:
        stuck = set(await table.add(count=MAX_EVENTS + 100))

        def down(rows: Sequence[OutboxRow]) -> dict[UUID, Rejection]:
            return all_rejected([row for row in rows if row.id in stuck])

        broker.down = down
        await relay.drain()
        await table.add(TOPICS[1], count=3)
        await self.drains(relay, table, seconds, 1)
        assert set(await table.left()) == stuck

    async def test_one_poison_row_holds_up_nobody_and_is_parked_after_ten(
        self,
        relay: OutboxRelay,
        table: Table,
        broker: ScriptedBroker,
        seconds: Seconds,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        ids = await table.add(count=5)
        broker.poison = {ids[0]}
        await relay.drain()
        assert set(await table.left()) == {ids[0]}, "the rest is out at once"
        await self.drains(relay, table, seconds, PARK_AFTER - 2, extra=TOPICS[:1])
        assert await table.left() == {ids[0]: Standing(attempts=PARK_AFTER - 1, waits=True, parked=False)}
        await self.drains(relay, table, seconds, 1, extra=TOPICS[:1])
        assert await table.left() == {ids[0]: Standing(attempts=PARK_AFTER, waits=True, parked=True)}
        assert [record.levelname for record in caplog.records if "outbox_event_parked" in record.message] == [
            "ERROR"
        ]
        asked = len(broker.requests)
        await self.drains(relay, table, seconds, 3)
        assert len(broker.requests) == asked, "a parked row is left alone"

    async def test_a_poison_row_alone_is_never_parked(
        self, relay: OutboxRelay, table: Table, broker: ScriptedBroker, seconds: Seconds
    ) -> None:
        ids = await table.add()
        broker.poison = set(ids)
        await self.drains(relay, table, seconds, 30)
        assert (await table.left())[ids[0]].attempts == 0
        assert len(broker.requests) >= 30

    async def test_others_that_pass_only_now_and_then_are_proof_enough(
        self, relay: OutboxRelay, table: Table, broker: ScriptedBroker, seconds: Seconds
    ) -> None:
        ids = await table.add(count=2)
        broker.poison = {ids[0]}
        await relay.drain()
        await self.drains(relay, table, seconds, 5)
        counted = (await table.left())[ids[0]].attempts
        await self.drains(relay, table, seconds, 5)
        assert (await table.left())[ids[0]].attempts == counted <= 2, "nobody passed in between"
        await table.add()
        seconds.now += 1
        await relay.drain()
        await self.drains(relay, table, seconds, 1)
        assert (await table.left())[ids[0]].attempts == counted + 1

    @pytest.mark.parametrize("position", [0, 120, 199])
    async def test_a_row_that_spoils_its_request_is_found_and_the_rest_goes_out(
        self, relay: OutboxRelay, table: Table, broker: ScriptedBroker, seconds: Seconds, position: int
    ) -> None:
        ids = await table.add(count=MAX_EVENTS)
        broker.refused = {ids[position]}
        for _ in range(60):
            seconds.now += 0.1
            await relay.drain()
        # Last in line it stands alone, and nothing tells it from an outage until somebody else comes.
        await self.drains(relay, table, seconds, 2, extra=TOPICS[:1])
        standings = await table.left()
        assert set(standings) == {ids[position]}
        assert standings[ids[position]].attempts >= 1
        await self.drains(relay, table, seconds, PARK_AFTER, extra=TOPICS[:1])
        assert (await table.left())[ids[position]].parked

    async def test_a_time_out_is_not_a_failure(
        self, relay: OutboxRelay, table: Table, broker: ScriptedBroker, seconds: Seconds
    ) -> None:
        ids = await table.add(count=2)

        def late() -> None:
            broker.after_sending = lambda: None
            raise BrokerUnavailable("no answer within 5 s")

        broker.after_sending = late
        await relay.drain()
        assert {standing.attempts for standing in (await table.left()).values()} == {0}
        await self.drains(relay, table, seconds, 2)
        assert set(broker.out) == set(ids)
        assert len(broker.out) > len(ids), "out before the time-out, and again"
        assert await table.left() == {}

    async def test_a_row_whose_answers_never_come_steps_aside_uncounted(
        self, relay: OutboxRelay, table: Table, broker: ScriptedBroker, seconds: Seconds
    ) -> None:
        ids = await table.add(count=8)

        def hangs(rows: Sequence[OutboxRow]) -> dict[UUID, Rejection]:
            if any(row.id == ids[0] for row in rows):
                return no_answer(rows)
            broker.out += [row.id for row in rows]
            return {}

        broker.down = hangs
        await self.drains(relay, table, seconds, 12)
        assert await table.left() == {ids[0]: Standing(attempts=0, waits=True, parked=False)}

    async def test_it_says_how_the_outbox_stands(
        self, relay: OutboxRelay, table: Table, broker: ScriptedBroker, seconds: Seconds
    ) -> None:
        ids = await table.add(count=2)
        broker.poison = {ids[0]}
        await relay.drain()
        await self.drains(relay, table, seconds, PARK_AFTER - 1, extra=TOPICS[:1])
        broker.down = no_answer
        await table.add(count=4)
        seconds.now += 31
        await relay.drain()
        state = await table.outbox.state()
        assert (state.depth, state.parked) == (4, 1)
        assert 0 <= state.oldest_age < 60
        assert relay_metrics.DEPTH._value.get() == 4
        assert relay_metrics.PARKED._value.get() == 1
