"""Series whose instances pile up, whatever happens; and proof that the model sees what is taken out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.unit.recurrence.piling_model import PilingWorld
from tests.unit.seeds import of_seed, until_it_fails

from event_contracts.series import Overdue
from recurrence.application import propose
from recurrence.domain.schedule import scheduled


async def play(seed: int) -> None:
    world = PilingWorld(seed)
    await world.run()
    world.check()


@pytest.mark.parametrize("seed", range(60))
async def test_whatever_happens_each_series_comes_to_today(seed: int) -> None:
    await play(seed)


@pytest.mark.nightly
@pytest.mark.parametrize("block", range(100))
async def test_whatever_happens_for_long(block: int) -> None:
    for seed in range(1_000 + block * 100, 1_100 + block * 100):
        with of_seed(seed):
            await play(seed)


async def test_the_model_sees_a_date_that_is_not_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a place in the index nobody comes back for the next date."""
    init = PilingWorld.__init__

    def deaf(world: PilingWorld, seed: int) -> None:
        init(world, seed)
        for replica in world.replicas:
            monkeypatch.setattr(replica.awaited, "expect", _nothing)

    monkeypatch.setattr(PilingWorld, "__init__", deaf)
    assert "is behind" in await until_it_fails(play, 40)


async def test_the_model_sees_a_slot_that_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under `catch_up` each slot has its turn; to go on at today's leaves some out."""

    def hasty(series: Any, *rest: Any) -> Any:
        policies = series.policies.model_copy(update={"overdue": Overdue.NEXT_FUTURE})
        return scheduled(replace(series, policies=policies), *rest)

    monkeypatch.setattr(propose, "scheduled", hasty)
    assert "was left out" in await until_it_fails(play, 40)


async def _nothing(*_: object) -> None:
    return None
