"""How the caller wants to be told: channels, quiet hours, what becomes of what comes late.

Secrets, chat addresses and browsers' keys are shown to nobody again: where an answer says null they are kept, and null
in a request keeps them, so that what was read can be sent back.
"""

import base64
import binascii
from collections.abc import Iterable
from datetime import time, timedelta
from typing import Annotated, Self
from urllib.parse import urlsplit
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
)

from event_contracts.values import CHAT_SCHEMES, LatePolicy, WallTime
from service_kit.auth import Principal
from task_api.application.preferences import (
    NotificationPreferences,
    Wanted,
    WantedChat,
    WantedPush,
    WantedWebhook,
)
from task_api.domain.preferences import (
    CHATS_MAX,
    PUSH_MAX,
    SECRET_PREFIX,
    WEBHOOKS_MAX,
    Preferences,
)
from task_api.entrypoints.http.callers import Callers
from task_api.entrypoints.http.documented import problems
from task_api.entrypoints.http.fields import STORABLE, Answer, Body, at_most, iso_duration
from task_api.entrypoints.http.origins import origin_of
from task_api.entrypoints.http.preconditions import Expected, etag
from task_api.entrypoints.http.task_answers import json_answer

_PREFERENCES = "/api/v1/users/me/notification-preferences"
_PUSH = "/api/v1/push-subscriptions"
_NAME_MAX = 100
_URL_MAX = 2000
_LATEST = timedelta(days=30)
_P256DH = "^[A-Za-z0-9_-]{87}=?$"
"""An uncompressed point: 65 bytes in base64url."""
_AUTH = "^[A-Za-z0-9_-]{22}(==)?$"
"""16 bytes in base64url."""
_SECRET_BYTES = range(24, 65)

_EXAMPLE = {
    "channels": {
        "email": True,
        "webhooks": [{"name": "home automation", "url": "https://home.example.org/hook"}],
        "chats": [{"name": "family", "url": "ntfys://ntfy.example.org/chores"}],
        "push": [],
    },
    "quiet_hours": {"start": "22:00", "until": "07:00"},
    "late_policy": "drop_after",
    "drop_after": "PT6H",
    "generated": False,
}
_BROWSER = {
    "name": "Firefox on the laptop",
    "endpoint": "https://push.example.org/send/3f1c",
    "keys": {
        "p256dh": "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
        "auth": "BTBZMqHH6r4Tts7J_aSIgg",
    },
}


def _web_address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise ValueError("is no address of the form https://host/path")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not hold a user name or password: deliveries are signed instead")
    parts.port  # noqa: B018 - raises ValueError for one that is none
    return url


def _push_address(url: str) -> str:
    if urlsplit(_web_address(url)).scheme != "https":
        raise ValueError("is no https address")
    return url


def _chat_address(url: str) -> str:
    scheme, parted, rest = url.partition("://")
    if scheme not in CHAT_SCHEMES or not parted or not rest.strip("/"):
        raise ValueError(
            f"is no chat address: it begins with one of {', '.join(sorted(CHAT_SCHEMES))}, and ://"
        )
    return url


def _signing_secret(text: str) -> str:
    try:
        length = len(base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True))
    except binascii.Error:
        length = 0
    if not text.startswith(SECRET_PREFIX) or length not in _SECRET_BYTES:
        raise ValueError("is not whsec_ and 24 to 64 bytes in base64")
    return text


def _unpadded(key: str) -> str:
    return key.rstrip("=")


_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=_URL_MAX), STORABLE]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=_NAME_MAX), STORABLE]
WebhookUrl = Annotated[_Text, AfterValidator(_web_address)]
ChatUrl = Annotated[_Text, AfterValidator(_chat_address)]
Endpoint = Annotated[_Text, AfterValidator(_push_address)]
SigningSecret = Annotated[str, StringConstraints(max_length=200), AfterValidator(_signing_secret)]
Patience = Annotated[
    timedelta, BeforeValidator(iso_duration), Field(ge=timedelta(minutes=1), le=_LATEST, examples=["PT6H"])
]


