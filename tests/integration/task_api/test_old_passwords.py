"""Hashes that an older system made with bcrypt let people in once more, and are argon2id from then on."""

from __future__ import annotations

from typing import Any

import bcrypt
import pytest
from tests.integration.task_api.conftest import Person


@pytest.mark.parametrize("prefix", [b"2a", b"2b", b"2y"])
@pytest.mark.parametrize("password", ["correct horse battery", "ü" * 60])
async def test_a_bcrypt_hash_is_verified_and_renewed(
    ada: Person, http: Any, rows: Any, prefix: bytes, password: str
) -> None:
    salt = bcrypt.gensalt(4, prefix=b"2a" if prefix == b"2a" else b"2b")
    old = bcrypt.hashpw(password.encode()[:72], salt).replace(b"$2b$", b"$" + prefix + b"$", 1).decode()
    await rows("UPDATE users SET password_hash = :old WHERE id = :id RETURNING id", old=old, id=ada.id)
    for attempt, status in (("wrong password", 401), (password, 200), (password, 200)):
        answer = await http.post("/api/v1/auth/login", json={"email": ada.email, "password": attempt})
        assert answer.status_code == status
    (row,) = await rows("SELECT password_hash FROM users WHERE id = :id", id=ada.id)
    assert row["password_hash"].startswith("$argon2id$")


async def test_a_broken_hash_lets_nobody_in(ada: Person, http: Any, rows: Any) -> None:
    await rows("UPDATE users SET password_hash = '$2b$nonsense' WHERE id = :id RETURNING id", id=ada.id)
    answer = await http.post("/api/v1/auth/login", json={"email": ada.email, "password": "anything"})
    assert answer.status_code == 401
