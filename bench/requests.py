"""The accounts that the load comes from, and what they ask for."""

from __future__ import annotations

import random
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from uuid import UUID

import orjson
from bench.http_client import Connection, encode
from bench.load import Requests

_ROOT = "/api/v1/tasks"


class StockExhausted(Exception):
    """There is nothing left to be asked for."""


@dataclass
class Person:
    """An account. `token` holds for 15 minutes after `log_in`."""

    user_id: UUID
    email: str
    password: str
    token: str


async def register(connection: Connection, count: int) -> list[Person]:
    """Make accounts through the API."""
    people = []
    for _ in range(count):
        email, password = f"bench-{secrets.token_hex(6)}@example.com", secrets.token_urlsafe(16)
        body = {"email": email, "password": password}
        answer = await connection.ask(encode("POST", "/api/v1/auth/register", body=body))
        session = orjson.loads(answer.body)
        people.append(Person(UUID(session["user"]["id"]), email, password, session["access_token"]))
    return people


async def log_in(connection: Connection, people: Sequence[Person]) -> None:
    """Renew everybody's token: each route is measured within the life of one."""
    for person in people:
        body = {"email": person.email, "password": person.password}
        answer = await connection.ask(encode("POST", "/api/v1/auth/login", body=body))
        person.token = orjson.loads(answer.body)["access_token"]


def creating(people: Sequence[Person]) -> Requests:
    """A task with a due, a tag and a reminder. The people take turns: tasks of one wait for each other's number."""
    body = {
        "title": "Water the plants",
        "description": "The ferns in the hall, too.",
        "priority": "high",
        "tags": ["home"],
        "due_at": "2090-05-04T16:00:00Z",
        "timezone": "Europe/Berlin",
        "reminders": [{"offset": "PT30M"}],
    }
    return _in_turn([encode("POST", _ROOT, person.token, body) for person in people])


def getting(people: Sequence[Person], owned: Mapping[UUID, Sequence[UUID]]) -> Requests:
    """One of the person's tasks, by chance."""
    chance = random.Random(1)
    return _in_turn(
        [
            encode("GET", f"{_ROOT}/{task}", person.token)
            for person in people
            for task in chance.sample(owned[person.user_id], min(50, len(owned[person.user_id])))
        ],
        shuffled=True,
    )


def listing(people: Sequence[Person]) -> Requests:
    """The first page, as an app opens."""
    return _in_turn([encode("GET", _ROOT, person.token) for person in people])


def searching(people: Sequence[Person]) -> Requests:
    """One word and the beginning of a second."""
    words = ("water+pl", "call+de", "review+bu", "bake+br", "fix+bi", "plan+ga")
    return _in_turn(
        [
            encode("GET", f"{_ROOT}/search?q={word}&limit=20", person.token)
            for person in people
            for word in words
        ],
        shuffled=True,
    )


def completing(people: Sequence[Person], owned: Mapping[UUID, Sequence[UUID]]) -> Requests:
    """A task that is still open, each only once; the people take turns. Raises StockExhausted in the end."""
    following = (
        encode("POST", f"{_ROOT}/{task}/complete", person.token, {})
        for of_each in zip(*(owned[person.user_id] for person in people), strict=False)
        for person, task in zip(people, of_each, strict=True)
    )

    def following_request(_: int) -> bytes:
        request = next(following, None)
        if request is None:
            raise StockExhausted("no task is open any more: fill in more of them")
        return request

    return following_request


def _in_turn(requests: list[bytes], *, shuffled: bool = False) -> Requests:
    if shuffled:
        random.Random(2).shuffle(requests)
    following = cycle(requests)
    return lambda _: next(following)
