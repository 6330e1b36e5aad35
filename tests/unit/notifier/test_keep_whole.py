"""Ready with a whole marker, not without; which replica puts back what was lost, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

import orjson
import pytest

from event_contracts.topics import TASK_API
from notifier.adapters.task_api import InvokedTaskApi
from notifier.application.errors import NotReady, TaskApiUnavailable
from notifier.application.keep_whole import (
    CAUGHT_UP_AFTER,
    LATECOMERS_AFTER,
    LATECOMERS_SINCE,
    KeepWhole,
)
from notifier.domain.announced import Announced
from service_kit.marker import MARKER_KEY, Marker, MarkerStore
from service_kit.rebuild import IN_PROGRESS, LOST_AT_ONCE
from service_kit.sidecar import Answer
from service_kit.state_store import Stored
from service_kit.testing.fakes import InMemoryStateStore, ManualClock, RecordingSidecar

BACK_TO, HORIZON = timedelta(days=90), timedelta(hours=24)


class _Lock:
    """Held by one holder; `lost` makes it break while it is held."""

    def __init__(self) -> None:
        self.held = False
        self.lost = False

    async def take(self) -> bool:
        free, self.held = not self.held, True
        return free

    async def keep(self) -> bool:
        return not self.lost

    async def give_back(self) -> None:
        self.held = False


class _Store:
    def __init__(self) -> None:
        self.run = "run-1"
        self.look: datetime | None = None
        self.kept: list[str] = []

    async def run_id(self) -> str:
        return self.run

    async def last_look(self) -> datetime | None:
        return self.look

    async def note_look(self, at: datetime) -> None:
        self.look = at

    async def clear_other_generations(self, kept: str) -> None:
        self.kept.append(kept)


class _Past:
    """Notes for which epoch it was asked to forget; `loses` is the lock, on the way."""

    def __init__(self, lock: _Lock) -> None:
        self.forgotten: list[int] = []
        self.loses = False
        self._lock = lock

    async def forget_before(self, epoch: int) -> bool:
        if self.loses:
            self._lock.lost = True
            return False
        self.forgotten.append(epoch)
        return True


class _Restore:
    """Counts pages; `fails` makes the next one fail."""

    def __init__(self) -> None:
        self.pages = 0
        self.fails = False

    async def take_up(self, page: Sequence[Announced]) -> None:
        self.pages += 1
        if self.fails:
            self.fails = False
            raise TaskApiUnavailable("gone half-way")


class _Asked(RecordingSidecar):
    """Gives three empty pages of announcements each time, and remembers since when they were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.since: list[str] = []

    async def invoke(self, app_id: str, method: str, path: str, **given: object) -> Answer:
        if not path.endswith("/snapshot"):
            return await super().invoke(app_id, method, path)
        self._require_available()
        params = given["params"]
        assert isinstance(params, dict)
        page = int(params.get("cursor", 0))
        if page == 0:
            self.since.append(params["since"])
        return Answer(
            200, orjson.dumps({"items": [], "next_cursor": str(page + 1) if page < 2 else None, "epoch": 3})
        )


class Rig:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.state = InMemoryStateStore()
        self.sidecar = _Asked()
        self.store = _Store()
        self.lock = _Lock()
        self.past = _Past(self.lock)
        self.restore = _Restore()
        self.raise_epoch(3)

    def raise_epoch(self, epoch: int) -> None:
        self.sidecar.on_invoke(TASK_API, "/internal/v1/epoch", json={"epoch": epoch})

    async def asked_after(self, delay: timedelta, keeper: KeepWhole) -> list[str]:
        """Since when the announcements are that it asks for, so much later."""
        asked = len(self.sidecar.since)
        self.clock.advance(delay)
        await keeper.step()
        return self.sidecar.since[asked:]

    async def marker(self) -> Marker | None:
        return await MarkerStore(self.state).read()

    def keeper(self) -> KeepWhole:
        return KeepWhole(
            MarkerStore(self.state),
            InvokedTaskApi(self.sidecar, remember=0),
            self.lock,
            self.store,
            self.past,
            self.restore,  # type: ignore[arg-type]
            self.clock,
            back_to=BACK_TO,
            horizon=HORIZON,
        )


async def test_the_first_replica_puts_everything_back_and_the_second_finds_it_done() -> None:
    rig = Rig()
    keeper, second = rig.keeper(), rig.keeper()
    with pytest.raises(NotReady):
        await keeper.check()
    with pytest.raises(NotReady):
        await keeper.require()
    await keeper.step()
    await keeper.check()
    await keeper.require()
    marker = await rig.marker()
    assert marker is not None
    assert (marker.epoch, marker.run_id, rig.restore.pages) == (3, "run-1", 3)
    assert rig.store.kept == [marker.generation]
    assert rig.sidecar.since == [(rig.clock.instant - BACK_TO).isoformat()]
    await second.step()
    assert second.is_ready()
    assert (await rig.marker(), rig.restore.pages) == (marker, 3)


