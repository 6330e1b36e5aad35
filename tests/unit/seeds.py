"""Stories that a seed makes: the same seed, the same story."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager


@contextmanager
def of_seed(seed: int) -> Iterator[None]:
    """Let a failure in the body say which seed made it."""
    try:
        yield
    except AssertionError as error:
        error.add_note(f"seed {seed}")
        raise


async def until_it_fails(play: Callable[[int], Awaitable[object]], seeds: int = 300) -> str:
    """What is wrong in the first story that does not end as it should: which one that is, chance decides.

    Empty when each of them ends well.
    """
    for seed in range(seeds):
        try:
            await play(seed)
        except AssertionError as failure:
            return str(failure)
    return ""
