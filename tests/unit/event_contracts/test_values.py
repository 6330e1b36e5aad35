"""Value types keep their promise: instants in UTC, wall times without offset, keys in one form, ids that repeat."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from event_contracts.envelope import derive_id
from event_contracts.values import LocalMoment, UtcInstant, WallTime, Zone, parse_local

INSTANT = TypeAdapter(UtcInstant)


@given(
    st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(9998, 1, 1)),
    st.integers(-14 * 60, 14 * 60),
)
def test_instants_are_kept_in_utc_and_written_with_z(moment: datetime, offset_minutes: int) -> None:
    aware = moment.replace(tzinfo=timezone(timedelta(minutes=offset_minutes)))
    read = INSTANT.validate_python(aware)
    assert read == aware
    assert read.tzinfo is UTC
    written = INSTANT.dump_json(read).decode()
    assert written.endswith('Z"')
    assert INSTANT.validate_json(written) == aware


def test_an_instant_without_offset_is_refused() -> None:
    with pytest.raises(ValidationError):
        INSTANT.validate_python("2026-03-23T09:00:00")


def test_wall_time_has_no_offset_and_reads_as_hours_and_minutes() -> None:
    wall = TypeAdapter(WallTime)
    assert wall.dump_json(wall.validate_python("09:00")) == b'"09:00"'
    assert wall.validate_python("23:59:30") == time(23, 59, 30)
    with pytest.raises(ValidationError):
        wall.validate_python("09:00Z")


@pytest.mark.parametrize(
    "name", ["Europe/Berlin", "America/Argentina/Buenos_Aires", "UTC", "Australia/Lord_Howe"]
)
def test_known_zones(name: str) -> None:
    assert TypeAdapter(Zone).validate_python(name) == name


@pytest.mark.parametrize("name", ["", "Berlin", "../../etc/passwd", "europe/berlin", "+02:00"])
def test_unknown_zones_are_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Zone).validate_python(name)


@pytest.mark.parametrize("text", ["2026-03-23", "2026-03-23T09:00:00"])
def test_local_moments_keep_their_form(text: str) -> None:
    assert TypeAdapter(LocalMoment).validate_python(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "20260323",
        "2026-W12-1",
        "2026-03-23T09:00",
        "2026-03-23T09:00:00Z",
        "2026-02-30",
        "2026-03-23 09:00:00",
    ],
)
def test_other_forms_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_local(text)


def test_derived_ids_repeat_and_do_not_run_together() -> None:
    assert derive_id("a", 1) == derive_id("a", 1)
    assert derive_id("a", "bc") != derive_id("ab", "c")
