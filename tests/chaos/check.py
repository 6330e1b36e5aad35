"""Compares what must be true with what was found. Nothing here asks the system: facts in, findings out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from tests.chaos.facts import Facts, Json
from tests.chaos.model import Fire, Model, Series, Status, Task

from event_contracts.envelope import derive_id
from service_kit.due_index import to_score


class Harm(StrEnum):
    """Lost: promised, not there. Doubled: there once too often. Stuck: waits, nobody comes. Wrong: not as asked."""

    LOST = "lost"
    DOUBLED = "doubled"
    STUCK = "stuck"
    WRONG = "wrong"


@dataclass(frozen=True)
class Finding:
    """A promise that was broken. `at` is when it ought to have been kept; None when that cannot be said."""

    harm: Harm
    what: str
    subject: str
    at: datetime | None = None


def check(model: Model, facts: Facts) -> list[Finding]:
    """Every broken promise; empty when all were kept."""
    known = [task for task in model.tasks.values() if not task.unknown]
    return [
        *_writes(known, facts),
        *_strangers(model, facts),
        *(found for series in model.series.values() for found in _successors(series, facts)),
        *_heard(model, known, facts),
        *_mails(model, known, facts),
        *_activity(known, facts),
        *_stuck(facts),
        *_derived(facts),
    ]


def latest(model: Model, facts: Facts, faults: Iterable[tuple[datetime, datetime]] = ()) -> float:
    """Seconds by which the latest reminder came into an inbox after it could have.

    That is after its time; after it was last asked for, as when a task is opened again after its time; and after all
    `faults` (from, until) were over that began before it came.
    """
    late, over = [0.0], list(faults)
    for one in facts.inbox:
        task = model.tasks.get(one.task_id)
        if task is not None and (spell := task.spells.get(one.fire)) is not None:
            before = [until for began, until in over if began <= one.at]
            late.append((one.at - max(one.fire[1], spell.since, *before)).total_seconds())
    return max(late)


def notification_of(fire: Fire) -> str:
    """The one id of a reminder's notification, whichever replica makes it and however often."""
    return str(derive_id("notification", fire[0], to_score(fire[1])))


def _writes(known: Iterable[Task], facts: Facts) -> Iterator[Finding]:
    """Every acknowledged write is there, in the API and in Kafka."""
    for task in known:
        wanted, last = task.wanted, max(task.versions)
        found = facts.tasks.get(task.task_id)
        if facts.owners.get(task.task_id, task.user_id) != task.user_id:
            yield Finding(Harm.WRONG, "a task in somebody else's list", task.task_id)
        if wanted.status is Status.WITHDRAWN:
            pass  # it comes back when its predecessor is closed again: the dates of the series say whether it is there
        elif wanted.status is Status.DELETED:
            if found is not None or task.task_id not in facts.deleted:
                yield Finding(Harm.LOST, f"that it was {wanted.status}", task.task_id)
        elif found is None:
            yield Finding(Harm.LOST, "a task", task.task_id)
        else:
            said = (found["title"], found["priority"], found["status"], _moments(found))
            status = "completed" if wanted.status is Status.COMPLETED else "pending"
            asked = (wanted.title, wanted.priority, status, dict(wanted.reminders))
            if said != asked or found["version"] < last:
                yield Finding(
                    Harm.LOST, f"a change: {said} at {found['version']}, not {asked} at {last}", task.task_id
                )
        for version in sorted(task.versions):
            if (task.task_id, version) not in facts.published:
                yield Finding(Harm.LOST, f"the event of version {version}", task.task_id)


def _strangers(model: Model, facts: Facts) -> Iterator[Finding]:
    """Nobody has a task that they did not make, successors aside."""
    for task_id, found in facts.tasks.items():
        if task_id not in model.tasks and found.get("series_id") not in model.series:
            yield Finding(Harm.DOUBLED, f"a task that nobody knows: {found['title']}", task_id)


