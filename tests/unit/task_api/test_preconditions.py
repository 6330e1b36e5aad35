"""If-Match as RFC 9110 has it."""

from __future__ import annotations

import pytest

from service_kit.problems import Problem
from task_api.entrypoints.http.preconditions import _expected, etag, reading_etag


@pytest.mark.parametrize(
    ("header", "versions"),
    [
        (None, None),
        ("*", None),
        ('"3"', {3}),
        (' "3" , "4"', {3, 4}),
        ('W/"3"', set()),
        ('"abc"', set()),
        ('"03"', set()),
        ('""', set()),
        (etag(12), {12}),
        (reading_etag(12, b"{}"), {12}),
        (f"{etag(3)}, {reading_etag(4, b'{}')}", {3, 4}),
        (f"W/{reading_etag(12, b'{}')}", set()),
        ('"3-"', set()),
        ('"3-rest"', set()),
    ],
)
async def test_which_versions_it_names(header: str | None, versions: set[int] | None) -> None:
    assert await _expected(header) == versions


@pytest.mark.parametrize("header", ["3", "", '"3', '"3" "4"', "*, *"])
async def test_what_is_no_etag_is_said_so(header: str) -> None:
    with pytest.raises(Problem, match="malformed_if_match"):
        await _expected(header)
