"""Reminders pushed to browsers: encrypted for the browser alone (RFC 8291), signed with our key (VAPID, RFC 8292)."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta
from typing import cast

import httpx
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from py_vapid import Vapid02
from pywebpush import WebPusher, WebPushException

from notifier.adapters.outbound import Outbound
from notifier.application.errors import ChannelRefused, ChannelUnavailable, DestinationGone
from notifier.domain.contact import PushSubscription
from notifier.domain.wording import Message
from service_kit import base64url

_TOKEN_LIFE = timedelta(hours=12)
_KEPT_FOR = timedelta(hours=24)
# Push services take 4096 bytes (RFC 8030, section 7.2). A character may have four, and encryption adds a hundred.
_TITLE, _BODY = 255, 400
_GONE = frozenset({404, 410})


class VapidKey:
    """Our key towards push services, and the address at which their operators reach ours."""

    def __init__(self, private_key: str, contact: str) -> None:
        """Take 32 bytes in base64url, and a `mailto:` address."""
        self._key = Vapid02.from_string(private_key)
        self._contact = contact

    @property
    def public(self) -> str:
        """The public half as browsers want it: the uncompressed point in base64url."""
        point = self._key.public_key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return base64url.written(point)

    def header(self, endpoint: str, at: datetime) -> str:
        """Give the Authorization header for this endpoint."""
        url = httpx.URL(endpoint)
        claims = {
            "aud": f"{url.scheme}://{url.netloc.decode('ascii')}",
            "exp": int((at + _TOKEN_LIFE).timestamp()),
            "sub": self._contact,
        }
        return cast("str", self._key.sign(claims)["Authorization"])


class WebPush:
    """`Browsers` through the push service that each browser names. Without a key, nothing can be pushed."""

    def __init__(self, outbound: Outbound, key: VapidKey | None) -> None:
        self._outbound = outbound
        self._key = key

    async def push(self, browser: PushSubscription, message: Message, at: datetime) -> None:
        if self._key is None:
            raise ChannelRefused("web push is not set up here")
        body = await asyncio.to_thread(_encrypted, browser, _payload(message))
        headers = {
            "authorization": self._key.header(browser.endpoint, at),
            "content-encoding": "aes128gcm",
            "content-type": "application/octet-stream",
            "ttl": str(int(_KEPT_FOR.total_seconds())),
            "urgency": "high",
            # A copy takes the place of the one before while the browser is away (RFC 8030, section 5.4).
            "topic": message.notification_id.hex,
        }
        answer = await self._outbound.post(browser.endpoint, body, headers)
        if answer.status in _GONE:
            raise DestinationGone("the browser's subscription is no more")
        if not 200 <= answer.status < 300:
            raise ChannelUnavailable(f"the push service answered {answer.status}")


def _payload(message: Message) -> bytes:
    content = {
        "notification_id": str(message.notification_id),
        "title": message.title[:_TITLE],
        "body": message.body[:_BODY],
    }
    if not message.parts and message.task_id is not None:
        content |= {"task_id": str(message.task_id)}
        if message.reminder_id is not None:
            content |= {"reminder_id": str(message.reminder_id)}
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def _encrypted(browser: PushSubscription, content: bytes) -> bytes:
    subscription = {"endpoint": browser.endpoint, "keys": {"p256dh": browser.p256dh, "auth": browser.auth}}
    try:
        return cast("bytes", WebPusher(subscription).encode(content)["body"])
    except (WebPushException, ValueError) as error:
        raise ChannelRefused("the browser's keys cannot be used") from error