async def test_while_one_is_at_it_the_other_waits() -> None:
    rig = Rig()
    await rig.lock.take()
    keeper = rig.keeper()
    assert await keeper.step() is not None
    assert not keeper.is_ready()
    assert await rig.marker() is None


@pytest.mark.parametrize("how", ["fails", "lost"])
async def test_what_was_half_done_is_done_again_under_the_same_generation(how: str) -> None:
    rig = Rig()
    keeper = rig.keeper()
    if how == "fails":
        rig.restore.fails = True
        with pytest.raises(TaskApiUnavailable):
            await keeper.step()
    else:
        rig.lock.lost = True
        await keeper.step()
    begun = await rig.marker()
    assert begun is not None
    assert begun.run_id == IN_PROGRESS
    assert not keeper.is_ready()
    with pytest.raises(NotReady):
        await keeper.require()
    rig.lock.lost = False
    await rig.keeper().step()
    done = await rig.marker()
    assert done is not None
    assert (done.generation, done.run_id) == (begun.generation, "run-1")
    await keeper.step()
    assert keeper.is_ready()


async def test_who_requires_it_at_the_same_moment_shares_a_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig()
    keeper = rig.keeper()
    await keeper.step()
    read, readings = rig.state.get, list[str]()

    async def slow(key: str) -> Stored | None:
        readings.append(key)
        await asyncio.sleep(0.01)
        return await read(key)

    monkeypatch.setattr(rig.state, "get", slow)
    await asyncio.gather(*(keeper.require() for _ in range(50)))
    assert readings == [MARKER_KEY]


