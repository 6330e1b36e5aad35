"""Each write as a person's program makes it, and what is noted of it once it is acknowledged.

Changes name the version they were made on (If-Match) and creates have a key (Idempotency-Key), so that an attempt that
got no answer and lands later changes nothing. Only an undo has no such guard: a task of which one was doubtful is left
alone.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from tests.chaos.model import Model, Rule, Series, Status, Task, Wanted
from tests.chaos.person import Answer, GivenUpError, Json, Person

_TOKEN = "X-Undo-Token"


@dataclass(frozen=True)
class Mismatch:
    """An answer that was not what the people's notes lead to expect."""

    at: datetime
    task_id: str
    what: str


class Writes:
    """Makes writes and takes notes. Every method raises GivenUpError when no answer ever came."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.mismatches: list[Mismatch] = []

    async def create(
        self, person: Person, title: str, due: datetime, at: Sequence[datetime], rule: Rule | None = None
    ) -> Task:
        """A new task with a reminder at each of these instants."""
        body: Json = {
            "title": title,
            "due_at": _text(due),
            "timezone": person.zone,
            "reminders": [{"at": _text(one)} for one in at],
        }
        if rule is not None:
            body["recurrence"] = {"rrule": rule.every.value}
        answer = await person.ask("POST", "/api/v1/tasks", body, {"Idempotency-Key": secrets.token_hex(16)})
        if answer.status != 201:
            raise GivenUpError(f"create: {answer.status} {answer.body}")
        made = answer.body
        series = Series(made["series_id"], rule) if rule is not None else None
        wanted = Wanted(title, "medium", Status.OPEN, reminders_of(made))
        task = Task(made["id"], person.user_id, due, made["version"], wanted, series)
        task.acknowledge(wanted, made["version"], datetime.now(UTC), "created")
        self._model.add(task)
        self._model.acknowledged += 1
        if sorted(wanted.reminders.values()) != sorted(at):
            self._wrong(task, f"reminders at {sorted(wanted.reminders.values())} instead of {sorted(at)}")
        return task

    async def change(
        self,
        person: Person,
        task: Task,
        *,
        title: str | None = None,
        priority: str | None = None,
        reminders: Mapping[str, datetime] | None = None,
    ) -> None:
        """Merge a change into a task; of one that recurs into this instance."""
        body: Json = {}
        wanted = task.wanted
        if title is not None and priority is not None:
            body |= {"title": title, "priority": priority}
            wanted = replace(wanted, title=title, priority=priority)
        if reminders is not None:
            body["reminders"] = [{"id": name, "at": _text(at)} for name, at in reminders.items()]
            wanted = replace(wanted, reminders=reminders)
        asked = datetime.now(UTC)
        answer = await person.ask("PATCH", _path(task), body, _guard(task))
        task.touched = True
        await self._settle(person, task, wanted, answer, "updated", asked)

    async def close(self, person: Person, task: Task, status: Status) -> None:
        """Complete or delete a task."""
        task.touched = True
        wanted, asked = replace(task.wanted, status=status), datetime.now(UTC)
        if status is Status.DELETED:
            answer = await person.ask("DELETE", _path(task), headers=_guard(task))
            await self._settle(person, task, wanted, answer, "deleted", asked)
        else:
            answer = await person.ask("POST", f"{_path(task)}/complete", headers=_guard(task))
            await self._settle(person, task, wanted, answer, "completed", asked)

    async def undo(self, person: Person, task: Task) -> None:
        """Take the last write back; it may be refused when the next occurrence was changed."""
        if task.undo is None:
            return
        (token, before), task.undo = task.undo, None
        asked = datetime.now(UTC)
        answer = await person.ask("POST", f"/api/v1/undo/{token}")
        at = datetime.now(UTC)
        if answer.doubtful:
            task.left_alone = True
        if answer.status == 200:
            [now] = [item for item in answer.body["items"] if item["id"] == task.task_id]
            version = now["version"]
        elif answer.status == 409 and answer.doubtful:
            now = (await person.ask("GET", _path(task))).body
            if not _is_so(now, before):
                return
            version = now["version"]
        elif answer.status == 409:
            if not _successor_touched(task, before):
                self._wrong(task, f"undo refused: {answer.body}")
            return
        else:
            self._wrong(task, f"undo: {answer.status} {answer.body}")
            return
        was_open, series = task.is_open, task.series
        act = "updated" if was_open else "restored" if task.wanted.status is Status.DELETED else "reopened"
        task.acknowledge(before, version, at, act, asked)
        self._model.acknowledged += 1
        if series is not None and not was_open:
            series.withdraw_after(task, at, asked)

    async def adopt(self, person: Person, series: Series) -> None:
        """Look whether the successor of the last instance is there, and take a note of it."""
        answer = await person.ask("GET", f"/api/v1/tasks?series_id={series.series_id}&limit=200")
        before = series.tip
        known = {task.task_id for task in series.instances}
        due = series.rule.due(before.slot + 1)
        for item in answer.body["items"]:
            if item["id"] in known or datetime.fromisoformat(item["due_at"]) != due:
                continue
            wanted = Wanted(item["title"], item["priority"], Status.OPEN, reminders_of(item))
            task = Task(item["id"], person.user_id, due, item["version"], wanted, series, before.slot + 1)
            task.acknowledge(wanted, item["version"], datetime.now(UTC), "created")
            self._model.add(task)
            copied = (before.wanted.title, before.wanted.priority, len(before.wanted.reminders))
            if (wanted.title, wanted.priority, len(wanted.reminders)) != copied:
                self._wrong(task, f"a successor with {wanted} of a task with {before.wanted}")

    async def _settle(
        self, person: Person, task: Task, wanted: Wanted, answer: Answer, act: str, asked: datetime
    ) -> None:
        """Take a note of a change; of a doubtful one that came too late for its own guard after a look."""
        version, at = task.version + 1, datetime.now(UTC)
        if answer.status in (404, 412) and answer.doubtful:
            now = await person.ask("GET", _path(task))
            landed = now.status == 404 if wanted.status is Status.DELETED else _is_so(now.body, wanted)
            if not landed or (now.body.get("version", version) != version and now.status == 200):
                self._wrong(task, f"{act} at version {task.version}: {answer.body}, and is {now.body}")
                return
            task.undo = None
        elif answer.status in (200, 204):
            token = answer.headers.get(_TOKEN)
            task.undo = (token, task.wanted) if token else None
            version = answer.body.get("version", version)
        else:
            self._wrong(task, f"{act} at version {task.version}: {answer.status} {answer.body}")
            return
        task.acknowledge(wanted, version, at, act, asked)
        self._model.acknowledged += 1

    def _wrong(self, task: Task, what: str) -> None:
        task.left_alone = True
        self.mismatches.append(Mismatch(datetime.now(UTC), task.task_id, what))


def reminders_of(item: Json) -> dict[str, datetime]:
    """The reminders of a task as the API tells it."""
    return {one["id"]: datetime.fromisoformat(one["at"]) for one in item["reminders"]}


def _is_so(item: Json, wanted: Wanted) -> bool:
    # What tells of a task that is gone has a title as well.
    return "version" in item and (
        item["title"],
        item["priority"],
        reminders_of(item),
        item["status"] == "completed",
    ) == (wanted.title, wanted.priority, dict(wanted.reminders), wanted.status is Status.COMPLETED)


def _successor_touched(task: Task, before: Wanted) -> bool:
    """Whether an undo that would open the task again has somebody's successor in its way."""
    if task.series is None or task.is_open or before.status is not Status.OPEN:
        return False
    later: Callable[[Task], bool] = lambda one: one.slot > task.slot  # noqa: E731
    return any(one.touched or not one.is_open for one in task.series.instances if later(one))


def _path(task: Task) -> str:
    return f"/api/v1/tasks/{task.task_id}"


def _guard(task: Task) -> dict[str, str]:
    return {"If-Match": f'"{task.version}"'}


def _text(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
