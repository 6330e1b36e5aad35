"""The marker that says which generation of derived documents is the valid one.

Document keys hold its random generation, for after a flush of Redis ETags start at 1 again and an old writer would
win. It is read from the store each time, never from memory: a marker that is gone means that everything is gone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from secrets import token_hex
from typing import Any

from service_kit.state_store import DocumentStore, StateConflict

MARKER_KEY = "marker"


@dataclass(frozen=True)
class Marker:
    """`generation` is random, `epoch` that of PostgreSQL it was built from, `run_id` that of the Redis it lives in.

    `began` is when the generation was made: what the one before it knew is gone. None when nobody noted it.
    """

    generation: str
    epoch: int
    run_id: str
    began: datetime | None = None


class MarkerStore:
    """Reads and makes the marker of this service in its state store."""

    def __init__(self, state: DocumentStore) -> None:
        self._state = state

    async def read(self) -> Marker | None:
        """The marker as the store has it now; None when there is none. Raises StateUnavailable."""
        stored = await self._state.get(MARKER_KEY)
        if stored is None:
            return None
        value = stored.value
        began = value.get("began")
        return Marker(
            str(value["generation"]),
            int(value["epoch"]),
            str(value["run_id"]),
            None if began is None else datetime.fromisoformat(str(began)),
        )

    async def create(self, epoch: int, run_id: str, began: datetime | None = None) -> Marker:
        """Begin a new generation, in place of the marker that is there if there is one.

        Raises StateConflict when another replica was first (read its marker instead) and StateUnavailable.
        """
        marker = Marker(token_hex(4), epoch, run_id, began)
        present = await self._state.get(MARKER_KEY)
        if present is None:
            await self._state.create(MARKER_KEY, _value(marker))
        else:
            await self._state.replace(MARKER_KEY, _value(marker), present.etag)
        return marker

    async def renew_run_id(self, marker: Marker, run_id: str) -> Marker:
        """Note that Redis was restarted and what it lost is mended: the same generation, another run id.

        Raises StateConflict when another replica changed the marker since, StateUnavailable.
        """
        present = await self._state.get(MARKER_KEY)
        renewed = replace(marker, run_id=run_id)
        if present is None or present.value.get("generation") != marker.generation:
            raise StateConflict("the marker is of another generation")
        await self._state.replace(MARKER_KEY, _value(renewed), present.etag)
        return renewed


def _value(marker: Marker) -> dict[str, Any]:
    began = {} if marker.began is None else {"began": marker.began.isoformat()}
    return {"generation": marker.generation, "epoch": marker.epoch, "run_id": marker.run_id} | began
