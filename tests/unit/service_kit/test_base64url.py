"""Bytes have one text, and no other text is read."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.unit.service_kit.spellings import leniently, other_spellings

from service_kit import base64url


@given(st.binary(max_size=80))
def test_what_was_written_is_read(raw: bytes) -> None:
    text = base64url.written(raw)
    assert base64url.read(text) == raw == leniently(text)
    assert not {"+", "/", "="} & set(text)


@given(st.binary(min_size=1, max_size=80))
@example(b"\xfb\xef\xbe\xff\xff")
@example(b"\xff\xff\xff\xfb")
def test_no_other_text_of_the_same_bytes_is_read(raw: bytes) -> None:
    others = other_spellings(base64url.written(raw))
    assert others
    for other in others:
        with pytest.raises(ValueError, match=r"."):
            base64url.read(other)


@given(st.text(max_size=40))
def test_what_is_no_such_text_is_not_read(text: str) -> None:
    try:
        raw = base64url.read(text)
    except ValueError:
        return
    assert base64url.written(raw) == text
