"""Tell of a try that failed and comes again, for the record alone: nothing waits for it, and nothing follows from it.

The delivery is put off before. The other way round, a process that dies in between would keep it for the rest of its
lease, and a bus that hangs would put off the next try, or let the lease run out and another process make it twice. This
way whatever goes wrong here costs one line of the task's activity: the next try comes at its time and has a line of its
own, and the last word is published until the bus has it.
"""

from __future__ import annotations

import asyncio

import structlog

from notifier.application.batch import Batch
from notifier.application.errors import PublishFailed
from notifier.application.origins import in_its_trace
from notifier.application.ports import Events
from notifier.domain.contact import Contact, name_of
from notifier.domain.notifications import Attempt, Delivery

log = structlog.get_logger(__name__)


async def tell_of_try(events: Events, batch: Batch, failed: Attempt, *, within: float) -> None:
    """Publish it for each notification that was in it, once, in so many seconds; what the bus has not by then is lost.

    Raises nothing that a bus can cause.
    """
    try:
        async with asyncio.timeout(within):
            for one in batch.wanted:
                with in_its_trace(one, batch.claimed):
                    await events.to_be_repeated(one.delivery, failed, name_in(batch.contact, one.delivery))
    except (PublishFailed, TimeoutError) as error:
        log.warning("try_not_told", channel=failed.channel, attempt=failed.number, error=repr(error))


def name_in(contact: Contact | None, delivery: Delivery) -> str | None:
    """The name of a delivery's destination; None where there is none, or not any more."""
    if contact is None or delivery.destination is None:
        return None
    found = contact.destination(delivery.channel, delivery.destination)
    return name_of(found) if found else None