def _successors(series: Series, facts: Facts) -> Iterator[Finding]:
    """What was completed or deleted has one successor, on the next date of the rule; what is open has none."""
    if any(task.unknown for task in series.instances):
        return
    wanted = [task for task in series.instances if task.wanted.status in (Status.OPEN, Status.COMPLETED)]
    expected = Counter(task.due for task in wanted)
    if not series.tip.is_open:
        expected[series.rule.due(series.tip.slot + 1)] += 1
    found = Counter(
        datetime.fromisoformat(item["due_at"])
        for item in facts.tasks.values()
        if item.get("series_id") == series.series_id
    )
    for due in expected - found:
        yield Finding(Harm.LOST, f"the instance of {due:%Y-%m-%d %H:%M}", series.series_id)
    for due, count in (found - expected).items():
        yield Finding(Harm.DOUBLED, f"{count} more of {due:%Y-%m-%d %H:%M}", series.series_id)


def _heard(model: Model, known: Iterable[Task], facts: Facts) -> Iterator[Finding]:
    """What fell due is in the inbox exactly once, as is what was seen there; what was given up in time is not."""
    count = Counter(entry.fire for entry in facts.inbox)
    mine: set[Fire] = set()
    for task in known:
        mine.update(task.spells)
        for fire in task.must_be_heard(facts.now) | task.heard:
            if not count[fire]:
                yield Finding(Harm.LOST, f"the reminder of {fire[1]:%H:%M:%S}", task.task_id, fire[1])
        for fire in task.must_not_be_heard():
            if count[fire]:
                yield Finding(
                    Harm.WRONG, f"a reminder given up before {fire[1]:%H:%M:%S}", task.task_id, fire[1]
                )
    for fire, times in count.items():
        if times > 1:
            yield Finding(Harm.DOUBLED, f"{times} entries of one reminder", fire[0], fire[1])
    for entry in facts.inbox:
        task_ = model.tasks.get(entry.task_id)
        if entry.fire not in mine and not (task_ and task_.unknown):
            yield Finding(Harm.WRONG, "an entry that nobody asked for", entry.task_id, entry.at)
        if task_ is not None and entry.user_id != task_.user_id:
            yield Finding(Harm.WRONG, "an entry in somebody else's inbox", entry.task_id, entry.at)
        if entry.notification_id != notification_of(entry.fire):
            yield Finding(Harm.WRONG, "a notification under an id of its own", entry.task_id, entry.fire[1])
    for fire, ids in facts.announced.items():
        if len(ids) > 1:
            yield Finding(
                Harm.DOUBLED, f"{len(ids)} events of one fire time, under ids of their own", fire[0], fire[1]
            )


def _mails(model: Model, known: Iterable[Task], facts: Facts) -> Iterator[Finding]:
    """What is still wanted came by mail as well, what was given up in time did not, and nobody got another's.

    A copy is allowed, for it has the same Message-ID.
    """
    wanted = {notification_of(fire): task for task in model.tasks.values() for fire in task.spells}
    given_up = {notification_of(fire): fire for task in known for fire in task.must_not_be_heard()}
    for notification, address in facts.mails:
        task = wanted.get(notification)
        if task is None:
            if not any(one.unknown for one in model.tasks.values()):
                yield Finding(Harm.WRONG, "a mail that nobody asked for", notification)
        elif model.emails[task.user_id] != address:
            yield Finding(Harm.WRONG, f"a mail to {address}", task.task_id)
        elif notification in given_up:
            at = given_up[notification][1]
            yield Finding(
                Harm.WRONG, f"the mail of a reminder given up before {at:%H:%M:%S}", task.task_id, at
            )
    came = {notification for notification, _ in facts.mails}
    for task in known:
        for fire in task.still_wanted(facts.now):
            if notification_of(fire) not in came:
                yield Finding(Harm.LOST, f"the mail of {fire[1]:%H:%M:%S}", task.task_id, fire[1])


def _activity(known: Iterable[Task], facts: Facts) -> Iterator[Finding]:
    """Each act, each reminder and each delivery is a line of the task's activity, once."""
    for task in known:
        if task.wanted.status is Status.WITHDRAWN:
            continue  # its person did not do that, and knows of no line of it
        lines = facts.activity.get(task.task_id, ())
        told = Counter(line["kind"] for line in lines)
        for act, times in Counter(task.acts).items():
            # A successor that was taken away and came back has lines that its person knows nothing of.
            if told[act] < times or (told[act] > times and not task.slot):
                harm = Harm.LOST if told[act] < times else Harm.DOUBLED
                yield Finding(harm, f"{told[act]} lines of {act} instead of {times}", task.task_id)
        yield from _told_of(task, facts, lines)
        has_successor = task.series is not None and not task.is_open
        if has_successor and not told["occurrence_generated"]:
            yield Finding(Harm.LOST, "the line of the next occurrence", task.task_id)