class WebhookBody(Body):
    """A webhook; `id` names one that is there, which keeps what is null. A new one without secret is given one."""

    id: UUID | None = None
    name: Name
    enabled: bool = True
    url: WebhookUrl | None = None
    secret: SigningSecret | None = None


class ChatBody(Body):
    """A chat room as an Apprise address; `id` names one that is there, which keeps its address when `url` is null."""

    id: UUID | None = None
    name: Name
    enabled: bool = True
    url: ChatUrl | None = None
    service: str | None = Field(default=None, description="Read-only; what is sent is not looked at.")


class PushBody(Body):
    """A browser that stays."""

    id: UUID
    name: Name
    enabled: bool = True
    endpoint: str | None = Field(default=None, description="Read-only; what is sent is not looked at.")


class ChannelsBody(Body):
    """All channels; one that is left out is removed. The inbox is always there."""

    email: bool
    webhooks: Annotated[tuple[WebhookBody, ...], Field(max_length=WEBHOOKS_MAX), at_most(WEBHOOKS_MAX)]
    chats: Annotated[tuple[ChatBody, ...], Field(max_length=CHATS_MAX), at_most(CHATS_MAX)]
    push: Annotated[tuple[PushBody, ...], Field(max_length=PUSH_MAX), at_most(PUSH_MAX)]


class QuietHoursBody(Body):
    """Wall-clock times in the person's zone; `until` before `start` is the next morning."""

    start: WallTime
    until: WallTime

    @field_validator("until", mode="after")
    @classmethod
    def _some_time(cls, value: time, info: ValidationInfo) -> time:
        if value == info.data.get("start"):
            raise ValueError("is when they start; send null for no quiet hours")
        return value


class PreferencesBody(Body, json_schema_extra={"examples": [_EXAMPLE]}):
    """All preferences as they shall be. Every field is named, so that none is lost by leaving it out."""

    channels: ChannelsBody
    quiet_hours: QuietHoursBody | None
    late_policy: LatePolicy
    drop_after: Patience | None = Field(default=None, validate_default=True)
    generated: bool

    @field_validator("drop_after", mode="after")
    @classmethod
    def _patience(cls, value: timedelta | None, info: ValidationInfo) -> timedelta | None:
        if (info.data.get("late_policy", value) is LatePolicy.DROP_AFTER) != (value is not None):
            raise ValueError("belongs to the late_policy drop_after, and is needed there")
        return value

    def wanted(self) -> Wanted:
        """Give what is wanted."""
        of, quiet = self.channels, self.quiet_hours
        return Wanted(
            email=of.email,
            webhooks=[
                WantedWebhook(one.id, one.name, one.enabled, one.url, one.secret) for one in of.webhooks
            ],
            chats=[WantedChat(one.id, one.name, one.enabled, one.url) for one in of.chats],
            push=[WantedPush(one.id, one.name, one.enabled) for one in of.push],
            quiet_hours=None if quiet is None else (quiet.start, quiet.until),
            late_policy=self.late_policy,
            drop_after=self.drop_after,
            generated=self.generated,
        )


class WebhookAnswer(Answer):
    """A webhook. `secret` is shown once, in the answer to the request that made it."""

    id: UUID
    name: str
    enabled: bool
    url: str
    secret: str | None = None


class ChatAnswer(Answer):
    """A chat room; `service` is all of its address that is shown."""

    id: UUID
    name: str
    enabled: bool
    url: None = None
    service: str


class PushAnswer(Answer):
    """A browser; its keys are not shown."""

    id: UUID
    name: str
    enabled: bool
    endpoint: str


class ChannelsAnswer(Answer):
    """All channels beside the inbox."""

    email: bool
    webhooks: tuple[WebhookAnswer, ...]
    chats: tuple[ChatAnswer, ...]
    push: tuple[PushAnswer, ...]


class QuietHoursAnswer(Answer):
    """Wall-clock times in the person's zone."""

    start: WallTime
    until: WallTime


