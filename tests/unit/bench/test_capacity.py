"""The model's arithmetic, by numbers that can be worked out in one's head; and the pages tell what it gives."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from bench import pages
from bench.capacity import GIB, POPULATIONS, Costs, Profile, Sizes, bounds, need

# One millisecond of each, so that cores are thousandths of what happens a second.
COSTS = Costs(
    api_create=1, api_get=1, api_list=1, database_create=1, database_get=1, database_list=1, sidecar_event=1,
    kafka_event=1, handled_event=1, fired_reminder=0.5, inbox_entry=0.5, handler_seconds=0.01, task_bytes=512,
    ledger_bytes=256, open_task_bytes=1_024, entry_bytes=64, stream_bytes=1_024, service_bytes=GIB / 8,
    sidecar_bytes=GIB / 8,
)  # fmt: skip
# 86,400 people: of what one does in a day, so much happens in a second.
PEOPLE = 86_400
PROFILE = Profile(
    active=1, created=1, changed=1, got=2, listed=3, reminded=1, peak=1, open=10, inbox=16, kept=1_024
)


def test_what_happens_in_a_second() -> None:
    one = need(PEOPLE, COSTS, PROFILE)
    assert one.requests == pytest.approx(2 + 2 + 3)
    assert one.events == pytest.approx(2 * 2 + 2 * 1)
    assert one.api_cores == pytest.approx(7 / 1000)
    assert one.sidecar_cores == pytest.approx(6 / 1000)
    # Each write is heard by three, its schedule by one; each reminder by two, its delivery by one.
    assert one.handler_cores == pytest.approx((4 * 2 + 3 * 1 + 1) / 1000)
    assert one.database_cores == pytest.approx(7 / 1000)
    assert one.kafka_cores == pytest.approx(6 / 1000)


def test_what_is_kept() -> None:
    one = need(PEOPLE, COSTS, PROFILE)
    assert one.database_gib == pytest.approx(PEOPLE * 1_024 * (512 + 2 * 256) / GIB)
    assert one.redis_gib == pytest.approx(PEOPLE * (10 * 1_024 + 16 * 64) / GIB)
    assert one.kafka_gib == pytest.approx(6 * 86_400 * 7 * 1_400 * 3 / GIB)


def test_everything_that_grows_grows_with_the_people() -> None:
    few, many = need(PEOPLE, COSTS, PROFILE), need(PEOPLE * 100, COSTS, PROFILE)
    for name in (
        "requests",
        "events",
        "api_cores",
        "handler_cores",
        "database_gib",
        "redis_gib",
        "kafka_gib",
    ):
        assert getattr(many, name) == pytest.approx(100 * getattr(few, name))


def test_peaks_fill_processors_and_not_disks() -> None:
    calm, busy = need(PEOPLE, COSTS, PROFILE), need(PEOPLE, COSTS, replace(PROFILE, peak=10))
    assert busy.api_cores == pytest.approx(10 * calm.api_cores)
    assert busy.kafka_gib == pytest.approx(calm.kafka_gib)


def test_units_are_rounded_up_and_never_none() -> None:
    sizes = Sizes(redis_bytes=GIB / 2, full=0.5)
    one = need(PEOPLE * 100, COSTS, PROFILE, sizes)
    assert one.redis_shards == 182  # 90.6 GiB in halves
    assert one.api_replicas == 2  # 0.7 cores, half filled
    assert need(1, COSTS, PROFILE).partitions == 6
    assert (
        need(PEOPLE * 1_000, COSTS, PROFILE, sizes).partitions == 40
    )  # 2,000 writes, 10 ms each, half filled


def test_a_bound_is_where_the_need_reaches_it() -> None:
    found = bounds(COSTS, PROFILE)
    assert [one.people for one in found] == sorted(one.people for one in found)
    api = next(one for one in found if "task-api" in one.what)
    assert need(round(api.people), COSTS, PROFILE).api_cores == pytest.approx(Sizes().full, rel=1e-4)
    disk = next(one for one in found if "disk" in one.what)
    assert need(round(disk.people), COSTS, PROFILE).database_gib == pytest.approx(4_096, rel=1e-4)


def test_a_result_that_lacks_a_figure_is_told() -> None:
    with pytest.raises(KeyError, match="create: processor time of task-api"):
        Costs.of([])


def test_the_pages_tell_the_newest_result() -> None:
    newest = pages.newest()
    result = json.loads(newest.read_text(encoding="utf-8"))
    for page in pages.PAGES:
        text = page.read_text(encoding="utf-8")
        assert pages.written(text, result, f"results/{newest.name}") == text, (
            f"{page.name}: python -m bench.pages"
        )
    assert all(need(people, Costs.of(pages.figures_of(result))).euros > 0 for people in POPULATIONS)
