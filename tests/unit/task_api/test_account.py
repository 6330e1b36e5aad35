"""Passwords that will do, and addresses that are the same."""

from __future__ import annotations

import pytest

from task_api.domain.account import check_password, email_key
from task_api.domain.errors import WeakPassword


@pytest.mark.parametrize("password", ["correct horse", "Aa1!Aa2!", "pass phrase with blanks", "Zz9 zz9 q"])
def test_good_enough(password: str) -> None:
    check_password(password, "ada@example.org")


@pytest.mark.parametrize(
    "password",
    ["short", "Aa1!Aa1", "alllowercas", "ALLUPPER1!", "aaaaaaaaaaaaaa", "ADA@example.org", "ada.lovelace"],
)
def test_too_weak(password: str) -> None:
    email = "ada.lovelace@example.org" if password == "ada.lovelace" else "ada@example.org"
    with pytest.raises(WeakPassword):
        check_password(password, email)


def test_one_address_however_it_is_written() -> None:
    composed, decomposed = "J\u00f6rg@Example.org", " jo\u0308rg@example.ORG "
    assert email_key(composed) == email_key(decomposed) == "j\u00f6rg@example.org"
