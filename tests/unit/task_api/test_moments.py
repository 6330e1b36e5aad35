"""Which slot a due moment is."""

from __future__ import annotations

from datetime import UTC, date, datetime

from task_api.domain.moments import slot_of, start_of_slot


def test_a_slot_is_written_in_local_time() -> None:
    assert (
        slot_of(datetime(2026, 1, 5, 8, 0, 0, 999_000, tzinfo=UTC), None, "Europe/Berlin")
        == "2026-01-05T09:00:00"
    )
    assert slot_of(None, date(2026, 1, 5), "Europe/Berlin") == "2026-01-05"
    assert slot_of(None, None, "Europe/Berlin") is None


def test_a_slot_begins_at_its_own_time_or_at_midnight() -> None:
    assert start_of_slot("2026-01-05T09:00:00", "Europe/Berlin") == datetime(2026, 1, 5, 8, tzinfo=UTC)
    assert start_of_slot("2026-07-05", "Europe/Berlin") == datetime(2026, 7, 4, 22, tzinfo=UTC)