async def test_a_reading_that_began_before_is_nobodys_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else what a flush took would look as if it were there."""
    rig = Rig()
    keeper = rig.keeper()
    await keeper.step()
    read, under_way, go_on = rig.state.get, asyncio.Event(), asyncio.Event()

    async def held(key: str) -> Stored | None:
        found = await read(key)
        under_way.set()
        await go_on.wait()
        return found

    monkeypatch.setattr(rig.state, "get", held)
    before = asyncio.create_task(keeper.require())
    await under_way.wait()
    rig.state.flush()
    after = [asyncio.create_task(keeper.require()) for _ in range(3)]
    await asyncio.sleep(0)
    go_on.set()
    await before
    outcomes = await asyncio.gather(*after, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [NotReady] * 3


async def test_a_wipe_is_noticed_at_once_by_who_requires_it_and_needs_task_api() -> None:
    rig = Rig()
    keeper = rig.keeper()
    await keeper.step()
    rig.state.flush()
    with pytest.raises(NotReady):
        await keeper.require()
    assert not keeper.is_ready()
    rig.sidecar.unavailable = True
    with pytest.raises(TaskApiUnavailable):
        await keeper.step()
    assert not keeper.is_ready()
    rig.sidecar.unavailable = False
    await keeper.step()
    assert keeper.is_ready()
    assert rig.restore.pages == 6


async def test_another_epoch_is_another_generation() -> None:
    rig = Rig()
    keeper = rig.keeper()
    await keeper.step()
    before = await rig.marker()
    rig.raise_epoch(4)
    await rig.keeper().step()
    after = await rig.marker()
    assert before is not None
    assert after is not None
    assert after.generation != before.generation
    assert after.epoch == 4
    for _ in range(40):
        await keeper.step()
    assert keeper.is_ready(), "who asked before hears of it in time"


async def test_nothing_is_put_back_before_the_past_of_another_epoch_is_forgotten() -> None:
    rig = Rig()
    keeper = rig.keeper()
    await keeper.step()
    assert rig.past.forgotten == [3]
    rig.raise_epoch(4)
    rig.past.loses = True
    await rig.keeper().step()
    begun = await rig.marker()
    assert begun is not None
    assert (begun.epoch, begun.run_id, rig.restore.pages) == (4, IN_PROGRESS, 3)
    # Whoever takes over finds a marker of the new epoch, and what was to be forgotten still there.
    rig.lock.lost = rig.past.loses = False
    await rig.keeper().step()
    assert (rig.past.forgotten, rig.restore.pages) == ([3, 4], 6)


async def test_a_redis_that_was_started_again_is_asked_for_what_it_lost_while_all_goes_on() -> None:
    rig = Rig()
    keeper = rig.keeper()
    await keeper.step()
    seen = rig.clock.instant
    rig.clock.advance(timedelta(hours=5))
    rig.store.run = "run-2"
    rig.restore.fails = True
    await keeper.step()
    assert keeper.is_ready(), "task-api being away holds nothing up"
    await keeper.step()
    marker = await rig.marker()
    assert marker is not None
    assert marker.run_id == "run-2"
    near, far = (seen - LOST_AT_ONCE).isoformat(), (seen - HORIZON).isoformat()
    assert rig.sidecar.since[1:] == [near, near, far], "what is most likely lost comes first"


@pytest.mark.parametrize("loss", ["wiped", "started again"])
async def test_what_task_api_heard_late_is_asked_for_after_a_loss(loss: str) -> None:
    rig = Rig()
    seeing, new = rig.keeper(), rig.keeper()
    await seeing.step()
    if loss == "wiped":
        await seeing.step()
    else:
        rig.clock.advance(timedelta(hours=1))
        await seeing.step()
        rig.store.run = "run-2"
        await seeing.step()
        await seeing.step()
    await new.step()
    asked, began = len(rig.sidecar.since), rig.clock.instant
    for after in (*LATECOMERS_AFTER, *CAUGHT_UP_AFTER):
        rig.clock.instant = began + after
        rig.restore.fails = True
        for keeper in (new, seeing, seeing, seeing):
            await keeper.step()
            assert keeper.is_ready(), "task-api being away holds nothing up"
    assert rig.store.look is not None
    lately, queued = (rig.store.look - LATECOMERS_SINCE).isoformat(), (began - HORIZON).isoformat()
    looked = [lately] * 2 * len(LATECOMERS_AFTER) + [queued] * 2 * len(CAUGHT_UP_AFTER)
    assert rig.sidecar.since[asked:] == looked, "once more where it failed, and by nobody who saw no loss"


async def test_a_second_loss_leaves_what_is_still_to_be_asked_of_the_first() -> None:
    rig = Rig()
    keeper = rig.keeper()
    await keeper.step()
    await keeper.step()
    began = rig.clock.instant
    rig.clock.advance(timedelta(minutes=20))
    await keeper.step()
    rig.state.flush()
    await keeper.step()
    await keeper.step()
    asked = len(rig.sidecar.since)
    rig.clock.instant = began + CAUGHT_UP_AFTER[-1]
    await keeper.step()
    assert len(rig.sidecar.since) == asked + 1, "what is due of both, in one"
    assert rig.sidecar.since[-1] == (began - HORIZON).isoformat()


async def test_latecomers_are_asked_for_again_when_the_lock_was_lost_on_the_way() -> None:
    rig = Rig()
    keeper = rig.keeper()
    await keeper.step()
    await keeper.step()
    rig.lock.lost = True
    first = await rig.asked_after(LATECOMERS_AFTER[0], keeper)
    rig.lock.lost = False
    assert await rig.asked_after(timedelta(0), keeper) == first


async def test_who_begins_after_the_loss_and_mends_it_asks_for_latecomers() -> None:
    """As when the whole machine lost its power: no process is left that knew the Redis of before."""
    rig = Rig()
    await rig.keeper().step()
    lost_at = rig.clock.instant
    rig.clock.advance(timedelta(minutes=2))
    rig.store.run = "run-2"
    new = rig.keeper()
    await new.step()
    await new.step()
    assert await rig.asked_after(LATECOMERS_AFTER[0], new) == [(lost_at - LATECOMERS_SINCE).isoformat()]


async def test_latecomers_begin_before_the_loss_however_long_task_api_was_away() -> None:
    rig = Rig()
    keeper = rig.keeper()
    await keeper.step()
    await keeper.step()
    rig.clock.advance(timedelta(hours=1))
    await keeper.step()
    await rig.store.note_look(rig.clock.instant)
    lost_at = rig.clock.instant
    rig.store.run, rig.sidecar.unavailable = "run-2", True
    for _ in range(20):
        await keeper.step()
        rig.clock.advance(timedelta(minutes=1))
    rig.sidecar.unavailable = False
    await keeper.step()
    await keeper.step()
    for after in LATECOMERS_AFTER:
        assert await rig.asked_after(after, keeper) == [(lost_at - LATECOMERS_SINCE).isoformat()]


async def test_what_fired_in_hours_that_task_api_was_away_for_is_asked_for_once_it_has_caught_up() -> None:
    """It came back just before the loss, and hears for minutes of what notifier had queued while it was away."""
    rig = Rig()
    keeper = rig.keeper()
    await keeper.step()
    await keeper.step()
    rig.clock.advance(timedelta(hours=3))
    await keeper.step()
    await rig.store.note_look(rig.clock.instant)
    rig.state.flush()
    fired = rig.clock.instant - timedelta(hours=2)
    await keeper.step()
    await keeper.step()
    since = [await rig.asked_after(after, keeper) for after in (*LATECOMERS_AFTER, *CAUGHT_UP_AFTER)]
    assert [datetime.fromisoformat(one) < fired for (one,) in since] == [False, False, True, True]


async def test_who_finds_another_at_it_asks_for_latecomers_afterwards() -> None:
    rig = Rig()
    keeper = rig.keeper()
    await keeper.step()
    await keeper.step()
    rig.clock.advance(LATECOMERS_AFTER[0])
    await rig.lock.take()
    await keeper.step()
    assert len(rig.sidecar.since) == 1
    await rig.lock.give_back()
    await keeper.step()
    assert len(rig.sidecar.since) == 2
