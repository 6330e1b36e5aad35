"""Which slot of a series a due moment is."""

from __future__ import annotations

from datetime import date, datetime, time
from zoneinfo import ZoneInfo

from event_contracts.moments import resolve
from event_contracts.values import parse_local


def start_of_slot(key: str, zone: str) -> datetime:
    """Give the instant at which a slot begins; that of an all-day one is its midnight in the zone."""
    moment = parse_local(key)
    return resolve(moment if isinstance(moment, datetime) else datetime.combine(moment, time.min), zone)


def slot_of(due_at: datetime | None, due_date: date | None, zone: str) -> str | None:
    """Give the canonical local text of a due moment, which is its slot's key: `YYYY-MM-DD[THH:MM:SS]`."""
    if due_at is not None:
        return due_at.astimezone(ZoneInfo(zone)).replace(tzinfo=None).isoformat(timespec="seconds")
    return due_date.isoformat() if due_date is not None else None