def _told_of(task: Task, facts: Facts, lines: Iterable[Json]) -> Iterator[Finding]:
    """Each reminder that was to be heard, or was, is told of step by step.

    What was moved or closed in time need not have a line: of edits in quick succession only the last is looked at.
    How it was delivered is told of what is still wanted: the rest may have been cancelled on its way.
    """
    planned, fired, sent = _told(lines)
    still_wanted = task.still_wanted(facts.now)
    for fire in task.must_be_heard(facts.now) | task.heard:
        steps = [("reminder_scheduled", planned[fire]), ("reminder_fired", fired[fire])]
        if fire in still_wanted:
            steps.append(("the delivery to the inbox", sent[(notification_of(fire), "inbox")]))
            steps.append(("the delivery by mail", sent[(notification_of(fire), "email")]))
        for what, times in steps:
            if not times:
                yield Finding(Harm.LOST, f"the line of {what}", task.task_id, fire[1])
            if times > 1 and what == "reminder_fired":
                yield Finding(Harm.DOUBLED, f"{times} lines of {what}", task.task_id, fire[1])


def _told(lines: Iterable[Json]) -> tuple[Counter[Fire], Counter[Fire], Counter[tuple[str, str]]]:
    """How many lines say that a reminder is set for a time, that it fired, and that a channel took its notification."""
    by_kind: dict[str, Counter[Fire]] = {"reminder_scheduled": Counter(), "reminder_fired": Counter()}
    sent: Counter[tuple[str, str]] = Counter()
    for line in lines:
        detail = line["detail"]
        if line["kind"] in by_kind:
            fire = (detail["reminder_id"], datetime.fromisoformat(detail["fire_at"]))
            by_kind[line["kind"]][fire] += 1
        elif line["kind"] == "notification_delivered":
            sent[(detail["notification_id"], detail["channel"])] += 1
    return by_kind["reminder_scheduled"], by_kind["reminder_fired"], sent


def _stuck(facts: Facts) -> Iterator[Finding]:
    """Nothing waits: outbox, dead letters, consumers, leases, retries."""
    waiting = {
        "outbox": facts.outbox_waiting,
        "parked in the outbox": facts.outbox_parked,
        **{f"dead letters in {topic}": count for topic, count in facts.dead_letters.items()},
        **{f"events before {group}": count for group, count in facts.behind.items()},
        **{f"deliveries in {key}": count for key, count in facts.deliveries.items()},
        **{f"due in {key}": len(members) for key, members in facts.overdue.items()},
    }
    for where, count in waiting.items():
        if count:
            yield Finding(Harm.STUCK, f"{count} {where}", where)


def _derived(facts: Facts) -> Iterator[Finding]:
    """The state store has the schedule of each open task, and its position in a series, at the version that the API
    shows; and notifier knows of no other version. It need not know of any: after a loss it has what it hears."""
    for task_id, found in facts.tasks.items():
        version = found["version"]
        stored: dict[str, int | None] = {"record": facts.records.get(task_id, version)}
        if found["status"] == "pending":
            stored["schedule"] = facts.scheduled.get(task_id)
            if found["recurrence"] is not None:
                stored["position"] = facts.positions.get(task_id)
        for kind, other in stored.items():
            if other != version:
                yield Finding(Harm.WRONG, f"a {kind} of version {other}, not {version}", task_id)


def _moments(found: Json) -> dict[str, datetime]:
    return {one["id"]: datetime.fromisoformat(one["at"]) for one in found["reminders"]}


def by_harm(findings: Iterable[Finding]) -> dict[Harm, list[Finding]]:
    """The findings, sorted."""
    sorted_: dict[Harm, list[Finding]] = defaultdict(list)
    for one in findings:
        sorted_[one.harm].append(one)
    return dict(sorted_)
