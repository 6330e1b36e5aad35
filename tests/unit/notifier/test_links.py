"""A link is one that was written here, unchanged; and it does one thing, once."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.notifier.samples import START, USER
from tests.unit.service_kit.spellings import other_spellings

from notifier.adapters.signed_links import SignedLinks
from notifier.application.errors import LinkInvalid
from notifier.domain.links import Link, LinkAction

SECRET, OTHER = "s" * 32, "o" * 32
LINKS = SignedLinks((SECRET,), "https://tasks.example.org/")
SNOOZE = Link(LinkAction.SNOOZE, USER, START, uuid4(), uuid4(), 60)


def token(link: Link, links: SignedLinks = LINKS) -> str:
    address, _, written = links.url(link).rpartition("/")
    assert address == "https://tasks.example.org/api/v1/actions"
    return written


@pytest.mark.parametrize(
    "link",
    [SNOOZE, Link(LinkAction.COMPLETE, USER, START, uuid4()), Link(LinkAction.STOP_MAIL, USER, START)],
)
def test_a_link_reads_back(link: Link) -> None:
    assert LINKS.read(token(link)) == link
    assert len(LINKS.url(link)) < 200, "mail programs break long addresses"


def test_an_older_secret_still_reads_and_a_foreign_one_does_not() -> None:
    renewed = SignedLinks((OTHER, SECRET), "https://tasks.example.org")
    assert renewed.read(token(SNOOZE)) == SNOOZE
    with pytest.raises(LinkInvalid):
        LINKS.read(token(SNOOZE, renewed))


@given(st.integers(0, 8 * 75 - 1))
def test_one_bit_changed_makes_it_no_link(bit: int) -> None:
    signed = bytearray(base64.urlsafe_b64decode(token(SNOOZE)))
    signed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(LinkInvalid):
        LINKS.read(base64.urlsafe_b64encode(signed).rstrip(b"=").decode())


def test_a_link_written_in_another_way_is_no_link() -> None:
    """It would be followed once more: what was used up is known by how it was written."""
    written = next(
        text
        for text in (token(replace(SNOOZE, task_id=uuid4())) for _ in range(1000))
        if "-" in text and "_" in text
    )
    LINKS.read(written)
    for other in other_spellings(written):
        with pytest.raises(LinkInvalid):
            LINKS.read(other)


@given(st.one_of(st.text(max_size=120), st.binary(max_size=90).map(lambda raw: raw.hex())))
def test_anything_else_is_no_link(text: str) -> None:
    with pytest.raises(LinkInvalid):
        LINKS.read(text)


def test_a_snooze_counts_from_when_the_link_was_first_followed() -> None:
    assert SNOOZE.snoozed_until(START) == START + timedelta(hours=1)
    assert replace(SNOOZE, action=LinkAction.COMPLETE).snoozed_until(START) is None
