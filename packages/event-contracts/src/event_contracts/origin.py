"""Whose call it was: what is done for it later, in whichever service, carries this on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Origin:
    """The trace (W3C `traceparent`) and the correlation id of a call, as far as they are known."""

    traceparent: str | None = None
    correlation_id: str | None = None


UNKNOWN = Origin()
