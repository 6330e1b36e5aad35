"""A figure is judged by its goal, is written as it was, and stands in the table."""

from __future__ import annotations

from bench.figures import Figure, number, table


def test_a_goal_is_of_the_value_or_of_the_ratio() -> None:
    slow = Figure("flow", "p99", 120.0, "ms", goal=("at most", 100))
    assert (slow.met, slow.ratio) == (False, None)
    half = Figure("relay", "events", 500.0, "events/s", "bare", 1_000.0, ("at least", 0.5), of_ratio=True)
    assert (half.met, half.ratio) == (True, 0.5)
    assert Figure("relay", "events", 1.0, "events/s", goal=("at least", 0.5), of_ratio=True).met is False
    assert Figure("flow", "p50", 1.0, "ms").met is None


def test_json_has_what_is_set_and_zero_is_set() -> None:
    none_left = Figure("overload", "neither", 0.0, "requests", goal=("at most", 0))
    assert none_left.as_json() == {
        "part": "overload",
        "name": "neither",
        "value": 0.0,
        "unit": "requests",
        "goal": ("at most", 0),
        "met": True,
    }


def test_numbers_have_three_digits_that_count() -> None:
    assert [number(one) for one in (0, 0.0123456, 0.5, 2.345, 12.34, 1234.5, 1e7)] == [
        "0", "0.0123", "0.5", "2.35", "12.3", "1,234", "10,000,000",
    ]  # fmt: skip


def test_the_table_is_markdown() -> None:
    lines = table([Figure("flow", "p99", 120.0, "ms", goal=("at most", 100))]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert [cell.strip() for cell in lines[2].split("|")[1:-1]] == [
        "flow", "p99", "120 ms", "", "", "≤ 100", "**no**",
    ]  # fmt: skip
