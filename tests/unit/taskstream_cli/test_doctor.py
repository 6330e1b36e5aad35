"""What the doctor makes of clocks, versions and the metrics of a service."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from taskstream_cli.__main__ import app
from taskstream_cli.doctor import command
from taskstream_cli.doctor.command import compare_clocks
from taskstream_cli.doctor.exporter import check_exporter, look_at_exporter
from taskstream_cli.doctor.patience import until_well
from taskstream_cli.doctor.report import Finding, Report
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


def _looks(*findings: list[Finding]) -> tuple[Callable[[], Awaitable[Report]], list[Report]]:
    """Reports with these findings, the last one for ever; and those that were asked for."""
    asked: list[Report] = []

    async def look() -> Report:
        asked.append(Report(findings=list(findings[min(len(asked), len(findings) - 1)])))
        return asked[-1]

    return look, asked


_SILENT = Finding("reminders", "Its sidecars do not listen to any topic.")
_PARKED = Finding("outbox", "1 events are parked.")


async def test_what_is_not_yet_well_is_asked_again_and_told_once() -> None:
    told: list[Finding] = []
    look, asked = _looks([_SILENT], [_SILENT, _PARKED], [_SILENT], [])
    report = await until_well(look, 5, told.append, pause=0.01)
    assert (report.findings, len(asked)) == ([], 4)
    assert told == [_SILENT, _PARKED]


async def test_waiting_ends_with_what_is_wrong_then() -> None:
    look, asked = _looks([_PARKED], [_SILENT])
    report = await until_well(look, 0.2, lambda _: None, pause=0.01)
    assert report.findings == [_SILENT]
    assert len(asked) > 2


async def test_without_a_wait_there_is_one_look_and_what_is_well_is_asked_once() -> None:
    told: list[Finding] = []
    look, asked = _looks([_PARKED])
    assert (await until_well(look, 0, told.append)).findings == [_PARKED]
    well, asked_of_well = _looks([])
    assert (await until_well(well, 60, told.append)).findings == []
    assert (len(asked), len(asked_of_well), told) == (1, 1, [])


@pytest.mark.parametrize(("wait", "code"), [([], 1), (["--wait", "30"], 0)])
def test_the_command_waits_as_long_as_it_is_told(
    monkeypatch: pytest.MonkeyPatch, wait: list[str], code: int
) -> None:
    look, _ = _looks([_SILENT], [])

    async def examine(*_: object) -> Report:
        return await look()

    monkeypatch.setattr(command, "examine", examine)
    options = ["--database-url", "postgresql://u:p@h/n", "--redis-url", "redis://h:1/0"]
    done = CliRunner().invoke(app, ["doctor", *options, *wait])
    assert done.exit_code == code
    assert ("all is well" in done.stdout) == (code == 0)
    assert (f"…  reminders   {_SILENT.sentence}" in done.stderr) == (code == 0)
