"""Full text: accents folded, the last word as a beginning, titles before tags before descriptions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from task_api.domain.search import has_words

SEARCH = "/api/v1/tasks/search"


async def found(person: Any, q: str, **query: Any) -> list[str]:
    answer = await person.call("GET", SEARCH, 200, params={"q": q, **query})
    return [task["title"] for task in answer.json()["items"]]


@pytest.fixture
async def library(ada: Any, bob: Any) -> Any:
    await ada.create("Café in Zürich", description="the one by the lake")
    await ada.create("Buy paint", tags=["Zürich"])
    await ada.create("Book a train", description="to Zurich, first class")
    await ada.create("Don't forget the milk", tags=["home"])
    await bob.create("Zürich of somebody else")
    gone = await ada.create("Zürich, deleted")
    await ada.call("DELETE", f"/api/v1/tasks/{gone['id']}", 204)
    return ada


@pytest.mark.parametrize(
    ("q", "titles"),
    [
        ("zurich", ["Café in Zürich", "Buy paint", "Book a train"]),
        ("ZÜRI", ["Café in Zürich", "Buy paint", "Book a train"]),
        ("cafe zur", ["Café in Zürich"]),
        ("lake", ["Café in Zürich"]),
        ("train -class", []),
        ("train or paint", None),
        ('"first class"', ["Book a train"]),
        ('"class first"', []),
        ("don't", ["Don't forget the milk"]),
        ("nothing like it", []),
    ],
)
async def test_words(library: Any, q: str, titles: list[str] | None) -> None:
    got = await found(library, q)
    if titles is None:
        assert set(got) == {"Book a train", "Buy paint"}
    else:
        assert got == titles


async def test_tags_narrow_it_and_the_list_takes_words_too(library: Any) -> None:
    assert await found(library, "zurich", tags="Zürich") == ["Buy paint"]
    listed = await library.call("GET", "/api/v1/tasks", 200, params={"q": "zurich", "sort": "title"})
    assert [task["title"] for task in listed.json()["items"]] == [
        "Book a train",
        "Buy paint",
        "Café in Zürich",
    ]


async def test_pages_of_a_search(ada: Any) -> None:
    tasks = [{"title": f"plant {'plant ' * (n % 4)}{n}"} for n in range(25)]
    await ada.call("POST", "/api/v1/tasks/bulk", 201, json={"tasks": tasks})
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await ada.call("GET", SEARCH, 200, params={"q": "plant", "limit": 4, **cursor})).json()
        seen += [task["id"] for task in page["items"]]
        if not page["has_next"]:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert len(seen) == len(set(seen)) == 25
    await ada.call("GET", SEARCH, 422, params={"q": "other", **cursor})


@pytest.mark.parametrize("q", ["", "   ", "-", "!?", '""', "x" * 201])
async def test_what_holds_no_word_is_refused(ada: Any, q: str) -> None:
    answer = await ada.call("GET", SEARCH, 422, params={"q": q})
    assert answer.json()["error_code"] == "invalid_request"


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text(min_size=1, max_size=30).filter(lambda q: has_words(q) and "\x00" not in q and bool(q.strip()))
)
async def test_whatever_is_typed_is_no_syntax_error(ada: Any, q: str) -> None:
    answer = await ada.call("GET", SEARCH, params={"q": q})
    assert answer.status_code in (200, 422), answer.text
