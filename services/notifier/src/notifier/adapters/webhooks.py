"""Reminders as signed POST requests, by the Standard Webhooks specification."""

from __future__ import annotations

import json
from binascii import Error as Base64Error
from datetime import datetime, timedelta
from typing import Any

from standardwebhooks.webhooks import EmptyWebhookSecretError
from standardwebhooks.webhooks import Webhook as Signature

from event_contracts.moments import written
from notifier.adapters.outbound import Outbound
from notifier.application.errors import ChannelUnavailable, DestinationGone
from notifier.domain.contact import Webhook
from notifier.domain.wording import Message

_GONE = 410
_SECOND = timedelta(seconds=1)


class SignedWebhooks:
    """`Webhooks` over HTTP. `webhook-id` is the notification's id on every try, so that a receiver can drop a copy."""

    def __init__(self, outbound: Outbound, public_url: str) -> None:
        self._outbound = outbound
        self._public_url = public_url.rstrip("/")

    async def post(self, webhook: Webhook, message: Message, at: datetime) -> None:
        identity = str(message.notification_id)
        body = self._body(message)
        headers = {
            "content-type": "application/json",
            "user-agent": "Taskstream",
            "webhook-id": identity,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": _signature(webhook, identity, at, body),
        }
        answer = await self._outbound.post(webhook.url, body.encode(), headers)
        if answer.status == _GONE:
            raise DestinationGone(f"the webhook answered {_GONE}")
        if not 200 <= answer.status < 300:
            raise ChannelUnavailable(f"the webhook answered {answer.status}")

    def _body(self, message: Message) -> str:
        kind = "reminder.due" if message.reminder_id is not None else "occurrence.generated"
        data = self._data(message)
        if message.parts or message.task_id is None:
            kind = "reminder.digest" if message.parts else "notification.test"
            data = {
                "notification_id": str(message.notification_id),
                "title": message.title,
                "body": message.body,
            }
        if message.parts:
            data["reminders"] = [self._data(part) for part in message.parts]
        # The reminder's own time, not that of the try: how late that comes is said beside it.
        event = {"type": kind, "timestamp": written(message.fire_at), "data": data}
        return json.dumps(event, ensure_ascii=False, separators=(",", ":"))

    def _data(self, message: Message) -> dict[str, Any]:
        return {
            "notification_id": str(message.notification_id),
            "task_id": str(message.task_id),
            "reminder_id": None if message.reminder_id is None else str(message.reminder_id),
            "title": message.title,
            "body": message.body,
            "description": message.description,
            "due": message.due,
            "fire_at": written(message.fire_at),
            "late_seconds": None if message.late is None else message.late // _SECOND,
            "task_url": f"{self._public_url}/api/v1/tasks/{message.task_id}",
        }


def _signature(webhook: Webhook, identity: str, at: datetime, body: str) -> str:
    try:
        return Signature(webhook.secret).sign(identity, at, body)
    except (Base64Error, EmptyWebhookSecretError) as error:
        raise ChannelUnavailable("the webhook's secret cannot be used") from error
