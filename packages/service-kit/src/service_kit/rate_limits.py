"""Rate limits in Redis: so many requests a minute, spread evenly, with bursts up to the whole (GCRA).

All limits of a request are asked in one round trip, and a request that one of them refuses counts for none. While Redis
is away everybody may pass: a limit protects from too much, it is no lock.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from prometheus_client import Counter
from redis.asyncio import Redis
from redis.exceptions import RedisError

from service_kit.logs import get_logger
from service_kit.problems import Problem

PERIOD_SECONDS = 60
REMAINING = "RateLimit-Remaining"
REFUSED = Counter("rate_limit_refused_total", "Requests that a rate limit refused, by limit.", ["limit"])
SKIPPED = Counter("rate_limit_skipped_total", "Requests that passed unlimited, Redis being away.")

# For each key the moment at which everything asked so far would be paid off. A request moves it on by its share; it may
# lie a period ahead, no more. The clock is that of Redis, one for all replicas.
_SCRIPT = """
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
local period = tonumber(ARGV[1])
local moved, tightest, waiting = {}, -1, 0
for i, key in ipairs(KEYS) do
    local share = period / tonumber(ARGV[i + 1])
    local paid = math.max(tonumber(redis.call('GET', key) or now), now) + share
    local wait = paid - period - now
    if wait > 0.5 and wait > waiting then
        waiting, tightest = wait, i
    end
    moved[i] = paid
end
if waiting > 0 then
    return {tightest, math.ceil(waiting), 0, math.ceil(waiting)}
end
local left, which = math.huge, 1
for i, key in ipairs(KEYS) do
    redis.call('SET', key, string.format('%.3f', moved[i]), 'PX', math.ceil(moved[i] - now) + 1)
    local share = period / tonumber(ARGV[i + 1])
    local remaining = math.floor((period - (moved[i] - now)) / share + 0.001)
    if remaining < left then
        left, which = remaining, i
    end
end
return {which, 0, left, math.ceil(moved[which] - now)}
"""

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Limit:
    """`per_minute` requests for each `subject` of a kind: an address, a user."""

    kind: str
    subject: str
    per_minute: int


class RateLimiter:
    """Counts requests against limits."""

    def __init__(self, redis: Redis) -> None:
        self._run = redis.register_script(_SCRIPT)

    async def take(self, limits: Sequence[Limit]) -> dict[str, str]:
        """Count one request against all of these limits; the RateLimit headers of the tightest one.

        Raises Problem 429, with Retry-After, when one of them is used up.
        """
        if not limits:
            return {}
        keys = [f"rate:{limit.kind}:{limit.subject}" for limit in limits]
        counts = [limit.per_minute for limit in limits]
        try:
            which, wait_ms, left, reset_ms = await self._run(keys=keys, args=[PERIOD_SECONDS * 1000, *counts])
        except RedisError as error:
            SKIPPED.inc()
            _log.warning("rate_limits_skipped", error=str(error))
            return {}
        tightest = limits[int(which) - 1]
        if wait_ms:
            raise self._refused(tightest, int(wait_ms))
        return _headers(tightest, int(left), int(reset_ms))

    def _refused(self, limit: Limit, wait_ms: int) -> Problem:
        REFUSED.labels(limit.kind).inc()
        seconds = math.ceil(wait_ms / 1000)
        return Problem(
            429,
            "too_many_requests",
            f"That is more than {limit.per_minute} requests a minute: try again in {seconds} s.",
            headers={"Retry-After": str(seconds), **_headers(limit, 0, wait_ms)},
        )


def _headers(limit: Limit, left: int, reset_ms: int) -> dict[str, str]:
    """Reset counts the seconds until the whole budget is there again; in a refusal, until one request is: with
    Retry-After beside it, it may not name another moment (draft-ietf-httpapi-ratelimit-headers-03, 3.4)."""
    return {
        "RateLimit-Limit": str(limit.per_minute),
        REMAINING: str(left),
        "RateLimit-Reset": str(math.ceil(reset_ms / 1000)),
    }
