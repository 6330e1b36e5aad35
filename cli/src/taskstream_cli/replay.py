"""Give a dead letter to the consumer that failed, and to no other: its own event route, with its app token.

The other consumers of the topic had the event long ago. The handler is the one that the sidecar calls, so whatever
keeps a second delivery from having a second effect keeps a replay from it too.
"""

from __future__ import annotations

import httpx

from taskstream_cli.failing import Unable
from taskstream_cli.letters import DeadLetter

_TOKEN_HEADER = "dapr-api-token"  # noqa: S105 - a header's name
_TIMEOUT_SECONDS = 30.0


class NotTaken(Exception):
    """The service had the event and did not handle it; the text says what it answered."""


async def replay(client: httpx.AsyncClient, letter: DeadLetter, token: str) -> None:
    """Deliver once more. Raises NotTaken; Unable when the service did not let us in; httpx.TransportError."""
    if not letter.topic:
        raise NotTaken("no header says from which topic it came")
    answer = await client.post(
        f"/events/{letter.topic}",
        content=letter.event,
        headers={"content-type": "application/cloudevents+json", _TOKEN_HEADER: token},
        timeout=_TIMEOUT_SECONDS,
    )
    if answer.status_code == httpx.codes.FORBIDDEN:
        raise Unable(
            f"{letter.service} refused the token: set APP_API_TOKEN to the one that {letter.service} runs with."
        )
    if answer.status_code == httpx.codes.NOT_FOUND:
        raise NotTaken(f"{letter.service} has no route for {letter.topic}")
    outcome = answer.json().get("status") if answer.is_success else f"HTTP {answer.status_code}"
    if outcome == "DROP":
        raise NotTaken("it still does not parse")
    if outcome != "SUCCESS":
        raise NotTaken(f"the handler failed again ({outcome}); the log of {letter.service} says why")
