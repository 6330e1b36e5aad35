"""Events of this service, through the own sidecar."""

from __future__ import annotations

from event_contracts.envelope import CloudEvent, derive_id
from event_contracts.recurrence import RecurringTaskGenerated
from event_contracts.topics import RECURRENCE, TOPICS
from service_kit.sidecar import Sidecar
from service_kit.telemetry import correlation_id, current_traceparent

_TOPIC = TOPICS["recurring-task-generated"]


class SidecarPublisher:
    """Publishes to the topics that this service produces."""

    def __init__(self, sidecar: Sidecar) -> None:
        self._sidecar = sidecar

    async def occurrence_generated(self, proposal: RecurringTaskGenerated) -> None:
        """Publish under an id that follows from what is proposed, so that twice is once.

        Raises SidecarUnavailable when it may or may not be out, PublishRejected.
        """
        traceparent = current_traceparent()
        event = CloudEvent[RecurringTaskGenerated](
            id=str(
                derive_id(
                    proposal.series_id,
                    proposal.predecessor_task_id,
                    proposal.predecessor_closed_version,
                    proposal.series_version,
                    proposal.occurrence_key,
                )
            ),
            source=f"/{RECURRENCE}",
            type=_TOPIC.event_type,
            subject=str(proposal.series_id),
            time=proposal.generated_at,
            traceid=traceparent,
            traceparent=traceparent,
            correlationid=correlation_id(),
            data=proposal,
        )
        await self._sidecar.publish(_TOPIC.name, event.encode(), _TOPIC.key_of(proposal))
