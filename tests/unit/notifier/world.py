"""One world (index, inbox, records, bus, mail, task-api, time) and as many replicas of the use cases as a test makes.

Every call that a replica makes of a port passes the world's gate before and after it does its work, so a test can let
a process die, or wait, between any two steps.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from tests.unit.notifier.memory import MemoryDeliveries, MemoryInbox
from tests.unit.notifier.samples import ON_TIME, START, contact, due, event

from event_contracts.tasks import TaskSnapshot
from event_contracts.topics import TASK_API
from event_contracts.users import UserDeleted
from event_contracts.values import Channel
from notifier.adapters.dapr_events import DaprEvents
from notifier.adapters.dapr_records import DaprTaskRecords
from notifier.adapters.languages import Languages
from notifier.adapters.task_api import InvokedTaskApi
from notifier.application.announce import AnnounceNotification
from notifier.application.deliver import DeliverNotification, Pace
from notifier.application.follow_task import FollowTask
from notifier.application.forget_user import ForgetUser
from notifier.application.ports import Clock, Deliveries, Inbox, ReadMarks, Sender
from notifier.application.requeue import RequeueCancelled
from notifier.application.senders import EmailSender, InboxSender
from notifier.application.spread import SpreadNotification
from notifier.application.worker import Step
from notifier.domain.contact import Contact
from notifier.domain.lanes import Lane
from notifier.domain.live import LiveEvent
from notifier.domain.notifications import CHANNELS, Notification
from notifier.domain.retries import RetryPolicy
from notifier.domain.wording import Message
from notifier.entrypoints.events import handlers
from service_kit.marker import MarkerStore
from service_kit.pubsub import Outcome
from service_kit.testing.fakes import InMemoryStateStore, ManualClock, RecordingSidecar

LEASE = timedelta(seconds=40)
LIMIT = 50

Gate = Callable[[str], Awaitable[None]]


class CrashError(BaseException):
    """A process dies here: nothing of it runs on, no handler of errors either."""


class InboxAndMarks(Inbox, ReadMarks, Protocol):
    """What one inbox adapter is."""


async def open_gate(_: str) -> None:
    """Nobody waits, nobody dies."""


class Gated:
    """A port whose every call passes the gate twice. What goes out in one round trip may still be cut off anywhere."""

    def __init__(self, port: object, name: str, gate: Gate) -> None:
        self._port = port
        self._name = name
        self._gate = gate

    def __getattr__(self, attribute: str) -> Any:
        if attribute == "enqueue_all":
            return self._one_by_one
        original = getattr(self._port, attribute)
        if not inspect.iscoroutinefunction(original):
            return original

        async def call(*args: Any, **kwargs: Any) -> Any:
            await self._gate(f"before {self._name}.{attribute}")
            answer = await original(*args, **kwargs)
            await self._gate(f"after {self._name}.{attribute}")
            return answer

        return call

    async def _one_by_one(self, notification: Notification, channels: Sequence[Channel]) -> Sequence[bool]:
        return [await self.enqueue(notification, channel) for channel in channels]


@dataclass
class RecordingMailer:
    """Remembers each mail, `tried` ones too; raises what `failures` holds, one a mail."""

    sent: list[Message] = field(default_factory=list)
    tried: list[Message] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)

    async def send(self, message: Message, contact: Contact, at: datetime) -> None:
        self.tried.append(message)
        if self.failures:
            raise self.failures.pop(0)
        self.sent.append(message)


@dataclass
class RecordingLanes:
    """Remembers what was put into which lane, each once."""

    queued: dict[Lane, list[Notification]] = field(default_factory=dict)

    async def enqueue_in(self, lane: Lane, notification: Notification) -> bool:
        waiting = self.queued.setdefault(lane, [])
        if notification in waiting:
            return False
        waiting.append(notification)
        return True

    async def requeue_in(self, lane: Lane, notification: Notification) -> bool:
        raise AssertionError("nothing of a lane is cancelled here")


@dataclass
class RecordingLive:
    """Remembers which versions were told, each once, and who was erased."""

    told: list[TaskSnapshot] = field(default_factory=list)
    erased: set[UUID] = field(default_factory=set)

    async def tell_task(self, task: TaskSnapshot, at: datetime) -> bool:
        if any(one.task_id == task.task_id and one.order >= task.order for one in self.told):
            return False
        self.told.append(task)
        return True

    async def begin(self, user_id: UUID) -> str | None:
        raise AssertionError("nobody listens here")

    async def since(self, user_id: UUID, position: str) -> Sequence[LiveEvent] | None:
        raise AssertionError("nobody listens here")

    async def erase(self, user_id: UUID) -> None:
        self.erased.add(user_id)


class Replica:
    """The use cases of one process."""

    def __init__(self, world: World, gate: Gate) -> None:
        def gated(port: object, name: str) -> Any:
            return Gated(port, name, gate)

        deliveries: Deliveries = gated(world.deliveries, "deliveries")
        inbox: Inbox = gated(world.inbox, "inbox")
        events = gated(DaprEvents(world.sidecar), "events")
        task_api = gated(InvokedTaskApi(world.sidecar, remember=0), "task_api")
        state = gated(world.state, "state")
        records = DaprTaskRecords(state, MarkerStore(state))
        senders: dict[Channel, Sender] = {
            Channel.EMAIL: EmailSender(gated(world.mailer, "mailer"), world.clock),
            Channel.INBOX: InboxSender(inbox, records, world.clock),
        }
        requeue = RequeueCancelled(deliveries, gated(world.lanes, "lanes"), lambda: None)
        pace = Pace(world.retries, 25.0, lambda: 0.0, world.aside)
        self.deliveries = deliveries
        direct = {
            channel: DeliverNotification(
                sender,
                deliveries=deliveries,
                task_api=task_api,
                events=events,
                clock=world.clock,
                pace=pace,
                requeue=requeue,
                languages=Languages(),
            )
            for channel, sender in senders.items()
        }
        spread = SpreadNotification(
            deliveries=deliveries,
            lanes=gated(world.lanes, "lanes"),
            task_api=task_api,
            events=events,
            clock=world.clock,
            postpone=direct[Channel.INBOX].postpone,
        )
        self.deliver: dict[Channel, Step] = {channel: direct.get(channel, spread) for channel in CHANNELS}
        announce = AnnounceNotification(deliveries, lambda: None, world.whole)
        self.handlers = handlers(
            announce,
            FollowTask(records, inbox, world.clock, requeue, announce, gated(world.live, "live")),
            ForgetUser(inbox, deliveries, task_api, gated(world.live, "live")),
        )

    async def hear_due(
        self, task: TaskSnapshot, fire_at: datetime = START, late: timedelta = ON_TIME
    ) -> Outcome:
        return await self.handlers["reminder-due"](event("reminder.due.v1", due(task, fire_at, late)))

    async def hear_task(self, task: TaskSnapshot) -> Outcome:
        return await self.handlers["task-updated"](event("task.updated.v1", task))

    async def hear_user_deleted(self, user_id: UUID) -> Outcome:
        data = UserDeleted(user_id=user_id, deleted_at=START)
        return await self.handlers["user-deleted"](event("user.deleted.v1", data))

    async def work(self, *channels: Channel, limit: int = 10) -> int:
        """One round over the channels (all of them when none is named); how many were claimed."""
        count = 0
        for channel in channels or CHANNELS:
            for claimed in await self.deliveries.claim(channel, limit):
                count += 1
                await self.deliver[channel].run(claimed)
        return count


@dataclass
class World:
    """What outlives a process."""

    clock: Clock
    advance: Callable[[timedelta], Awaitable[None]]
    state: InMemoryStateStore
    deliveries: Deliveries
    inbox: InboxAndMarks
    sidecar: RecordingSidecar = field(default_factory=RecordingSidecar)
    mailer: RecordingMailer = field(default_factory=RecordingMailer)
    lanes: RecordingLanes = field(default_factory=RecordingLanes)
    live: RecordingLive = field(default_factory=RecordingLive)
    retries: RetryPolicy = field(default_factory=RetryPolicy)
    aside: float = 3_600.0
    generation: str = ""

    async def begin(self, epoch: int = 1) -> None:
        """Write the marker; the person can be reached."""
        self.generation = (await MarkerStore(self.state).create(epoch, "run")).generation
        self.reach(contact())

    async def whole(self) -> None:
        """Nothing is missing here."""

    def replica(self, gate: Gate = open_gate) -> Replica:
        return Replica(self, gate)

    def reach(self, who: Contact) -> None:
        """Let task-api give this contact."""
        answer = asdict(who)
        self.sidecar.on_invoke(TASK_API, f"/internal/v1/users/{who.user_id}/contact", json=answer)

    def commit(self, task: TaskSnapshot) -> TaskSnapshot:
        """Let task-api answer with this from now on."""
        self.sidecar.on_invoke(
            TASK_API, f"/internal/v1/tasks/{task.task_id}", content=task.model_dump_json().encode()
        )
        return task

    def told(self, channel: Channel) -> list[dict[str, Any]]:
        """The data of the notification-delivered events that tell of an end on one channel, each event id once."""
        return [data for data in self._events(channel) if data["outcome"] != "to_be_repeated"]

    def tries(self, channel: Channel) -> list[dict[str, Any]]:
        """The same of those that tell of a try that comes again."""
        return [data for data in self._events(channel) if data["outcome"] == "to_be_repeated"]

    def _events(self, channel: Channel) -> list[dict[str, Any]]:
        events = {one["id"]: one["data"] for one in self.sidecar.events("notification-delivered")}
        return [data for data in events.values() if data["channel"] == channel]

    async def entries(self, user_id: UUID) -> list[Any]:
        page = await self.inbox.page(user_id, before=None, limit=LIMIT, unread_only=False)
        return list(page.entries)

    async def unread(self, user_id: UUID) -> int:
        return (await self.inbox.page(user_id, before=None, limit=1, unread_only=False)).unread

    async def settle(self) -> None:
        """Let time pass and a fresh process work until no delivery is left. Fails when there is no end."""
        for _ in range(40):
            await self.replica().work()
            if not sum([await self.deliveries.depth(channel) for channel in CHANNELS]):
                return
            await self.advance(LEASE)
        raise AssertionError("deliveries are left over")


async def memory_world() -> World:
    """A world without I/O, its clock at START plus a second."""
    clock = ManualClock(START + timedelta(seconds=1))
    erased: set[UUID] = set()

    async def advance(step: timedelta) -> None:
        clock.advance(step)

    world = World(
        clock=clock,
        advance=advance,
        state=InMemoryStateStore(clock),
        deliveries=MemoryDeliveries(clock, LEASE, erased),
        inbox=MemoryInbox(LIMIT, erased),
    )
    await world.begin()
    return world
