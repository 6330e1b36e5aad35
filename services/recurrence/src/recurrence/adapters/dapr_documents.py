"""The documents on the Dapr state store.

    t:<generation>:<task id>     a Position      s:<generation>:<series id>   a KnownSeries
    u:<generation>:<user id>     erased          c:<generation>               the generation is complete

Field names are short, for there is a document per instance. What is open stays; what is closed, ended or erased goes
by itself once no event that is older than it can come any more, not even from the dead letters.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from event_contracts.series import RecurrencePolicies
from event_contracts.topics import DEAD_LETTER_RETENTION
from event_contracts.values import ClosedBy
from recurrence.application.errors import DocumentWriteFailed
from recurrence.application.ports import Generation, Held, Known
from recurrence.domain.position import KnownSeries, Position
from service_kit.marker import Marker, MarkerStore
from service_kit.state_store import NO_EXPIRY, DocumentStore, StateWriteFailed

KEPT_AFTER_THE_END = DEAD_LETTER_RETENTION + timedelta(days=7)
_SECOND = timedelta(seconds=1)
_TTL_SECONDS = int(KEPT_AFTER_THE_END.total_seconds())


class DaprDocuments:
    """Keeps documents under keys that hold the marker's generation. Reads raise StateUnavailable."""

    def __init__(self, state: DocumentStore) -> None:
        self._state = state
        self._markers = MarkerStore(state)

    async def generation(self) -> Generation | None:
        """The valid generation; None when there is no marker."""
        marker = await self._markers.read()
        return None if marker is None else Generation(marker.generation, marker.epoch, marker.run_id)

    async def begin_generation(self, epoch: int, run_id: str) -> Generation:
        """Make a new generation valid. Raises DocumentWriteFailed."""
        with _write_failures():
            marker = await self._markers.create(epoch, run_id)
        return Generation(marker.generation, marker.epoch, marker.run_id)

    async def renew_run_id(self, generation: Generation, run_id: str) -> None:
        """Note that the Redis of `run_id` has it all. Raises DocumentWriteFailed."""
        with _write_failures():
            await self._markers.renew_run_id(
                Marker(generation.name, generation.epoch, generation.run_id), run_id
            )

    async def is_complete(self, generation: str) -> bool:
        """Whether this generation was built to its end."""
        return await self._state.get(f"c:{generation}") is not None

    async def mark_complete(self, generation: str) -> None:
        """Note that it was; marking it twice is marking it once. Raises DocumentWriteFailed."""
        if not await self.is_complete(generation):
            with _write_failures():
                await self._state.create(f"c:{generation}", {})

    async def read(self, generation: str, *, task_id: UUID | None, series_id: UUID, user_id: UUID) -> Known:
        """What there is of these three, in one request."""
        series_key, user_key = f"s:{generation}:{series_id}", f"u:{generation}:{user_id}"
        task_key = None if task_id is None else f"t:{generation}:{task_id}"
        found = await self._state.get_many(
            [series_key, user_key] if task_key is None else [task_key, series_key, user_key]
        )
        task = None if task_key is None or task_id is None else found.get(task_key)
        series = found.get(series_key)
        return Known(
            task=None if task is None or task_id is None else Held(_position(task_id, task.value), task.etag),
            series=None if series is None else Held(_series(series_id, series.value), series.etag),
            user_is_erased=user_key in found,
        )

    async def put_task(self, generation: str, position: Position, over: Held[Position] | None) -> None:
        """Write over the document that was read, or create it. Raises DocumentWriteFailed."""
        await self._put(
            f"t:{generation}:{position.task_id}",
            _position_document(position),
            None if over is None else over.etag,
            NO_EXPIRY if position.is_open else _TTL_SECONDS,
        )

    async def put_series(self, generation: str, series: KnownSeries, over: Held[KnownSeries] | None) -> None:
        """Write over the document that was read, or create it. Raises DocumentWriteFailed."""
        await self._put(
            f"s:{generation}:{series.series_id}",
            _series_document(series),
            None if over is None else over.etag,
            _TTL_SECONDS if series.ended or series.is_erased else NO_EXPIRY,
        )

    async def put_erased_user(self, generation: str, user_id: UUID) -> None:
        """Note that nothing of this user is to be taken up any more. Raises DocumentWriteFailed."""
        key = f"u:{generation}:{user_id}"
        if await self._state.get(key) is None:
            await self._put(key, {}, None, _TTL_SECONDS)

    async def _put(self, key: str, document: dict[str, Any], etag: str | None, ttl_seconds: int) -> None:
        with _write_failures():
            if etag is None:
                await self._state.create(key, document, ttl_seconds)
            else:
                await self._state.replace(key, document, etag, ttl_seconds)


@contextmanager
def _write_failures() -> Iterator[None]:
    try:
        yield
    except StateWriteFailed as error:
        raise DocumentWriteFailed(f"{type(error).__name__}: {error}") from error


def _without_defaults(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if value not in (None, False, [], {})}


def _position_document(position: Position) -> dict[str, Any]:
    return _without_defaults(
        {
            "s": str(position.series_id),
            "u": str(position.user_id),
            "e": position.epoch,
            "v": position.version,
            "sv": position.series_version,
            "k": position.occurrence_key,
            "o": position.is_open,
            "by": None if position.closed_by is None else position.closed_by.value,
            "cv": position.closed_version,
            "at": _text(position.closed_at),
            # As text: a number that is nought would be left out like one that is not known.
            "a": None if position.ahead is None else str(position.ahead // _SECOND),
        }
    )


def _position(task_id: UUID, document: dict[str, Any]) -> Position:
    closed_by, ahead = document.get("by"), document.get("a")
    return Position(
        task_id=task_id,
        series_id=UUID(document["s"]),
        user_id=UUID(document["u"]),
        epoch=document["e"],
        version=document["v"],
        series_version=document["sv"],
        occurrence_key=document["k"],
        is_open=document.get("o", False),
        closed_by=None if closed_by is None else ClosedBy(closed_by),
        closed_version=document.get("cv"),
        closed_at=_instant(document.get("at")),
        ahead=None if ahead is None else int(ahead) * _SECOND,
    )


def _series_document(series: KnownSeries) -> dict[str, Any]:
    tip = series.tip
    return _without_defaults(
        {
            "u": str(series.user_id),
            "e": series.epoch,
            "v": series.version,
            "r": series.rrule,
            "st": series.start,
            "tz": series.timezone,
            "p": series.policies.model_dump(mode="json", exclude_defaults=True),
            "x": list(series.exdates),
            "paused": series.paused,
            "ended": series.ended,
            "ra": _text(series.resumed_at),
            "erased": series.is_erased,
            "tip": None if tip is None else {"id": str(tip.task_id), **_position_document(tip)},
        }
    )


def _series(series_id: UUID, document: dict[str, Any]) -> KnownSeries:
    tip = document.get("tip")
    return KnownSeries(
        series_id=series_id,
        user_id=UUID(document["u"]),
        epoch=document["e"],
        version=document["v"],
        rrule=document.get("r", ""),
        start=document.get("st", ""),
        timezone=document.get("tz", ""),
        policies=RecurrencePolicies.model_validate(document.get("p", {})),
        exdates=tuple(document.get("x", ())),
        paused=document.get("paused", False),
        ended=document.get("ended", False),
        resumed_at=_instant(document.get("ra")),
        is_erased=document.get("erased", False),
        tip=None if tip is None else _position(UUID(tip["id"]), tip),
    )


def _text(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat()


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
