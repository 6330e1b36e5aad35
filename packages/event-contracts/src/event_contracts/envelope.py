"""The CloudEvents 1.0 envelope of every event, in structured JSON.

We set `id` ourselves, so that every delivery of one event carries one id, and `traceid` equal to `traceparent`,
because daprd fills `traceparent` from `traceid` and empties it otherwise.
"""

from __future__ import annotations

from typing import Generic, Literal, TypeVar
from uuid import UUID, uuid5

from pydantic import BaseModel, ConfigDict, Field

from event_contracts.values import UtcInstant

DataT = TypeVar("DataT", bound=BaseModel)

CONTENT_TYPE = "application/cloudevents+json"

_NAMESPACE = UUID("6f0c5b1e-2d0a-5c39-9d0e-6a1f54f3c7a4")


def derive_id(*parts: object) -> UUID:
    """Give the one id that these parts always have (UUIDv5 over their texts, separated so that none run together).

    Whatever is announced twice because a process died in between goes out under the same id and is dropped as a copy.
    """
    return uuid5(_NAMESPACE, "\x1f".join(str(part) for part in parts))


class CloudEvent(BaseModel, Generic[DataT]):
    """One event on the bus. `time` is when it happened, in UTC; `subject` is the id that `data` speaks of."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    specversion: Literal["1.0"] = "1.0"
    id: str = Field(min_length=1, max_length=128)
    source: str = Field(min_length=1, max_length=128)
    type: str = Field(min_length=1, max_length=128)
    subject: str | None = None
    time: UtcInstant
    datacontenttype: Literal["application/json"] = "application/json"
    traceid: str | None = None
    traceparent: str | None = None
    tracestate: str | None = None
    correlationid: str | None = None
    data: DataT

    def encode(self) -> bytes:
        """Give the JSON bytes that are published; attributes that are absent are left out (CloudEvents 1.0, 3.1)."""
        envelope = self.model_dump_json(exclude={"data"}, exclude_none=True).encode()
        return b'%b,"data":%b}' % (envelope[:-1], self.data.model_dump_json().encode())