class PreferencesAnswer(Answer):
    """How the caller is told. `ETag` is their version."""

    channels: ChannelsAnswer
    quiet_hours: QuietHoursAnswer | None
    late_policy: LatePolicy
    drop_after: timedelta | None
    generated: bool

    @classmethod
    def of(cls, found: Preferences, given: Iterable[str] = ()) -> Self:
        """Give preferences as they are shown; of the secrets only those that were `given` just now."""
        shown = frozenset(given)
        webhooks = tuple(
            WebhookAnswer(
                id=one.id,
                name=one.name,
                enabled=one.enabled,
                url=one.url,
                secret=one.secret if one.secret in shown else None,
            )
            for one in found.webhooks
        )
        channels = ChannelsAnswer(
            email=found.email,
            webhooks=webhooks,
            chats=tuple(
                ChatAnswer(id=one.id, name=one.name, enabled=one.enabled, service=one.service)
                for one in found.chats
            ),
            push=tuple(PushAnswer.model_validate(one) for one in found.push),
        )
        quiet = found.quiet_hours
        return cls(
            channels=channels,
            quiet_hours=None if quiet is None else QuietHoursAnswer.model_validate(quiet),
            late_policy=found.late_policy,
            drop_after=found.drop_after,
            generated=found.generated,
        )


class BrowserKeys(Body):
    """What the browser gave (RFC 8291), in base64url."""

    p256dh: Annotated[str, StringConstraints(pattern=_P256DH), AfterValidator(_unpadded)]
    auth: Annotated[str, StringConstraints(pattern=_AUTH), AfterValidator(_unpadded)]


class BrowserBody(Body, json_schema_extra={"examples": [_BROWSER]}):
    """A browser's subscription, as `PushSubscription.toJSON()` gives it, with a name."""

    name: Name = "browser"
    endpoint: Endpoint
    keys: BrowserKeys
    expirationTime: float | None = Field(  # noqa: N815 - the browsers' word
        default=None, description="Not looked at: a push service says when a subscription is gone."
    )


def _answer(found: Preferences, given: Iterable[str] = ()) -> Response:
    headers = {"ETag": etag(found.version), "Cache-Control": "no-store"}
    return json_answer(PreferencesAnswer.of(found, given), 200, headers)


def preference_routes(callers: Callers, preferences: NotificationPreferences) -> APIRouter:
    """Give the routes of preferences and push subscriptions. They take a session's token."""
    router = APIRouter(tags=["notification preferences"])
    Session = Annotated[Principal, Depends(callers.session)]  # noqa: N806 - a type

    @router.get(_PREFERENCES, response_model=PreferencesAnswer, responses=problems(401, 403))
    async def read(principal: Session) -> Response:
        """How the caller wants to be told."""
        return _answer(await preferences.read(principal.user_id))

    @router.put(_PREFERENCES, response_model=PreferencesAnswer, responses=problems(400, 401, 403, 412, 422))
    async def replace(
        body: PreferencesBody, principal: Session, request: Request, expected: Expected
    ) -> Response:
        """Say it anew, as a whole. Secrets of new webhooks are in this answer alone."""
        known = {one.id for one in body.channels.webhooks if one.id is not None}
        saved = await preferences.replace(principal.user_id, body.wanted(), expected, origin_of(request))
        return _answer(saved, [one.secret for one in saved.webhooks if one.id not in known])

    @router.post(
        _PUSH,
        status_code=201,
        response_model=PushAnswer,
        responses=problems(400, 401, 403, 409, 422),
    )
    async def subscribe(body: BrowserBody, principal: Session, request: Request) -> Response:
        """Let a browser be told. The same endpoint again renews its keys."""
        keys = body.keys
        made = await preferences.subscribe(
            principal.user_id, body.name, body.endpoint, keys.p256dh, keys.auth, origin_of(request)
        )
        return json_answer(PushAnswer.model_validate(made), 201)

    @router.delete(f"{_PUSH}/{{subscription_id}}", status_code=204, responses=problems(401, 403, 404, 422))
    async def unsubscribe(subscription_id: UUID, principal: Session, request: Request) -> Response:
        """Tell a browser nothing more."""
        await preferences.unsubscribe(principal.user_id, subscription_id, origin_of(request))
        return Response(status_code=204)

    return router
