"""Publishes what was committed: takes outbox rows, hands them to the broker, deletes what it accepted.

Delivery is at least once: whatever stops the relay between the broker's answer and the delete, the same event goes
out again under the same id. No order is promised; what one relay publishes of one key goes out in its order all the
same, for a backlog is shared among lanes by its keys.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from service_kit.logs import get_logger
from task_api.application import relay_metrics as metrics
from task_api.application.outbox_ports import (
    EVERYTHING,
    Broker,
    BrokerHeld,
    BrokerRefused,
    BrokerUnavailable,
    Failure,
    Outbox,
    OutboxRow,
    Rejection,
    Share,
)

MAX_EVENTS = 500
MAX_BYTES = 1_048_576
"""Of one request. Over 4 MiB daprd refuses the whole of it."""

ALONE_PER_ROUND = 5
ALONE_BUDGET = 5.0
"""Seconds into a round after which nothing more is tried alone: the round's rows stay locked as long."""

ROUND_EVERY = 0.02
"""Seconds from the beginning of one round to that of the next: what is committed meanwhile goes out together, for each
round costs five round trips. The first one after a quiet moment begins at once, and a backlog never waits."""

PARK_AFTER = 10
SAMPLE_EVERY = 5.0

_NEVER = float("-inf")
_FORGET_AFTER = 600.0

_log = get_logger(__name__)


@dataclass
class _Pace:
    """How a topic fares: `limit` rows a request, halved by failures of whole requests, doubled by passing ones."""

    limit: int = MAX_EVENTS
    failures: int = 0
    not_before: float = 0.0
    accepted_at: float = _NEVER


@dataclass
class _Verdict:
    published: list[UUID] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    full: bool = False
    """A request as great as one may be went out whole."""


@dataclass(frozen=True)
class _Done:
    """What a round did: whether anything went out, and whether a whole request of a topic did, so that there may be
    more than one lane's work."""

    published: bool = False
    backlog: bool = False


@dataclass(frozen=True)
class _Sent:
    """The answer to one request: `rejected` holds each row that is not out for sure, and why; `unknown` says that
    nobody answered, `held` that nothing was sent."""

    accepted: list[UUID]
    rejected: dict[UUID, Rejection]
    refused: bool = False
    unknown: bool = False
    held: bool = False

    @property
    def is_judged(self) -> bool:
        """Whether it says anything of the rows as a whole: the broker was asked for all that it did not accept."""
        return not self.held and all(one.is_judged for one in self.rejected.values())


