"""What a password is checked against: a hash of its own, or nobody's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from task_api.adapters.argon2_passwords import Argon2Passwords


@pytest.fixture
def passwords() -> Iterator[Argon2Passwords]:
    made = Argon2Passwords(1)
    yield made
    made.close()


@pytest.mark.parametrize("kept", [None, ""])
async def test_without_a_hash_no_password_matches(passwords: Argon2Passwords, kept: str | None) -> None:
    """An erasure leaves an empty hash; the work is done with one that has a password, too."""
    for password in ("a password that nobody has", ""):
        assert not await passwords.matches(password, kept)


async def test_a_hash_matches_its_own_password_alone(passwords: Argon2Passwords) -> None:
    kept = await passwords.hash("correct horse battery")
    assert await passwords.matches("correct horse battery", kept)
    assert not await passwords.matches("a password that nobody has", kept)
