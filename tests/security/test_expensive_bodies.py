"""Bodies of the size that is taken, made to be expensive to refuse, or to hold what JSON cannot say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, get_origin

import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel, ValidationError

import task_api.app  # noqa: F401 - every body is known once the service is loaded
from service_kit.http_app import MAX_BODY_BYTES
from service_kit.problems import install_problems
from task_api.entrypoints.http.fields import FIELDS_MAX, Body
from task_api.entrypoints.http.task_models import TaskCreate


def _all_of(model: type[Body]) -> Iterator[type[Body]]:
    for one in model.__subclasses__():
        yield one
        yield from _all_of(one)


BODIES = sorted(set(_all_of(Body)), key=lambda model: model.__name__)
LISTS = [
    pytest.param(model, name, id=f"{model.__name__}.{name}")
    for model in BODIES
    for name, field in model.model_fields.items()
    if get_origin(field.annotation) in (tuple, list)
]


def _errors(model: type[BaseModel], body: dict[str, Any]) -> list[Any]:
    with pytest.raises(ValidationError) as refused:
        model.model_validate(body)
    return list(refused.value.errors(include_url=False, include_input=False))


@pytest.mark.parametrize(("model", "name"), LISTS)
def test_a_list_is_counted_before_its_items_are_looked_at(model: type[Body], name: str) -> None:
    of_the_list = [
        one for one in _errors(model, {name: [[]] * (MAX_BODY_BYTES // 3)}) if one["loc"][0] == name
    ]
    assert [(one["loc"], one["type"]) for one in of_the_list] == [((name,), "too_long")]


@pytest.mark.parametrize("model", BODIES)
def test_unknown_fields_are_counted_before_each_is_told(model: type[Body]) -> None:
    many = {f"{number:x}": 1 for number in range(MAX_BODY_BYTES // 9)}
    (one,) = _errors(model, many)
    assert (one["loc"], one["type"]) == ((), "value_error")
    few = {f"{number:x}": 1 for number in range(FIELDS_MAX)}
    assert len(_errors(model, few)) >= FIELDS_MAX - len(model.model_fields)


async def test_of_many_wrong_fields_a_hundred_are_told() -> None:
    app = FastAPI()
    install_problems(app)

    @app.post("/numbers")
    async def numbers(body: list[int]) -> None: ...

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
        answer = await client.post("/numbers", json=["x"] * 5_000)
    assert answer.status_code == 422
    assert len(answer.json()["errors"]) == 100
    assert answer.json()["detail"] == "5000 fields are wrong; the first 100 are named."
    assert len(answer.content) < 20_000


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", '{"a": [1, {"b": 1e999}]}'])
def test_a_number_that_would_be_kept_as_null_is_refused(number: str) -> None:
    (one,) = _errors(TaskCreate, {"title": "t", "metadata": {"a": json.loads(number), "b": None}})
    assert one["loc"] == ("metadata",)


def test_null_and_its_name_are_kept() -> None:
    metadata = {"a": None, "b": "null", "null": [1.5, 1e300, {"c": None}]}
    assert TaskCreate.model_validate({"title": "t", "metadata": metadata}).metadata == metadata


@pytest.mark.parametrize(
    "metadata",
    [
        '{"a":' * 255 + "1" + "}" * 255,
        '{"a":' * 900 + "1" + "}" * 900,
        '{"a":' + "9" * 4_000 + "}",
        '{"a":"' + "x" * 20_000 + '"}',
        "{" + ",".join(f'"{number}":1' for number in range(5_000)) + "}",
    ],
    ids=["deep", "deeper", "a long number", "a long text", "many keys"],
)
def test_metadata_that_is_too_much_is_one_error(metadata: str) -> None:
    (one,) = _errors(TaskCreate, {"title": "t", "metadata": json.loads(metadata)})
    assert one["loc"][0] == "metadata"


def test_of_a_key_that_comes_twice_the_last_one_is_checked_and_counts() -> None:
    """RFC 8259, 4: names should be unique, and which one counts is open. What is checked must be what is kept."""
    assert TaskCreate.model_validate(json.loads('{"title": "", "title": "t"}')).title == "t"
    assert _errors(TaskCreate, json.loads('{"title": "t", "title": ""}'))
