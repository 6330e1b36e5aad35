"""A model of the service: the real use cases in a seeded random scheduler, on stores that keep to the real semantics.

Every call of the store, the index and the bus stops before and after it does its work. The driver picks who goes on,
who dies there, and when time passes: several deliveries and two firings at once, copies, reordering, writes that say
they failed and did not, a handler that is still at it when its delivery has timed out and come again, a flush of Redis.
No event loop runs: a use case is a coroutine that the driver steps from one stop to the next.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from tests.unit.reminders.conftest import START, Rig, completed, later, reminder, snapshot

from event_contracts.envelope import derive_id
from event_contracts.moments import is_past_when_set
from event_contracts.tasks import TaskSnapshot
from reminders.application.fire_due import DueFirer
from reminders.domain.document import Document, to_ms
from service_kit.due_index import Claim
from service_kit.sidecar import SidecarError, SidecarUnavailable
from service_kit.state_store import StateConflict, StateUnavailable, StateWriteFailed

_STEPS = 300
_LEASE_AND_MORE = timedelta(seconds=16)
Firing = tuple[str, int]
"""A reminder's id, and the fire time in epoch milliseconds."""


class Violation(AssertionError):
    """An invariant does not hold."""


class _Stop:
    def __await__(self) -> Generator[None, None, None]:
        yield


@dataclass
class Actor:
    """A handler at work: of a delivery, or of a tick. `claimed_at` is the step of its last claim."""

    work: Coroutine[Any, Any, Any]
    delivery: TaskSnapshot | None = None
    claimed_at: int = 0
    given_up: bool = False
    outlived_a_flush: bool = False
    """It read the marker of a generation that is gone; what it fires by that the notifier asks task-api about."""


def _versions(chance: random.Random) -> list[TaskSnapshot]:
    """The versions of one task with one or two reminders: edited, moved, closed, reopened, perhaps deleted at last."""
    # No moment twice: a reminder that is set back to a moment it fired at is a new wish under the old id.
    moments = iter([START + timedelta(seconds=second) for second in chance.sample(range(-3, 41), 8)])
    ones = [reminder(at=next(moments)) for _ in range(chance.randint(1, 2))]
    due = START + timedelta(seconds=chance.choice([-1, 30]))
    task = snapshot(reminders=tuple(ones), due_at=due)
    found = [task]
    for version in range(2, chance.randint(2, 6)):
        change = chance.random()
        if change < 0.4:
            ones = [ones[0].model_copy(update={"at": next(moments)}), *ones[1:]]
        changed = later(task, version, reminders=tuple(ones))
        found.append(completed(changed, version) if change >= 0.6 else changed)
    if chance.random() < 0.1:
        version = len(found) + 1
        found.append(later(completed(task, version), version, deleted_at=START))
    return found


