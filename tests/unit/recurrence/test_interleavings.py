"""One completion, one successor, whatever happens: worlds of the model, each of a seed of its own, and proof that it
sees what is taken out."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.recurrence.model import World
from tests.unit.seeds import of_seed

from recurrence.application import propose
from recurrence.application.errors import DocumentWriteFailed
from recurrence.domain.successor import next_slot


@pytest.mark.parametrize("seed", range(80))
async def test_whatever_happens_each_closing_has_one_successor(seed: int) -> None:
    world = World(seed)
    await world.run()
    world.check()


@pytest.mark.nightly
@pytest.mark.parametrize("block", range(100))
async def test_whatever_happens_for_long(block: int) -> None:
    for seed in range(1_000 + block * 100, 1_100 + block * 100):
        with of_seed(seed):
            world = World(seed)
            await world.run()
            world.check()


async def _run_until_it_fails(spoil: Callable[[World], None]) -> str:
    """What the model says of worlds that `spoil` took something from; rare is what takes two at one moment."""
    for seed in range(200):
        world = World(seed)
        spoil(world)
        await world.run()
        try:
            world.check()
        except AssertionError as failure:
            return str(failure)
    return ""


async def test_the_model_sees_a_check_that_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the sweep's checks a lost proposal stays lost; a model that cannot see that proves nothing."""

    async def forget(*_: object) -> None:
        return None

    def spoil(world: World) -> None:
        for replica in world.replicas:
            monkeypatch.setattr(replica.checks, "expect", forget)

    assert "has no successor" in await _run_until_it_fails(spoil)


async def test_the_model_sees_a_write_that_asks_for_no_etag() -> None:
    """Who is held up between reading and writing writes an older word over a newer one."""

    def spoil(world: World) -> None:
        write = world.store._write

        def blindly(key: str, value: Mapping[str, Any], etag: str, ttl_seconds: int) -> None:
            held = world.store._find(key)
            etag = "0" if held is None else str(held.version)
            write(key, value, etag, ttl_seconds)

        world.store._write = blindly  # type: ignore[method-assign]

    assert "is out of date" in await _run_until_it_fails(spoil)


@pytest.mark.parametrize("keeper", ["_newest_position", "_newest_series"])
async def test_the_model_sees_an_older_word_that_counts(keeper: str) -> None:
    """What is stored is to win over what is older; an event that was under way for long takes it back else."""

    def spoil(world: World) -> None:
        for replica in world.replicas:
            keep = getattr(replica.evaluation, keeper)

            async def as_if_it_were_new(generation: Any, word: Any, held: Any, keep: Any = keep) -> Any:
                forgotten = held and replace(held, value=replace(held.value, epoch=0))
                return await keep(generation, word, forgotten)

            setattr(replica.evaluation, keeper, as_if_it_were_new)

    assert "is out of date" in await _run_until_it_fails(spoil)


async def test_the_model_sees_a_failed_write_that_is_taken_for_an_older_word() -> None:
    """It may not have landed: acknowledged then, it is lost, and nobody looks after what was closed."""

    def spoil(world: World) -> None:
        for replica in world.replicas:
            for name in ("on_task", "on_series"):
                take_up = getattr(replica.evaluation, name)

                async def carelessly(*said: Any, take_up: Any = take_up) -> Any:
                    with suppress(DocumentWriteFailed):
                        return await take_up(*said)

                setattr(replica.evaluation, name, carelessly)

    said = await _run_until_it_fails(spoil)
    assert "is out of date" in said or "has no successor" in said


async def test_the_model_sees_a_series_older_than_its_instance() -> None:
    """A closing under an edited rule is not to be answered by the rule before."""

    def spoil(world: World) -> None:
        for replica in world.replicas:
            fetch = replica.evaluation._series_as_of

            async def whatever_is_there(
                generation: Any, position: Any, series: Any, fetch: Any = fetch
            ) -> Any:
                return series or await fetch(generation, position, series)

            replica.evaluation._series_as_of = whatever_is_there  # type: ignore[method-assign]

    assert "came of a series older" in await _run_until_it_fails(spoil)


async def test_the_model_sees_a_clock_in_the_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slot that depends on when it was asked for gives one closing two proposals."""
    asked = itertools.count()

    def by_the_clock(series: Any, key: str, closed_at: Any, *rest: Any) -> Any:
        found = next_slot(series, key, closed_at, *rest)
        return found and replace(found, occurrence_key=f"{found.occurrence_key[:-2]}{next(asked) % 60:02}")

    monkeypatch.setattr(propose, "next_slot", by_the_clock)
    assert "was proposed as" in await _run_until_it_fails(lambda world: None)
