"""What the doctor makes of clocks, versions and the metrics of a service."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from taskstream_cli.doctor.command import compare_clocks
from taskstream_cli.doctor.exporter import check_exporter, look_at_exporter
from taskstream_cli.doctor.report import Report
from taskstream_cli.doctor.services import check_work, compare_versions
from taskstream_cli.doctor.stores import reading

_NOW = datetime(2026, 3, 1, tzinfo=UTC)


def _report_of_clocks(**seconds_ahead: float) -> Report:
    report = Report()
    report.clocks = [
        reading(part, _NOW + timedelta(seconds=ahead), _NOW, _NOW + timedelta(milliseconds=20))
        for part, ahead in seconds_ahead.items()
    ]
    compare_clocks(report)
    return report


def test_clocks_that_are_apart_are_named() -> None:
    assert _report_of_clocks(redis=0.3, postgres=-0.1).findings == []
    (finding,) = _report_of_clocks(redis=2.0, postgres=0.0, notifier=-1.0).findings
    assert finding.sentence.startswith("The clock of redis is 3.0 s ahead of that of notifier")


def test_a_slow_answer_is_not_taken_for_a_wrong_clock() -> None:
    report = Report()
    report.clocks = [
        reading("redis", _NOW, _NOW, _NOW),
        reading("notifier", _NOW + timedelta(seconds=2), _NOW, _NOW + timedelta(seconds=2)),
    ]
    compare_clocks(report)
    assert report.findings == []


def test_releases_that_differ_are_named() -> None:
    report = Report(versions={"task-api": "1.1.0", "reminders": "1.0.0"})
    compare_versions(report)
    assert [one.part for one in report.findings] == ["versions"]
    report = Report(versions={"task-api": "1.1.0", "reminders": "1.1.0"})
    compare_versions(report)
    assert report.findings == []


def _findings(service: str, **values: float) -> list[str]:
    names = {
        "started": "process_start_time_seconds",
        "ticked": 'last_tick_timestamp_seconds{cron="reminder-cron"}',
        "steps": 'loop_next_step_timestamp_seconds{loop="alarm"}',
    }
    report = Report()
    check_work(report, service, "".join(f"{names[name]} {value}\n" for name, value in values.items()))
    return [one.sentence for one in report.findings]


def test_a_cron_that_fell_silent_is_named_and_one_that_is_young_is_not() -> None:
    now = time.time()
    assert _findings("reminders", started=now - 100, ticked=now - 2) == []
    assert _findings("reminders", started=now - 10) == []
    (never,) = _findings("reminders", started=now - 100)
    assert never.startswith("reminder-cron has not ticked for 100 s")
    (since,) = _findings("reminders", started=now - 100, ticked=now - 50)
    assert since.startswith("reminder-cron has not ticked for 50 s")


def test_a_loop_that_does_nothing_is_named() -> None:
    now = time.time()
    assert _findings("task-api", started=now, steps=now + 3_600) == []
    assert _findings("task-api", started=now, steps=now - 5) == []
    (finding,) = _findings("task-api", started=now, steps=now - 1_000)
    assert finding.startswith("Its loop alarm is 1000 s late")


def _exporter(looked_at: float) -> Report:
    report = Report()
    check_exporter(
        report,
        f'dead_letters{{consumer="reminders"}} 2.0\ndead_letters{{consumer="notifier"}} 1.0\n'
        f"kafka_looked_at_timestamp_seconds {looked_at}\n",
    )
    return report


def test_an_exporter_that_does_not_see_kafka_is_named() -> None:
    now = time.time()
    report = _exporter(now - 3)
    assert report.findings == []
    assert report.seen["exporter"] == "looked at Kafka 3 s ago, 3 dead letters"
    (finding,) = _exporter(now - 400).findings
    assert finding.sentence.startswith("It has not seen Kafka for 400 s")
    (never,) = _exporter(0).findings
    assert never.sentence.startswith("It has not seen Kafka since it was started")


@pytest.mark.parametrize("text", ["", "up 1\n", "<html>"])
def test_what_is_no_exporter_is_not_taken_for_one(text: str) -> None:
    with pytest.raises(ValueError):
        check_exporter(Report(), text)


async def test_an_exporter_that_is_away_is_named_and_one_without_an_address_is_not() -> None:
    report = Report()
    await look_at_exporter(report, None)
    assert report.findings == []
    await look_at_exporter(report, "http://127.0.0.1:1")
    (finding,) = report.findings
    assert "EXPORTER_URL" in finding.sentence
