"""Authorities that the environment gives as PEM blocks."""

from __future__ import annotations

import ssl

from taskstream_cli.failing import Unable


def trusting(name: str, authority: str | None, or_else: str = "") -> ssl.SSLContext:
    """A client's context that trusts these certificates, those of the system without any.

    `name` is the variable's, `or_else` what else it may hold. Raises Unable for what holds no certificate.
    """
    try:
        return ssl.create_default_context(cadata=authority)
    except (ssl.SSLError, TypeError):
        raise Unable(f"{name} cannot be read: give certificates as PEM blocks{or_else}.") from None
