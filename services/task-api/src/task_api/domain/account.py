"""Accounts: who a person is to us, and when a password will do."""

from __future__ import annotations

import string
import unicodedata
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from uuid import UUID

from task_api.domain.errors import WeakPassword

PASSWORD_MAX = 256
_LONG_ENOUGH = 12
_AT_LEAST = 8


@dataclass(frozen=True, slots=True)
class Account:
    """A person's account. `timezone` and `day_start` are what new tasks, and all-day ones, go by."""

    id: UUID
    email: str
    timezone: str
    created_at: datetime
    updated_at: datetime
    first_name: str | None = None
    last_name: str | None = None
    day_start: time = time(9)
    locale: str = "en"
    default_reminder: timedelta | None = None
    role: str = "user"


def email_key(email: str) -> str:
    """Give the form under which an address is unique: composed (NFC), without outer blanks, in lower case."""
    return unicodedata.normalize("NFC", email.strip()).lower()


def check_password(password: str, email: str) -> None:
    """Raise WeakPassword unless it has 12 characters, or 8 with small and capital letters, digits and signs.

    Either way it is not the e-mail address and has at least five different characters.
    """
    if password.lower() in (email.lower(), email.lower().partition("@")[0]):
        raise WeakPassword("must not be the e-mail address")
    if len(set(password)) < 5:
        raise WeakPassword("needs at least five different characters")
    if len(password) >= _LONG_ENOUGH:
        return
    kinds = (
        any(character.islower() for character in password),
        any(character.isupper() for character in password),
        any(character.isdigit() for character in password),
        any(character in string.punctuation or character.isspace() for character in password),
    )
    if len(password) < _AT_LEAST or not all(kinds):
        raise WeakPassword("needs 12 characters, or 8 with small and capital letters, digits and signs")
