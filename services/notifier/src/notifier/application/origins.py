"""Carry on, when a delivery is worked on, the trace of whatever had it queued: seconds before, or hours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from notifier.application.ports import Claimed
from service_kit.telemetry import bind_correlation_id, continue_trace, link_to


@contextmanager
def carried_on(claimed: Claimed, name: str) -> Iterator[None]:
    """Run the body in a span `name` of the delivery's trace, with its correlation id.

    What has no origin, because it was put back after a loss or queued by an older release, begins a trace. A digest is
    of its first one's trace, with links to those of the others.
    """
    notification, origin = claimed.delivery.notification, claimed.delivery.origin
    with (
        bind_correlation_id(origin.correlation_id or str(notification.notification_id)),
        continue_trace(origin.traceparent, None, name) as span,
    ):
        span.set_attribute("taskstream.notification_id", str(notification.notification_id))
        for follower in claimed.followers:
            link_to(follower.delivery.origin.traceparent)
        yield


def in_its_trace(one: Claimed, claimed: Claimed) -> AbstractContextManager[None]:
    """That of the delivery itself is the one in which it runs; what follows it in a digest has one of its own."""
    return nullcontext() if one is claimed else carried_on(one, f"deliver {one.delivery.channel}")
