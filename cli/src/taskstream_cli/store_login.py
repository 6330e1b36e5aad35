"""TLS to PostgreSQL and Redis with an authority that the environment gives: DATABASE_CA and REDIS_CA, as PEM blocks."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import parse_qs, urlsplit

from taskstream_cli.authorities import trusting
from taskstream_cli.failing import Unable

_VERIFIED = ("require", "verify-ca", "verify-full")


def database_login(url: str) -> dict[str, Any]:
    """What asyncpg is given beside `postgresql://…`: nothing without DATABASE_CA, when sslmode alone says it.

    With it, sslmode=require and verify-ca look at who signed the certificate and verify-full at its name as well, as
    libpq does. Raises Unable with one sentence for what cannot be meant.
    """
    authority = os.environ.get("DATABASE_CA")
    if not authority:
        return {}
    mode = parse_qs(urlsplit(url).query).get("sslmode", ["prefer"])[-1]
    if mode not in _VERIFIED:
        raise Unable(
            f"With sslmode={mode} nothing is verified by DATABASE_CA: set sslmode=verify-full in DATABASE_URL."
        )
    context = trusting("DATABASE_CA", None if authority == "system" else authority, ", or system")
    context.check_hostname = mode == "verify-full"
    return {"ssl": context}


def redis_login(url: str) -> dict[str, Any]:
    """What redis-py is given beside `rediss://…`: nothing without REDIS_CA, when the system's authorities count."""
    authority = os.environ.get("REDIS_CA")
    if not authority:
        return {}
    if not url.startswith("rediss://"):
        raise Unable("Without TLS nothing is verified by REDIS_CA: give REDIS_URL as rediss://…")
    trusting("REDIS_CA", authority)
    return {"ssl_ca_data": authority}
