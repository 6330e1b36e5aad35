"""When a channel that failed is tried again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from notifier.domain.notifications import Progress


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Waits of about 1, 4, 16, 64 s … and never more than `longest`, until `horizon` after the first try.

    A round without a try (task-api or the bus away) waits less and is never given up: nobody was asked to take
    the message, so nobody refused it. Waits are shortened at random by up to a quarter, so that what failed
    together does not come back together.
    """

    first: timedelta = timedelta(seconds=1)
    factor: int = 4
    longest: timedelta = timedelta(minutes=30)
    horizon: timedelta = timedelta(hours=24)
    longest_postponement: timedelta = timedelta(seconds=30)

    def after_attempt(self, progress: Progress, now: datetime, chance: float) -> datetime | None:
        """When to send again after the attempts in `progress` failed; None when it is time to give up.

        `chance` is uniform in [0, 1). The last try is made at the end of the horizon, not after it.
        """
        if self.is_over(progress, now):
            return None
        end = (progress.first_tried_at or now) + self.horizon
        return min(now + self._wait(progress.attempts, self.longest, self.factor, chance), end)

    def is_over(self, progress: Progress, now: datetime) -> bool:
        """Whether the horizon has passed."""
        return progress.first_tried_at is not None and now >= progress.first_tried_at + self.horizon

    def after_postponement(self, progress: Progress, now: datetime, chance: float) -> datetime:
        """When to ask again after `progress.postponements` rounds in which nothing could be tried."""
        return now + self._wait(progress.postponements, self.longest_postponement, 2, chance)

    def _wait(self, rounds: int, longest: timedelta, factor: int, chance: float) -> timedelta:
        # No wait is as long as factor ** 10 seconds; without a bound the power outgrows what a timedelta holds.
        exponent = min(max(rounds - 1, 0), 10)
        wait: timedelta = min(self.first * factor**exponent, longest) * (1 - chance / 4)
        return wait
