"""Who may call a route. Every route takes one of these, or is public by name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from event_contracts.values import Actor, ActorKind
from service_kit.auth import Principal

Caller = Callable[..., Awaitable[Principal]]
"""A FastAPI dependency that says who calls."""


@dataclass(frozen=True, slots=True)
class Callers:
    """`read` and `write` take a session's token or an API key with that scope; `session` a session's token alone;
    `admin` one of an administrator."""

    read: Caller
    write: Caller
    session: Caller
    admin: Caller


def actor_of(principal: Principal) -> Actor:
    """Give the caller as the one who did it: the API key, or the user in person."""
    if principal.key_id is not None:
        return Actor(kind=ActorKind.API_KEY, id=str(principal.key_id))
    return Actor(kind=ActorKind.USER, id=str(principal.user_id))
