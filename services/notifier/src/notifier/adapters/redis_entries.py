"""What Redis keeps of one delivery: a member of a due index, an entry with what is known, a dedupe key."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from uuid import UUID

from event_contracts.notifications import DeliveryOutcome
from event_contracts.origin import Origin
from event_contracts.values import Channel
from notifier.domain.notifications import Attempt, Delivery, Notification, Progress, Verdict
from service_kit.due_index import to_instant, to_score

DEDUPE_TTL = timedelta(days=30)
"""Far longer than reminder-due is kept on the bus, so no copy of the news finds its key gone."""


def member_of(notification_id: UUID, channel: Channel, destination: UUID | None = None) -> str:
    return ":".join(str(part) for part in (notification_id, channel, destination) if part is not None)


def entry_key(member: str) -> str:
    return f"delivery:{member}"


def dedupe_key(member: str) -> str:
    return f"announced:{member}"


def person_key(user_id: UUID) -> str:
    """The person's members, so that they can be erased."""
    return f"deliveries-of:{user_id}"


def attempts_key(user_id: UUID, notification_id: UUID) -> str:
    return f"attempts:{user_id}:{notification_id}"


def shelf_key(user_id: UUID) -> str:
    """Places of what was cancelled while a task was closed, all with score 0, so that one task's are one range."""
    return f"shelf:{user_id}"


def shelf_place(notification: Notification, member: str) -> str:
    fire_at = notification.fire_at.isoformat()
    return f"{notification.task_id}|{notification.reminder_id or ''}|{fire_at}|{member}"


def read_place(place: str, user_id: UUID) -> Delivery:
    """Without when it fired, so that it is not called late: its task was closed meanwhile."""
    task_id, reminder_id, fire_at, member = place.split("|")
    notification_id, channel, destination = read_member(member)
    return Delivery(
        Notification(
            notification_id, UUID(task_id), _id(reminder_id), user_id, datetime.fromisoformat(fire_at)
        ),
        channel,
        destination=destination,
    )


def followers_key(member: str) -> str:
    """The members that go out with this one."""
    return f"followers:{member}"


def digests_key(user_id: UUID) -> str:
    """For each of the person's places, the member that others are put to."""
    return f"digests-of:{user_id}"


def place_of(channel: Channel, destination: UUID | None) -> str:
    return str(channel) if destination is None else f"{channel}:{destination}"


def index_name(channel: Channel, destination: UUID | None) -> str:
    """The due index in which it waits: the channel's, or that of its destination's lane."""
    return f"deliveries-{channel}" if destination is None else f"lane-{channel}-{destination}"


def read_member(member: str) -> tuple[UUID, Channel, UUID | None]:
    notification_id, channel, *destination = member.split(":")
    return UUID(notification_id), Channel(channel), UUID(destination[0]) if destination else None


def new_entry(notification: Notification, origin: Origin) -> dict[str, str]:
    fields = {
        "task": str(notification.task_id),
        "reminder": str(notification.reminder_id or ""),
        "user": str(notification.user_id),
        "fire_at": notification.fire_at.isoformat(),
    }
    if notification.fired_at is not None:
        fields["fired_at"] = notification.fired_at.isoformat()
    if origin.traceparent is not None:
        fields["traceparent"] = origin.traceparent
    if origin.correlation_id is not None:
        fields["correlation"] = origin.correlation_id
    return fields


def queue_args(notification: Notification, member: str, now: datetime) -> list[str | int]:
    """The first arguments of the scripts that queue it."""
    return [
        member,
        # Past already by Redis's clock, which let it fire; this machine's own may be ahead of it.
        to_score(min(now, notification.fire_at)),
        int(DEDUPE_TTL.total_seconds()),
        to_score(now),
        to_score(now - DEDUPE_TTL),
        shelf_place(notification, member),
    ]


def progress_fields(progress: Progress) -> dict[str, str]:
    fields = {"attempts": str(progress.attempts), "postponements": str(progress.postponements)}
    if progress.begun:
        fields["begun"] = "1"
    if progress.first_tried_at is not None:
        fields["first_tried_at"] = progress.first_tried_at.isoformat()
    return fields


def read_delivery(member: str, entry: dict[str, str]) -> Delivery:
    notification_id, channel, destination = read_member(member)
    first, fired = entry.get("first_tried_at"), entry.get("fired_at")
    verdict = entry.get("verdict")
    return Delivery(
        Notification(
            notification_id=notification_id,
            task_id=UUID(entry["task"]),
            reminder_id=_id(entry["reminder"]),
            user_id=UUID(entry["user"]),
            fire_at=datetime.fromisoformat(entry["fire_at"]),
            fired_at=None if fired is None else datetime.fromisoformat(fired),
        ),
        channel,
        Progress(
            attempts=int(entry.get("attempts", 0)),
            postponements=int(entry.get("postponements", 0)),
            first_tried_at=None if first is None else datetime.fromisoformat(first),
            held_until=to_instant(int(entry["held"])) if "held" in entry else None,
            begun="begun" in entry,
        ),
        None if verdict is None else read_verdict(verdict),
        destination,
        Origin(entry.get("traceparent"), entry.get("correlation")),
    )


def write_verdict(verdict: Verdict) -> str:
    return json.dumps(
        [verdict.outcome, verdict.attempt, to_score(verdict.at), verdict.reason, verdict.until_changed]
    )


def read_verdict(text: str) -> Verdict:
    outcome, attempt, at_ms, reason, until_changed = json.loads(text)
    return Verdict(DeliveryOutcome(outcome), attempt, to_instant(at_ms), reason, until_changed)


def write_attempt(attempt: Attempt) -> str:
    where = None if attempt.destination is None else str(attempt.destination)
    return json.dumps(
        [attempt.channel, where, attempt.number, to_score(attempt.at), attempt.outcome, attempt.reason]
    )


def read_attempt(text: str) -> Attempt:
    channel, where, number, at_ms, outcome, reason = json.loads(text)
    return Attempt(
        Channel(channel),
        None if where is None else UUID(where),
        number,
        to_instant(at_ms),
        None if outcome is None else DeliveryOutcome(outcome),
        reason,
    )


def _id(text: str) -> UUID | None:
    return UUID(text) if text else None


def flat(fields: dict[str, str]) -> list[str]:
    return [part for item in fields.items() for part in item]
