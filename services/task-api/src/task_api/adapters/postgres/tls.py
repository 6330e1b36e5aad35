"""TLS to PostgreSQL: what `sslmode` of libpq means, with the authority given as text instead of as a file."""

from __future__ import annotations

import ssl

from sqlalchemy import make_url

MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
SYSTEM = "system"
"""Instead of certificates: the authorities that the operating system trusts."""

_DEFAULT = "prefer"
_VERIFIED = ("verify-ca", "verify-full")


def check_authority(authority: str) -> None:
    """Raise ValueError unless it holds certificates as PEM blocks, or says SYSTEM."""
    try:
        _context(authority)
    except (ssl.SSLError, TypeError):
        raise ValueError(f"it holds no certificate as a PEM block, and is not {SYSTEM}") from None


def check_agreement(database_url: str, authority: str | None) -> None:
    """Raise ValueError when the mode of `postgresql+asyncpg://…?ssl=mode` and the authority do not go together."""
    mode = _mode(database_url)
    if authority is None and mode in _VERIFIED:
        raise ValueError(f"sslmode={mode} in DATABASE_URL verifies by DATABASE_CA, which is not set")
    if authority is not None and mode not in (*_VERIFIED, "require"):
        raise ValueError(
            f"with sslmode={mode} nothing is verified by DATABASE_CA: set sslmode=verify-full in DATABASE_URL"
        )


def tls(database_url: str, authority: str | None) -> dict[str, ssl.SSLContext]:
    """What asyncpg is given beside the address: nothing without an authority, when the address says it alone.

    With one, `require` and `verify-ca` look at who signed the server's certificate, `verify-full` at its name as well.
    """
    if authority is None:
        return {}
    context = _context(authority)
    context.check_hostname = _mode(database_url) == "verify-full"
    return {"ssl": context}


def _context(authority: str) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=None if authority == SYSTEM else authority)


def _mode(database_url: str) -> str:
    mode = make_url(database_url).query.get("ssl", _DEFAULT)
    return mode if isinstance(mode, str) else mode[-1]
