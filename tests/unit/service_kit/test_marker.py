"""The marker of a generation of documents."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from service_kit.marker import MARKER_KEY, Marker, MarkerStore
from service_kit.state_store import StateConflict, StateUnavailable
from service_kit.testing.fakes import InMemoryStateStore


@pytest.fixture
def state() -> InMemoryStateStore:
    return InMemoryStateStore()


@pytest.fixture
def markers(state: InMemoryStateStore) -> MarkerStore:
    return MarkerStore(state)


async def test_there_is_none_at_first(markers: MarkerStore) -> None:
    assert await markers.read() is None


async def test_what_was_made_is_read(markers: MarkerStore) -> None:
    made = await markers.create(3, "run-1")
    assert (made.epoch, made.run_id) == (3, "run-1")
    assert len(made.generation) == 8
    assert await markers.read() == made


async def test_a_flush_is_noticed_at_once(markers: MarkerStore, state: InMemoryStateStore) -> None:
    await markers.create(1, "run-1")
    assert await markers.read() is not None
    state.flush()
    assert await markers.read() is None


async def test_each_generation_is_another(markers: MarkerStore) -> None:
    made = [await markers.create(1, "run-1") for _ in range(20)]
    assert len({marker.generation for marker in made}) == 20
    assert await markers.read() == made[-1]


async def test_of_two_who_make_one_one_is_told(markers: MarkerStore, state: InMemoryStateStore) -> None:
    class Late(InMemoryStateStore):
        """Another replica's marker appears between the look and the write."""

        async def get(self, key: str) -> None:
            await super().create(key, {"generation": "other", "epoch": 1, "run_id": "r"})
            return None  # noqa: RET501

    late = Late()
    with pytest.raises(StateConflict):
        await MarkerStore(late).create(1, "run-1")


async def test_a_restart_of_redis_keeps_the_generation(markers: MarkerStore) -> None:
    made = await markers.create(1, "run-1")
    renewed = await markers.renew_run_id(made, "run-2")
    assert renewed == Marker(made.generation, 1, "run-2")
    assert await markers.read() == renewed


async def test_it_says_when_its_generation_began_where_that_was_noted(
    markers: MarkerStore, state: InMemoryStateStore
) -> None:
    began = datetime(2026, 1, 5, 9, tzinfo=UTC)
    made = await markers.create(1, "run-1", began)
    assert made.began == began
    renewed = await markers.renew_run_id(made, "run-2")
    assert await markers.read() == renewed
    assert renewed.began == began
    state.flush()
    await state.create(MARKER_KEY, {"generation": "g", "epoch": 1, "run_id": "r"})
    of_an_older_release = await markers.read()
    assert of_an_older_release == Marker("g", 1, "r", None)


async def test_another_generations_run_id_is_not_renewed(
    markers: MarkerStore, state: InMemoryStateStore
) -> None:
    made = await markers.create(1, "run-1")
    newer = await markers.create(2, "run-1")
    with pytest.raises(StateConflict):
        await markers.renew_run_id(made, "run-2")
    assert await markers.read() == newer
    state.flush()
    with pytest.raises(StateConflict):
        await markers.renew_run_id(made, "run-2")


async def test_not_knowing_is_not_missing(markers: MarkerStore, state: InMemoryStateStore) -> None:
    state.fail_next(StateUnavailable("away"))
    with pytest.raises(StateUnavailable):
        await markers.read()
