"""What a filter asks for must reach the statement: a value that no condition knows would let everything through."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from event_contracts.values import Priority, TaskStatus
from task_api.adapters.postgres.tables import tasks
from task_api.adapters.postgres.task_filters import conditions, values_of
from task_api.adapters.postgres.task_pages import listed
from task_api.application.ports import Order, TaskFilter

ADA, BOB = UUID(int=1), UUID(int=2)
NOON = datetime(2030, 5, 4, 12, tzinfo=UTC)
FILTERS: dict[str, list[Any]] = {
    "status": [(TaskStatus.PENDING,), (TaskStatus.PENDING, TaskStatus.COMPLETED)],
    "priority": [(Priority.HIGH,), (Priority.HIGH, Priority.URGENT)],
    "tags": [("home",), ("home", "garden")],
    "due_before": [NOON],
    "due_after": [NOON],
    "series_id": [UUID(int=3)],
    "updated_since": [NOON],
    "overdue_at": [NOON],
    "words": ["water", "water pl", '"water the"', "water or pl"],
    "number": [17],
    "deleted": [True],
}


def _statement(user_id: UUID, only: TaskFilter) -> tuple[str, dict[str, Any]]:
    values = values_of(user_id, only)
    compiled = select(tasks.c.id).where(*conditions(values, deleted=only.deleted)).compile()
    return str(compiled), dict(compiled.params)


def test_every_filter_is_tried_here() -> None:
    assert set(FILTERS) == {field.name for field in fields(TaskFilter)}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in FILTERS.items() for value in values]
)
def test_each_filter_narrows_the_statement_by_all_of_its_values(name: str, value: Any) -> None:
    only = replace(TaskFilter(), **{name: value})
    text, parameters = _statement(ADA, only)
    assert text != _statement(ADA, TaskFilter())[0]
    assert set(values_of(ADA, only)) <= set(parameters)


def test_one_statement_serves_all_filters_of_a_shape() -> None:
    def statement(user_id: UUID, tag: str) -> Any:
        names = frozenset(values_of(user_id, TaskFilter(tags=(tag,))))
        return listed(names, Order(), deleted=False, later=False, skipping=False)

    assert statement(ADA, "home") is statement(BOB, "garden")
