"""How often one user may ask what a rule gives: an answer may take some 50 ms of work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import Depends, Response

from service_kit.auth import Principal
from service_kit.rate_limits import Limit, RateLimiter

KIND = "rules"


def limited(
    principal: Callable[..., Awaitable[Principal]], limiter: RateLimiter | None, per_minute: int
) -> Callable[..., Awaitable[Principal]]:
    """Give a dependency that lets `per_minute` requests of each user pass, with the RateLimit headers, and answers
    429 to what is more; without a limiter everything passes."""

    async def allowed(response: Response, caller: Principal = Depends(principal)) -> Principal:
        if limiter is not None:
            limit = Limit(KIND, str(caller.user_id), per_minute)
            response.headers.update(await limiter.take([limit]))
        return caller

    return allowed