class OutboxRelay:
    """Moves rows of `topics` from the outbox to the broker. Any number may run at once, in any number of processes.

    An attempt counts against a row only when the broker accepted another event of the topic in the same request, or
    since the row was last tried alone; after ten such it is parked. A request that fails as a whole counts nothing:
    the topic backs off, unless the broker holds it anyway, and asks for less at a time until what the request fell over
    stands alone.

    `lanes` is how many batches of a backlog are under way at once: while the broker has one, the others are read and
    deleted. Replicas are lanes to each other, so many of them need fewer each.
    """

    def __init__(
        self,
        outbox: Outbox,
        broker: Broker,
        topics: Iterable[str],
        *,
        lanes: int,
        monotonic: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self._outbox = outbox
        self._broker = broker
        self._lanes = lanes
        self._paces = {topic: _Pace() for topic in topics}
        self._tried_alone: dict[UUID, float] = {}
        self._monotonic = monotonic
        self._random = rng or random.Random()  # noqa: S311 - spreads retries, guards nothing
        self._sampled_at = _NEVER
        self._until = _NEVER

    async def drain(self) -> None:
        """Publish until nothing is due or nothing passes, for some seconds at most: a long backlog is worked off in
        several turns, so that the gauges stay fresh. Cancelled, it finishes the batches in flight first."""
        await self._sample()
        self._until = self._monotonic() + SAMPLE_EVERY
        work = asyncio.ensure_future(self._work_off())
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            self._until = _NEVER
            await asyncio.wait([work])
            if not work.cancelled() and (error := work.exception()) is not None:
                _log.error("outbox_last_batch_failed", error=str(error))
            raise

    async def _work_off(self) -> None:
        while self._has_time():
            began = self._monotonic()
            done = await self._round()
            if done.backlog:
                lanes = [self._lane(Share(number, self._lanes)) for number in range(self._lanes)]
                # All end by themselves before the first one's error is told: a batch is never left half way.
                for ended in await asyncio.gather(*lanes, return_exceptions=True):
                    if isinstance(ended, BaseException):
                        raise ended
            elif not done.published:
                return
            else:
                await asyncio.sleep(began + ROUND_EVERY - self._monotonic())

    async def _lane(self, share: Share) -> None:
        while self._has_time() and (await self._round(share)).backlog:
            pass

    def _has_time(self) -> bool:
        return self._monotonic() < self._until

    async def _round(self, share: Share = EVERYTHING) -> _Done:
        now = self._monotonic()
        topics = [
            topic
            for topic, pace in self._paces.items()
            if pace.not_before <= now and not self._broker.holds(topic)
        ]
        if not topics or not (share.is_part or await self._outbox.has_work(topics)):
            return _Done()
        # What failed before is tried alone, which takes time: in no lane, but in the rounds between.
        alone = 0 if share.is_part else ALONE_PER_ROUND
        async with self._outbox.take(topics, MAX_EVENTS, alone, share) as batch:
            by_topic: dict[str, list[OutboxRow]] = {}
            for row in batch.rows:
                by_topic.setdefault(row.topic, []).append(row)
            verdicts = await asyncio.gather(*(self._publish(topic, rows) for topic, rows in by_topic.items()))
            published = [row_id for verdict in verdicts for row_id in verdict.published]
            failures = [failure for verdict in verdicts for failure in verdict.failures]
            await batch.settle(published, failures)
        self._report(failures)
        return _Done(
            published=bool(published),
            backlog=any(verdict.full for verdict in verdicts),
        )

    async def _publish(self, topic: str, rows: Sequence[OutboxRow]) -> _Verdict:
        verdict = _Verdict()
        began = self._monotonic()
        fresh = [row for row in rows if not row.waited]
        if fresh:
            await self._publish_together(topic, fresh, verdict)
        for row in rows:
            if not row.waited:
                continue
            if self._monotonic() - began > ALONE_BUDGET or not await self._publish_alone(topic, row, verdict):
                break
        return verdict

    async def _publish_together(self, topic: str, fresh: Sequence[OutboxRow], verdict: _Verdict) -> None:
        pace = self._paces[topic]
        limit = pace.limit
        request = _fitting(fresh, limit)
        sent = await self._send(topic, request)
        verdict.published += sent.accepted
        if sent.accepted:
            # With fewer than the limit it was the bytes that ended it.
            great = limit == MAX_EVENTS and (len(request) == limit or len(request) < len(fresh))
            verdict.full = great and not sent.rejected
            self._passes(pace)
            verdict.failures += [
                self._rejected(row, sent.rejected[row.id]) for row in request if row.id in sent.rejected
            ]
        elif sent.held:
            if len(request) == 1 and len(fresh) > 1:  # another row may be one that can be tried
                verdict.failures.append(self._uncounted(request[0], "not sent", within=1.0))
        elif len(request) == 1 and len(fresh) > 1:
            await self._probe(topic, request[0], sent, fresh[1:], verdict)
        elif sent.is_judged:
            self._fails(topic, sent)

    async def _probe(
        self, topic: str, failed: OutboxRow, sent: _Sent, others: Sequence[OutboxRow], verdict: _Verdict
    ) -> None:
        """Tell a row that cannot be published from a broker that cannot publish: does any other row pass alone?"""
        pace = self._paces[topic]
        other = await self._send(topic, [self._random.choice(others)])
        if not other.accepted and not other.held:
            self._fails(topic, other)
            return
        verdict.published += other.accepted
        if other.accepted:
            self._passes(pace)
        if sent.unknown or other.held:  # neither is a failure; the row only steps aside
            verdict.failures.append(
                self._uncounted(failed, _reason(sent, failed), within=1.0 if other.held else 5.0)
            )
        else:
            verdict.failures.append(self._rejected(failed, sent.rejected[failed.id]))

    async def _publish_alone(self, topic: str, row: OutboxRow, verdict: _Verdict) -> bool:
        """Try a row that failed before. False: the broker did not answer, so no use in asking on."""
        pace = self._paces[topic]
        others_passed = pace.failures == 0 and pace.accepted_at > self._tried_alone.get(row.id, _NEVER)
        sent = await self._send(topic, [row])
        if sent.held:
            return False
        self._tried_alone[row.id] = self._monotonic()
        if sent.accepted:
            verdict.published += sent.accepted
            self._passes(pace)
            self._tried_alone.pop(row.id, None)
        elif not sent.unknown and (others_passed or not sent.is_judged):
            verdict.failures.append(self._rejected(row, sent.rejected[row.id]))
        else:
            verdict.failures.append(self._uncounted(row, _reason(sent, row)))
        return not sent.unknown

    async def _send(self, topic: str, request: Sequence[OutboxRow]) -> _Sent:
        try:
            rejected = await self._broker.publish(topic, request)
        except BrokerRefused as refusal:
            self._note_whole(topic, request, "refused", str(refusal))
            return _Sent([], {row.id: Rejection(str(refusal)) for row in request}, refused=True)
        except BrokerHeld:
            return _Sent([], {}, unknown=True, held=True)
        except BrokerUnavailable as failure:
            self._note_whole(topic, request, "unavailable", str(failure))
            return _Sent([], {}, unknown=True)
        accepted = [row.id for row in request if row.id not in rejected]
        metrics.PUBLISHED.labels(topic).inc(len(accepted))
        judged = [one for one in rejected.values() if one.is_judged]
        if accepted:
            metrics.FAILURES.labels(topic, "event").inc(len(judged))
        elif judged:
            self._note_whole(topic, request, "rejected", judged[0].reason)
        return _Sent(accepted, rejected)

    def _passes(self, pace: _Pace) -> None:
        pace.limit = min(MAX_EVENTS, pace.limit * 2)
        pace.failures = 0
        pace.not_before = 0.0
        pace.accepted_at = self._monotonic()

    def _fails(self, topic: str, sent: _Sent) -> None:
        pace = self._paces[topic]
        # A refusal is an answer, so half as much may be asked at once; what has no answer is left in peace first.
        again_at_once = sent.refused and pace.limit > 1
        pace.limit = max(1, pace.limit // 2)
        if not again_at_once and not self._broker.holds(topic):
            pace.not_before = self._monotonic() + self._spread(min(5.0, 0.1 * 2**pace.failures))
            pace.failures = min(pace.failures + 1, 10)

    def _rejected(self, row: OutboxRow, rejection: Rejection) -> Failure:
        if rejection.is_judged:
            return self._counted(row, rejection.reason)
        return self._uncounted(row, rejection.reason, within=1.0)

    def _counted(self, row: OutboxRow, reason: str) -> Failure:
        attempts = row.attempts + 1
        parked = attempts >= PARK_AFTER
        if parked:
            self._tried_alone.pop(row.id, None)
        return Failure(row, attempts, self._spread(min(30.0, 0.2 * 2 ** (attempts - 1))), reason, parked)

    def _uncounted(self, row: OutboxRow, reason: str, within: float = 5.0) -> Failure:
        return Failure(row, row.attempts, self._spread(within), reason)

    def _spread(self, seconds: float) -> float:
        return seconds * self._random.uniform(0.5, 1.0)

    def _note_whole(self, topic: str, request: Sequence[OutboxRow], kind: str, reason: str) -> None:
        metrics.FAILURES.labels(topic, kind).inc()
        if not request[0].waited:  # what is tried alone is reported with its count
            _log.warning("outbox_request_failed", topic=topic, events=len(request), kind=kind, reason=reason)

    def _report(self, failures: Iterable[Failure]) -> None:
        for failure in failures:
            row = failure.row
            details = {"event_id": str(row.id), "topic": row.topic, "key": row.key, "reason": failure.reason}
            if failure.parked:
                metrics.PARKED_TOTAL.labels(row.topic).inc()
                _log.error("outbox_event_parked", attempts=failure.attempts, **details)
            else:
                _log.warning("outbox_event_failed", attempts=failure.attempts, **details)

    async def _sample(self) -> None:
        now = self._monotonic()
        if now - self._sampled_at < SAMPLE_EVERY:
            return
        self._sampled_at = now
        # Rows that another replica got out are never heard of again.
        self._tried_alone = {row: at for row, at in self._tried_alone.items() if now - at < _FORGET_AFTER}
        state = await self._outbox.state()
        metrics.DEPTH.set(state.depth)
        metrics.OLDEST_AGE.set(state.oldest_age)
        metrics.PARKED.set(state.parked)


def _reason(sent: _Sent, row: OutboxRow) -> str:
    rejection = sent.rejected.get(row.id)
    return "no answer" if rejection is None else rejection.reason


def _fitting(rows: Sequence[OutboxRow], limit: int) -> list[OutboxRow]:
    """Give the first rows that one request holds: at least one, at most `limit`, and no more than MAX_BYTES."""
    taken = [rows[0]]
    size = rows[0].size
    for row in rows[1:limit]:
        size += row.size
        if size > MAX_BYTES:
            break
        taken.append(row)
    return taken
