"""One completion, one successor, whatever happens: worlds of the model, each of a seed of its own, and proof that it
sees what is taken out."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.recurrence.model import World

from recurrence.application import propose
from recurrence.domain.successor import next_slot


@pytest.mark.parametrize("seed", range(80))
async def test_whatever_happens_each_closing_has_one_successor(seed: int) -> None:
    world = World(seed)
    await world.run()
    world.check()


@pytest.mark.nightly
@pytest.mark.parametrize("block", range(50))
async def test_whatever_happens_for_long(block: int) -> None:
    for seed in range(1_000 + block * 100, 1_100 + block * 100):
        world = World(seed)
        await world.run()
        world.check()


async def _run_until_it_fails(spoil: Callable[[World], None]) -> str:
    """What the model says of forty worlds that `spoil` took something from."""
    for seed in range(40):
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


async def test_the_model_sees_a_clock_in_the_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slot that depends on when it was asked for gives one closing two proposals."""
    asked = itertools.count()

    def by_the_clock(series: Any, key: str, closed_at: Any, *rest: Any) -> Any:
        found = next_slot(series, key, closed_at, *rest)
        return found and replace(found, occurrence_key=f"{found.occurrence_key[:-2]}{next(asked) % 60:02}")

    monkeypatch.setattr(propose, "next_slot", by_the_clock)
    assert "was proposed as" in await _run_until_it_fails(lambda world: None)
