"""The checker finds each kind of broken promise in made-up facts, and nothing where all was kept."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from tests.chaos.check import Finding, Harm, check, latest, notification_of
from tests.chaos.facts import Facts, Heard
from tests.chaos.model import LONG_ENOUGH, Every, Model, Rule, Series, Status, Task, Wanted

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
FIRE = NOW - timedelta(minutes=1)
ADA = "ada@example.com"
RULE = Rule(Every.WEEK, date(2026, 3, 9), 9, "Europe/Berlin")


def _task(task_id: str, *, series: Series | None = None, slot: int = 0) -> Task:
    wanted = Wanted(f"Title of {task_id}", "medium", Status.OPEN, {f"r-{task_id}": FIRE})
    due = NOW + timedelta(hours=1) if series is None else series.rule.due(slot)
    task = Task(task_id, "ada", due, 1, wanted, series, slot)
    task.acknowledge(wanted, 1, FIRE - timedelta(minutes=1), "created")
    return task


def _item(task: Task, **other: Any) -> dict[str, Any]:
    return {
        "id": task.task_id,
        "title": task.wanted.title,
        "priority": task.wanted.priority,
        "status": "completed" if task.wanted.status is Status.COMPLETED else "pending",
        "version": task.version,
        "due_at": task.due.isoformat(),
        "series_id": task.series.series_id if task.series else None,
        "recurrence": {"rrule": "FREQ=DAILY"} if task.series else None,
        "reminders": [{"id": name, "at": at.isoformat()} for name, at in task.wanted.reminders.items()],
        **other,
    }


def _line(kind: str, **detail: Any) -> dict[str, Any]:
    return {"kind": kind, "detail": detail}


def _lines(task: Task) -> list[dict[str, Any]]:
    [(reminder, at)] = task.wanted.reminders.items()
    return [
        *(_line(act) for act in task.acts),
        _line("reminder_scheduled", reminder_id=reminder, fire_at=at.isoformat()),
        _line("reminder_fired", reminder_id=reminder, fire_at=at.isoformat()),
        *(
            _line("notification_delivered", notification_id=notification_of((reminder, at)), channel=channel)
            for channel in ("inbox", "email")
        ),
    ]


def _kept(*tasks: Task) -> tuple[Model, Facts]:
    """These tasks, and facts in which each promise about them was kept."""
    model = Model(emails={"ada": ADA, "bob": "bob@example.com"})
    for task in tasks:
        model.add(task)
    fires = {task.task_id: next(iter(task.wanted.reminders.items())) for task in tasks}
    facts = Facts(
        now=NOW,
        tasks={task.task_id: _item(task) for task in tasks},
        owners=dict.fromkeys(fires, "ada"),
        inbox=[Heard(notification_of(fire), "ada", name, fire, FIRE) for name, fire in fires.items()],
        mails=Counter({(notification_of(fire), ADA): 1 for fire in fires.values()}),
        activity={task.task_id: _lines(task) for task in tasks},
        published=frozenset((task.task_id, version) for task in tasks for version in task.versions),
        announced={fire: frozenset({"event"}) for fire in fires.values()},
        scheduled={task.task_id: task.version for task in tasks},
        positions={task.task_id: task.version for task in tasks if task.series is not None},
        records={task.task_id: task.version for task in tasks},
    )
    return model, facts


def _harms(findings: list[Finding]) -> set[Harm]:
    return {finding.harm for finding in findings}


def test_nothing_is_found_where_all_was_kept() -> None:
    assert check(*_kept(_task("a"), _task("b"))) == []


def test_a_reminder_that_was_not_heard_is_lost() -> None:
    model, facts = _kept(_task("a"), _task("b"))
    found = check(model, replace(facts, inbox=facts.inbox[1:]))
    assert [(one.harm, one.subject, one.at) for one in found] == [(Harm.LOST, "a", FIRE)]


def test_a_reminder_that_was_heard_twice_is_doubled() -> None:
    model, facts = _kept(_task("a"))
    found = check(model, replace(facts, inbox=[*facts.inbox, replace(facts.inbox[0], notification_id="n2")]))
    assert (Harm.DOUBLED, "r-a") in {(one.harm, one.subject) for one in found}


def test_what_was_given_up_in_time_is_not_to_be_heard() -> None:
    task = _task("a")
    task.acknowledge(
        replace(task.wanted, status=Status.COMPLETED), 2, FIRE - timedelta(seconds=1), "completed"
    )
    model, facts = _kept(task)
    without = replace(facts, inbox=[], mails=Counter())
    assert check(model, without) == []
    for found in (replace(without, inbox=facts.inbox), replace(without, mails=facts.mails)):
        assert _harms(check(model, found)) == {Harm.WRONG}
    task.heard.update(task.spells)
    assert Harm.WRONG in _harms(check(model, facts)), "that somebody saw it there excuses nothing"


def test_what_is_another_persons_is_wrong() -> None:
    task = _task("a")
    model, facts = _kept(task)
    there = [replace(facts.inbox[0], user_id="bob")]
    for found in (
        replace(facts, inbox=there),
        replace(facts, owners={"a": "bob"}),
        replace(facts, mails=facts.mails + Counter({(facts.inbox[0].notification_id, "bob@example.com"): 1})),
    ):
        assert _harms(check(model, found)) == {Harm.WRONG}


def test_a_mail_that_nobody_asked_for_is_wrong() -> None:
    model, facts = _kept(_task("a"))
    other = Counter({(notification_of(("r-x", FIRE)), ADA): 1})
    assert _harms(check(model, replace(facts, mails=facts.mails + other))) == {Harm.WRONG}


def test_a_delivery_at_another_time_is_no_delivery_of_this_one() -> None:
    task = _task("a")
    model, facts = _kept(task)
    lines = _lines(task)
    lines[-1]["detail"]["notification_id"] = notification_of(("r-a", FIRE - timedelta(minutes=5)))
    assert _harms(check(model, replace(facts, activity={"a": lines}))) == {Harm.LOST}


def test_what_was_completed_after_its_time_may_have_been_heard_or_not() -> None:
    task = _task("a")
    task.acknowledge(
        replace(task.wanted, status=Status.COMPLETED), 2, FIRE + timedelta(seconds=1), "completed"
    )
    model, facts = _kept(task)
    assert check(model, facts) == []
    assert check(model, replace(facts, inbox=[])) == []
    task.heard.update(task.spells)
    assert _harms(check(model, replace(facts, inbox=[]))) == {Harm.LOST}, "it was there and is not any more"


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.DELETED])
def test_what_was_closed_long_after_its_time_was_to_be_heard_before(status: Status) -> None:
    task = _task("a")
    late = FIRE + LONG_ENOUGH + timedelta(seconds=1)
    task.acknowledge(replace(task.wanted, status=status), 2, late, status)
    model, facts = _kept(task)
    if status is Status.DELETED:
        facts = replace(facts, tasks={}, deleted=frozenset({"a"}))
    assert check(model, facts) == []
    assert check(model, replace(facts, mails=Counter())) == [], "it may have been cancelled on its way"
    assert [(one.harm, one.at) for one in check(model, replace(facts, inbox=[]))] == [(Harm.LOST, FIRE)]


def test_a_deleted_task_tells_what_became_of_it() -> None:
    task = _task("a")
    task.acknowledge(replace(task.wanted, status=Status.DELETED), 1, FIRE + timedelta(seconds=5), "deleted")
    task.heard.update(task.spells)
    model, facts = _kept(task)
    facts = replace(facts, tasks={}, deleted=frozenset({"a"}))
    assert check(model, facts) == []
    assert {one.what for one in check(model, replace(facts, activity={}))} == {
        "0 lines of created instead of 1",
        "0 lines of deleted instead of 1",
        "the line of reminder_scheduled",
        "the line of reminder_fired",
    }


def test_a_time_that_was_passed_over_need_not_be_told() -> None:
    """Of edits in quick succession the schedule sees the last alone."""
    task = _task("a")
    for version, seconds in ((2, 40), (3, 50)):
        at = FIRE - timedelta(seconds=seconds)
        task.acknowledge(replace(task.wanted, reminders={"r-a": at}), version, FIRE - LONG_ENOUGH, "updated")
    assert len(task.spells) == 3
    assert check(*_kept(task)) == []


def test_what_was_opened_again_is_to_be_heard_after_all() -> None:
    task = _task("a")
    closed = replace(task.wanted, status=Status.COMPLETED)
    task.acknowledge(closed, 2, FIRE - timedelta(seconds=1), "completed")
    task.acknowledge(replace(closed, status=Status.OPEN), 3, FIRE + timedelta(seconds=1), "reopened")
    model, facts = _kept(task)
    assert check(model, facts) == []
    assert _harms(check(model, replace(facts, inbox=[]))) == {Harm.LOST}


def test_an_entry_that_nobody_asked_for_is_wrong() -> None:
    model, facts = _kept(_task("a"))
    stranger = replace(facts.inbox[0], fire=("r-a", FIRE + timedelta(seconds=5)))
    assert _harms(check(model, replace(facts, inbox=[*facts.inbox, stranger]))) == {Harm.WRONG}


@pytest.mark.parametrize(
    "other",
    [{"title": "Another"}, {"status": "completed"}, {"version": 0}, {"reminders": []}],
    ids=["title", "status", "version", "reminders"],
)
def test_an_acknowledged_write_that_is_not_there_is_lost(other: dict[str, Any]) -> None:
    task = _task("a")
    model, facts = _kept(task)
    assert Harm.LOST in _harms(check(model, replace(facts, tasks={"a": _item(task, **other)})))


def test_a_task_that_is_gone_or_back_from_its_deletion_is_lost() -> None:
    task = _task("a")
    model, facts = _kept(task)
    assert Harm.LOST in _harms(check(model, replace(facts, tasks={})))
    task.acknowledge(replace(task.wanted, status=Status.DELETED), 1, NOW, "deleted")
    facts = replace(facts, activity={"a": _lines(task)})
    assert Harm.LOST in _harms(check(model, facts))
    assert check(model, replace(facts, tasks={}, deleted=frozenset({"a"}))) == []


def test_an_event_that_never_got_out_is_lost() -> None:
    model, facts = _kept(_task("a"))
    assert _harms(check(model, replace(facts, published=frozenset()))) == {Harm.LOST}


def test_a_task_that_nobody_made_is_doubled() -> None:
    model, facts = _kept(_task("a"))
    other = {**facts.tasks, "b": _item(_task("b"))}
    schedules = {**facts.scheduled, "b": 1}
    assert _harms(check(model, replace(facts, tasks=other, scheduled=schedules))) == {Harm.DOUBLED}


def test_a_completed_instance_has_one_successor_on_the_right_date() -> None:
    task = _task("a", series=Series("s", RULE))
    task.acknowledge(replace(task.wanted, status=Status.COMPLETED), 2, NOW, "completed")
    model, facts = _kept(task)
    facts = replace(facts, activity={"a": [*_lines(task), _line("occurrence_generated")]})

    def with_successors(*dues: datetime) -> set[Harm]:
        after = {
            str(number): _item(task, id=str(number), status="pending", version=1, due_at=due.isoformat())
            for number, due in enumerate(dues)
        }
        known = dict.fromkeys(after, 1)
        tasks = {**facts.tasks, **after}
        return _harms(check(model, replace(facts, tasks=tasks, scheduled=known, positions=known)))

    next_week = RULE.due(1)
    assert with_successors(next_week) == set()
    assert with_successors() == {Harm.LOST}
    assert with_successors(next_week, next_week) == {Harm.DOUBLED}
    assert with_successors(next_week + timedelta(hours=1)) == {Harm.LOST, Harm.DOUBLED}


def test_a_mail_that_did_not_come_is_lost_and_a_copy_is_allowed() -> None:
    model, facts = _kept(_task("a"))
    assert check(model, replace(facts, mails=facts.mails + facts.mails)) == []
    assert _harms(check(model, replace(facts, mails=Counter()))) == {Harm.LOST}


@pytest.mark.parametrize("missing", range(5))
def test_a_step_that_is_not_in_the_activity_is_lost(missing: int) -> None:
    task = _task("a")
    model, facts = _kept(task)
    lines = _lines(task)
    del lines[missing]
    assert _harms(check(model, replace(facts, activity={"a": lines}))) == {Harm.LOST}


def test_a_firing_that_is_told_twice_is_doubled() -> None:
    task = _task("a")
    model, facts = _kept(task)
    assert _harms(check(model, replace(facts, activity={"a": _lines(task) + _lines(task)}))) == {Harm.DOUBLED}


@pytest.mark.parametrize(
    "waiting",
    [
        {"outbox_waiting": 1},
        {"outbox_parked": 1},
        {"dead_letters": {"reminders-dlq": 1}},
        {"behind": {"notifier of reminder-due": 1}},
        {"overdue": {"{due:reminders:0}": ["a"]}},
        {"deliveries": {"{due:deliveries-email:0}": 1}},
    ],
    ids=str,
)
def test_what_waits_anywhere_is_stuck(waiting: dict[str, Any]) -> None:
    model, facts = _kept(_task("a"))
    assert _harms(check(model, replace(facts, **waiting))) == {Harm.STUCK}


def test_one_reminder_under_two_ids_is_doubled() -> None:
    model, facts = _kept(_task("a"))
    twice = {fire: frozenset({"one", "two"}) for fire in facts.announced}
    assert _harms(check(model, replace(facts, announced=twice))) == {Harm.DOUBLED}


def test_what_the_state_store_knows_of_another_version_is_wrong() -> None:
    model, facts = _kept(_task("a"))
    wrongs: list[dict[str, Any]] = [
        {"scheduled": {"a": 0}},
        {"scheduled": {}},
        {"records": {"a": 0}},
        {"records": {"a": 9}},
    ]
    for wrong in wrongs:
        assert _harms(check(model, replace(facts, **wrong))) == {Harm.WRONG}, wrong
    assert check(model, replace(facts, records={})) == []
    recurring = {"a": {**facts.tasks["a"], "recurrence": {"rrule": "FREQ=DAILY"}}}
    version = facts.tasks["a"]["version"]
    assert check(model, replace(facts, tasks=recurring, positions={"a": version})) == []
    behind: list[dict[str, int]] = [{}, {"a": version - 1}]
    for positions in behind:
        found = replace(facts, tasks=recurring, positions=positions)
        assert _harms(check(model, found)) == {Harm.WRONG}


def test_what_nobody_knows_is_not_judged() -> None:
    task = _task("a")
    task.unknown = True
    model, facts = _kept(task)
    assert check(model, replace(facts, inbox=[], activity={}, published=frozenset())) == []


def test_who_asks_for_a_reminder_after_its_time_does_not_make_it_late() -> None:
    task = _task("a")
    model, facts = _kept(task)
    late = timedelta(seconds=30)
    facts = replace(facts, inbox=[replace(one, at=FIRE + late) for one in facts.inbox])
    assert latest(model, facts) == 30
    completed = replace(task.wanted, status=Status.COMPLETED)
    task.acknowledge(completed, 2, FIRE + timedelta(seconds=1), "completed")
    task.acknowledge(replace(completed, status=Status.OPEN), 3, FIRE + timedelta(seconds=28), "reopened")
    assert latest(model, facts) == 2


def test_a_fault_does_not_make_a_reminder_late_but_what_comes_after_it_does() -> None:
    model, facts = _kept(_task("a"))
    facts = replace(facts, inbox=[replace(one, at=FIRE + timedelta(seconds=30)) for one in facts.inbox])

    def seconds(*faults: tuple[int, int]) -> float:
        return latest(
            model, facts, [(FIRE + timedelta(seconds=a), FIRE + timedelta(seconds=b)) for a, b in faults]
        )

    assert seconds((-9, -1)) == 30
    assert seconds((-5, 20)) == 10
    assert seconds((5, 12), (14, 25)) == 5
    assert seconds((31, 60)) == 30, "it came before that one began"
