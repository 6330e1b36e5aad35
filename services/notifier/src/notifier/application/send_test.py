"""Send a test message through each of a person's channels, at once and past every queue."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

from event_contracts.values import Channel
from notifier.application.errors import ChannelError
from notifier.application.ports import Clock, Inbox, Languages, Mailer, TaskApi
from notifier.application.senders import OutsideSenders
from notifier.domain.notifications import OUTSIDE
from notifier.domain.wording import test_message


@dataclass(frozen=True, slots=True)
class TestOutcome:
    """How one place fared. `reason` is None when it took the message."""

    __test__ = False  # no test class, whatever its name

    channel: Channel
    destination: UUID | None
    reason: str | None


class SendTest:
    """Tries each channel once: who asks looks at the answer. Quiet hours do not hold back what was just asked for.

    Nothing is queued or tried again, and the lane of a destination that is left alone stays as it is.
    """

    def __init__(
        self,
        *,
        inbox: Inbox,
        mailer: Mailer,
        ways: OutsideSenders,
        task_api: TaskApi,
        languages: Languages,
        clock: Clock,
        time_limit: float,
    ) -> None:
        self._inbox = inbox
        self._mailer = mailer
        self._ways = ways
        self._task_api = task_api
        self._languages = languages
        self._clock = clock
        self._time_limit = time_limit

    async def run(self, user_id: UUID) -> Sequence[TestOutcome]:
        """Send it; each channel that is switched on has an outcome. Raises TaskApiUnavailable."""
        self._task_api.forget(user_id)  # what was changed a moment ago is what shall be tried
        contact = await self._task_api.contact(user_id)
        if contact is None:
            return []
        now = await self._clock.now()
        message = test_message(uuid4(), user_id, now, self._languages.words(contact.locale))
        tries: list[tuple[Channel, UUID | None, Awaitable[None]]] = [
            (Channel.INBOX, None, self._inbox.add(message, None, now))
        ]
        if Channel.EMAIL in contact.channels:
            tries.append((Channel.EMAIL, None, self._mailer.send(message, contact, now)))
        for channel in OUTSIDE:
            tries += [
                (channel, place.id, self._ways.send(place, message, now))
                for place in contact.destinations(channel)
            ]
        reasons = await asyncio.gather(*(self._why_not(sending) for *_, sending in tries))
        return [
            TestOutcome(channel, where, reason)
            for (channel, where, _), reason in zip(tries, reasons, strict=True)
        ]

    async def _why_not(self, sending: Awaitable[None]) -> str | None:
        try:
            async with asyncio.timeout(self._time_limit):
                await sending
        except ChannelError as error:
            return error.reason
        except TimeoutError:
            return "no answer in time"
        return None
