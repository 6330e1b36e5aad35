"""The lanes of people's own destinations: one suite for the stand-in and for Redis."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

from tests.unit.notifier.samples import START, USER
from tests.unit.notifier.world import LEASE, World

from event_contracts.values import Channel
from notifier.application.announce import notification_of
from notifier.application.ports import Lanes
from notifier.domain.lanes import Lane
from notifier.domain.notifications import Notification, Progress


@dataclass(frozen=True)
class LaneWorld:
    """The lanes, and the world that they are in."""

    lanes: Lanes
    world: World


def news() -> Notification:
    """Of one more reminder that fired at START."""
    return notification_of(uuid4(), uuid4(), USER, START)


def webhook_lane() -> Lane:
    return Lane(Channel.WEBHOOK, uuid4())


class LaneBehaviour:
    async def test_who_dies_in_its_turn_leaves_the_lane_to_the_next(self, laned: LaneWorld) -> None:
        """Between taking the lane with two of its three messages, and giving anything back."""
        lanes, world, lane = laned.lanes, laned.world, webhook_lane()
        for _ in range(3):
            await lanes.enqueue_in(lane, news())
        assert len(await lanes.claim_lanes(10)) == 1
        assert len(await lanes.claim_in(lane, 2)) == 2
        await lanes.enqueue_in(lane, news())
        assert await lanes.claim_lanes(10) == [], "the lane is not given to two"
        await world.advance(LEASE)
        (claimed,) = await lanes.claim_lanes(10)
        assert len(await lanes.claim_in(claimed.lane, 10)) == 4
        assert (await lanes.depths())[Channel.WEBHOOK] == 4
        assert await world.deliveries.depth(Channel.WEBHOOK) == 0

    async def test_what_is_new_brings_a_lane_forward_but_not_while_it_is_worked(
        self, laned: LaneWorld
    ) -> None:
        """A lane whose only message waits for its next try; one that is claimed; one that is closed."""
        lanes, world, lane = laned.lanes, laned.world, webhook_lane()
        now = await world.clock.now()
        first, second, third = (news() for _ in range(3))
        assert await lanes.enqueue_in(lane, first)
        assert not await lanes.enqueue_in(lane, first)
        (turn,) = await lanes.claim_lanes(1)
        (held,) = await lanes.claim_in(lane, 1)
        await world.deliveries.put_off(held, Progress(1, 0, now), now + timedelta(minutes=4))
        await lanes.enqueue_in(lane, second)
        assert await lanes.claim_lanes(1) == [], "it is being worked"
        await lanes.rest(turn, 1, None)
        (turn,) = await lanes.claim_lanes(1)
        (other,) = await lanes.claim_in(lane, 5)
        assert (other.delivery.notification, turn.failures) == (second, 1)
        await world.deliveries.put_off(other, Progress(1, 0, now), now + timedelta(minutes=5))
        await lanes.rest(turn, 0, None)
        assert await lanes.claim_lanes(1) == [], "both wait for their time"
        await lanes.enqueue_in(lane, third)
        (turn,) = await lanes.claim_lanes(1)
        await lanes.rest(turn, 5, now + timedelta(minutes=2))
        await lanes.enqueue_in(lane, news())
        assert await lanes.claim_lanes(1) == [], "it is closed, whatever comes"
        await world.advance(timedelta(seconds=121))
        (turn,) = await lanes.claim_lanes(1)
        assert (turn.lane, turn.failures) == (lane, 5)

    async def test_who_comes_back_too_late_changes_nothing(self, laned: LaneWorld) -> None:
        """Its lease ran out and another has the lane: it neither opens it nor gives it back."""
        lanes, world, lane = laned.lanes, laned.world, webhook_lane()
        await lanes.enqueue_in(lane, news())
        (late,) = await lanes.claim_lanes(1)
        await world.advance(LEASE)
        (turn,) = await lanes.claim_lanes(1)
        await lanes.rest(late, 7, None)
        assert await lanes.claim_lanes(1) == []
        until = await world.clock.now() + timedelta(minutes=1)
        await lanes.rest(turn, 5, until)
        await lanes.rest(late, 0, None)
        assert await lanes.claim_lanes(1) == []
        await world.advance(timedelta(minutes=1, seconds=1))
        (turn,) = await lanes.claim_lanes(1)
        assert turn.failures == 5

    async def test_an_empty_lane_is_gone_and_its_failures_are_not(self, laned: LaneWorld) -> None:
        lanes, world, lane = laned.lanes, laned.world, webhook_lane()
        await lanes.enqueue_in(lane, news())
        (turn,) = await lanes.claim_lanes(1)
        (last,) = await lanes.claim_in(lane, 1)
        await world.deliveries.drop(last)
        await lanes.rest(turn, 3, None)
        await world.advance(timedelta(hours=1))
        assert await lanes.claim_lanes(1) == []
        await lanes.enqueue_in(lane, news())
        (turn,) = await lanes.claim_lanes(1)
        assert turn.failures == 3