class Run:
    """One interleaving. A calm one has no deaths and no leases that run out, so there is no reason for a copy."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.calm = seed % 3 == 0
        self.flushes = seed % 7 == 1
        self.rig = Rig()
        self.versions = _versions(self.chance)
        copies = [task for task in self.versions for _ in range(self.chance.randint(1, 2))]
        self.chance.shuffle(copies)
        self.undelivered = copies
        self.actors: list[Actor] = []
        self.current: Actor | None = None
        self.step = 0
        self.stops = False
        self.pending: set[Firing] = set()
        self.leases: dict[str, tuple[Actor | None, int]] = {}
        """Who claimed a member last, and until when, in epoch milliseconds."""
        self.ended: dict[Firing, int] = {}
        """When the stored document last ceased to stand behind a firing."""
        self.rig.task_api.commit(self.versions[-1])
        self._put_stops()

    def play(self) -> None:
        """Let chance rule for a while, then let everything come to rest."""
        self._at_once(self.rig.begin())
        self.stops = True
        for self.step in range(1, _STEPS):
            if not self.undelivered and not self.actors and self.chance.random() < 0.3:
                break
            self._something_happens()
        for actor in self.actors:
            self._finish(actor)
        self.stops = False
        while self.undelivered:
            if not self._at_once(self.rig.applier().apply(self.undelivered.pop())):
                raise Violation("a delivery is refused although nothing is wrong")
        document = self._stored()
        _require(document is None or not list(document.unannounced()), "nobody was told when it will fire")
        for _ in range(4):
            self.rig.clock.advance(_LEASE_AND_MORE * 2)
            self._at_once(self.rig.firer().fire_all())

    def _something_happens(self) -> None:
        choice = self.chance.random()
        firing = sum(actor.delivery is None for actor in self.actors)
        if choice < 0.15 and self.undelivered:
            task = self.undelivered.pop()
            self.actors.append(Actor(self.rig.applier().apply(task), task))
        elif choice < 0.25 and firing < 2:
            self.actors.append(Actor(_fire(self.rig.firer())))
        elif choice < 0.31 and not (self.calm and firing):
            self.rig.clock.advance(
                self.chance.choice([timedelta(seconds=1), timedelta(seconds=5), _LEASE_AND_MORE])
            )
        elif choice < 0.35 and self.actors and not self.calm:
            self._die(self.chance.choice(self.actors))
        elif choice < 0.37 and self.actors and not self.calm:
            self._time_out(self.chance.choice(self.actors))
        elif choice < 0.39 and self.flushes and not self.calm:
            self._flush()
        elif self.actors:
            self._go_on(self.chance.choice(self.actors))

    def _go_on(self, actor: Actor) -> bool:
        """One stop further; whether it has ended."""
        self.current = actor
        try:
            actor.work.send(None)
        except StopIteration as end:
            self._ended(actor, accepted=end.value is True)
        except (StateWriteFailed, SidecarError):
            self._ended(actor, accepted=False)
        else:
            return False
        return True

    def _finish(self, actor: Actor) -> None:
        while not self._go_on(actor):
            pass

    def _ended(self, actor: Actor, *, accepted: bool) -> None:
        self.actors = [one for one in self.actors if one is not actor]
        if actor.delivery is not None and not accepted and not actor.given_up:
            self.undelivered.append(actor.delivery)

    def _die(self, actor: Actor) -> None:
        actor.work.close()
        self._ended(actor, accepted=False)

    def _time_out(self, actor: Actor) -> None:
        """The broker delivers again, while the handler goes on and knows nothing of it."""
        if actor.delivery is not None and not actor.given_up:
            actor.given_up = True
            self.undelivered.append(actor.delivery)

    def _flush(self) -> None:
        """Redis loses everything; the rebuild brings the task as task-api has it, with what is known to have fired.

        It takes time: a lease of what is lost cannot be of the millisecond in which the same is claimed again.
        """
        self.rig.state.flush()
        self.leases.clear()
        for shard in self.rig.index._shards:
            shard.clear()
        for actor in self.actors:
            actor.outlived_a_flush = True
        self.rig.clock.advance(timedelta(milliseconds=1))
        self.stops = False
        self._at_once(self.rig.begin())
        last = self.versions[-1]
        heard = {UUID(one): fire_ms for one, fire_ms in self.published()}
        ones = [
            one.model_copy(update={"fired_for": at})
            if (at := last.fire_time(one)) is not None and heard.get(one.reminder_id) == to_ms(at)
            else one
            for one in last.reminders
        ]
        rebuilt = last.model_copy(update={"reminders": tuple(ones)})
        self._at_once(self.rig.applier().apply(rebuilt, just_asked=True))
        self.stops = True
        self._documents_changed()

    def _at_once(self, work: Coroutine[Any, Any, Any]) -> Any:
        try:
            work.send(None)
        except StopIteration as end:
            return end.value
        raise AssertionError("it stopped although there are no stops")

    def _put_stops(self) -> None:
        rig = self.rig
        for port, names in (
            (rig.state, ("get", "get_many", "create", "replace", "replace_many")),
            (rig.index, ("add", "claim", "ack_many", "release")),
            (rig.sidecar, ("publish_bulk",)),
        ):
            for name in names:
                setattr(port, name, self._stopping(name, getattr(port, name)))

    def _stopping(self, name: str, original: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def call(*args: Any, **kwargs: Any) -> Any:
            if self.stops:
                await _Stop()
                self._perhaps_fail(name)
            if name == "claim" and self.current is not None:
                self.current.claimed_at = self.step
            if name == "publish_bulk":
                self._before_publishing(*args)
            held = self._held_by_others() if name in ("ack_many", "release") else {}
            try:
                result = await original(*args, **kwargs)
            finally:
                if name in ("create", "replace", "replace_many"):
                    self._documents_changed()
            if name == "claim":
                self._claimed(result)
            if held != self._scores(held):
                raise Violation("a lease that another one holds is ended")
            if name in ("ack_many", "release"):
                now = self._scores(self.leases)
                self.leases = {one: held for one, held in self.leases.items() if now.get(one) == held[1]}
            if self.stops:
                await _Stop()
            return result

        return call

    def _claimed(self, claim: Claim) -> None:
        now = to_ms(claim.now)
        for lease in claim.leases:
            _, until = self.leases.get(lease.member, (None, 0))
            if until > now:
                raise Violation("it is claimed while another one's lease runs")
            self.leases[lease.member] = (self.current, lease.score_ms)

    def _held_by_others(self) -> dict[str, int]:
        """The members, with their scores, that another one claimed last and whose lease has not run out."""
        now = to_ms(self.rig.clock.instant)
        held = [
            member
            for member, (owner, until) in self.leases.items()
            if owner is not self.current and until > now
        ]
        scores = self._scores(held)
        return {member: score for member, score in scores.items() if score == self.leases[member][1]}

    def _scores(self, members: Iterable[str]) -> dict[str, int]:
        there = {member: score for shard in self.rig.index._shards for member, score in shard.items()}
        return {member: there[member] for member in members if member in there}

    def _perhaps_fail(self, name: str) -> None:
        """A store that is away answers like a conflict, and a time-out says nothing: it may have been done."""
        if self.calm or self.chance.random() > 0.03:
            return
        landed = self.chance.random() < 0.5
        if name in ("create", "replace", "replace_many"):
            error = self.chance.choice([StateConflict("away"), StateUnavailable("timed out")])
            self.rig.state.fail_next(error, landed=landed)
        elif name == "publish_bulk":
            self.rig.sidecar.fail_next(SidecarUnavailable("timed out"), landed=landed)

    def _stored(self) -> Document | None:
        """The task's document of the valid generation, past all stops."""
        stored = self.rig.state._find(f"{self.rig.generation}:{self.versions[0].task_id.hex}")
        if stored is None:
            return None
        value = orjson.loads(stored.content)
        return Document.load(self.versions[0].task_id, value)

    def _documents_changed(self) -> None:
        document = self._stored()
        now = (
            set() if document is None else {(str(one.reminder_id), one.fire_ms) for one in document.pending()}
        )
        for firing in self.pending - now:
            self.ended[firing] = self.step
        self.pending = now

    def _before_publishing(self, topic: str, entries: Any) -> None:
        """What is said now must be of its time, and the document must have stood behind it since the claim."""
        actor = self.current
        if topic != "reminder-due" or not self.stops or actor is None or actor.outlived_a_flush:
            return
        for entry in entries:
            data = orjson.loads(entry.event)["data"]
            firing = (data["reminder_id"], to_ms(datetime.fromisoformat(data["fire_at"])))
            if to_ms(self.rig.clock.instant) < firing[1]:
                raise Violation("it fires before its time")
            if firing not in self.pending and self.ended.get(firing, -1) < actor.claimed_at:
                raise Violation("it fires although the document did not stand behind it when it was claimed")

    def published(self) -> list[Firing]:
        """Every reminder-due that is out, copies included."""
        return [firing for _, firing in self._events()]

    def _events(self) -> list[tuple[str, Firing]]:
        return [
            (
                event["id"],
                (event["data"]["reminder_id"], to_ms(datetime.fromisoformat(event["data"]["fire_at"]))),
            )
            for event in self.rig.sidecar.events("reminder-due")
        ]

    def check(self) -> None:
        """The invariants, when everything has come to rest. Raises Violation."""
        published = self._events()
        known = {
            _firing(one.reminder_id, task.fire_time(one)) for task in self.versions for one in task.reminders
        }
        for identity, firing in published:
            _require(firing in known, "it fires for a time that no version has")
            _require(identity == str(derive_id("reminder-due", *firing)), "one firing has one id")
        if self.calm:
            _require(len(published) == len(set(published)), "a copy without a reason")
        if any(self.rig.index._shards):
            raise Violation("something is left in the index")
        self._check_the_end({firing for _, firing in published})

    def _check_the_end(self, heard: set[Firing]) -> None:
        last, document = self.versions[-1], self._stored()
        _require(
            document is not None and (document.epoch, document.version) == last.order,
            "the last version is not what is stored",
        )
        if not last.is_open:
            return
        for one in last.reminders:
            at = last.fire_time(one)
            firing = _firing(one.reminder_id, at)
            if at is not None and is_past_when_set(at, one.set_at, last.due):
                _require(firing not in heard, "it fires although it was past when it was set")
            else:
                _require(firing in heard, "a reminder of the last version is lost")


async def _fire(firer: DueFirer) -> None:
    await firer.fire_all()


def _firing(reminder_id: object, at: datetime | None) -> Firing:
    assert at is not None
    return str(reminder_id), to_ms(at)


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise Violation(what)


def violated(seeds: range) -> str | None:
    """Play these seeds until an invariant does not hold; what and where, or None."""
    for seed in seeds:
        run = Run(seed)
        try:
            run.play()
            run.check()
        except Violation as violation:
            return f"seed {seed}: {violation}"
        finally:
            for actor in run.actors:
                actor.work.close()
    return None
