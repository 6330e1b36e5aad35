"""Read and change how a person wants to be told. What was not shown again may be left out: it stays as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import time, timedelta
from typing import Any, Protocol, TypeVar
from uuid import UUID

from event_contracts.values import LatePolicy
from task_api.application.audit import Audit, AuditLine, Origin, count_action
from task_api.application.ports import Now
from task_api.domain.errors import (
    AccountNotFound,
    InvalidPreference,
    PreferencesChanged,
    PushSubscriptionNotFound,
    TooManyPushSubscriptions,
)
from task_api.domain.ids import new_id
from task_api.domain.preferences import (
    PUSH_MAX,
    Chat,
    Destination,
    Preferences,
    PushSubscription,
    QuietHours,
    Webhook,
    new_secret,
)

Kept = TypeVar("Kept", bound=Destination)


@dataclass(frozen=True, slots=True)
class WantedWebhook:
    """`id` names one that is there; without `url` or `secret` it keeps its own. A new one without secret gets one."""

    id: UUID | None
    name: str
    enabled: bool
    url: str | None
    secret: str | None


@dataclass(frozen=True, slots=True)
class WantedChat:
    """`id` names one that is there; without `url` it keeps its own."""

    id: UUID | None
    name: str
    enabled: bool
    url: str | None


@dataclass(frozen=True, slots=True)
class WantedPush:
    """A subscription that stays; new ones come from the browsers themselves."""

    id: UUID
    name: str
    enabled: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """All of a person's preferences as they shall be."""

    email: bool
    webhooks: Sequence[WantedWebhook]
    chats: Sequence[WantedChat]
    push: Sequence[WantedPush]
    quiet_hours: tuple[time, time] | None
    late_policy: LatePolicy
    drop_after: timedelta | None
    generated: bool


class HeldPreferences(Protocol):
    """Preferences that nobody else changes meanwhile."""

    @property
    def preferences(self) -> Preferences: ...

    async def save(self, preferences: Preferences) -> None:
        """Write them."""

    async def note(self, line: AuditLine) -> None:
        """Write a line of the audit log."""


class PreferencesStore(Protocol):
    """Where preferences are kept. Raises StorageUnavailable, ChannelsUnreadable."""

    async def read(self, user_id: UUID) -> Preferences:
        """Read them; the defaults when nothing was ever said."""

    def hold(self, user_id: UUID) -> AbstractAsyncContextManager[HeldPreferences | None]:
        """Lock the account in a unit of work; None when there is no such account."""

    async def remove_push(self, push_id: UUID, line: AuditLine) -> bool:
        """Remove a subscription, whosever it is, and write the line for its owner; False when it is not there."""


@dataclass(frozen=True)
class NotificationPreferences:
    """The use cases."""

    store: PreferencesStore
    now: Now
    audit: Audit

    async def read(self, user_id: UUID) -> Preferences:
        """Read a person's preferences."""
        return await self.store.read(user_id)

    async def replace(
        self, user_id: UUID, wanted: Wanted, expected: frozenset[int] | None, origin: Origin
    ) -> Preferences:
        """Put `wanted` in the place of what there is; `expected` are the versions that may be replaced.

        Raises PreferencesChanged, InvalidPreference, AccountNotFound.
        """

        def change(before: Preferences) -> Preferences:
            if expected is not None and before.version not in expected:
                raise PreferencesChanged(before.version)
            return _replaced(before, wanted)

        def counts(after: Preferences) -> Mapping[str, Any]:
            return {
                "webhooks": len(after.webhooks),
                "chats": len(after.chats),
                "push": len(after.push),
            }

        return await self._change(user_id, change, "notification_preferences_changed", origin, counts)

    async def subscribe(
        self, user_id: UUID, name: str, endpoint: str, p256dh: str, auth: str, origin: Origin
    ) -> PushSubscription:
        """Add a browser; one that comes again with the same endpoint renews its keys.

        Raises TooManyPushSubscriptions, AccountNotFound.
        """
        known: list[PushSubscription] = []

        def change(before: Preferences) -> Preferences:
            same = [push for push in before.push if push.endpoint == endpoint]
            made = PushSubscription(same[0].id if same else new_id(), name, True, endpoint, p256dh, auth)
            known.append(made)
            others = tuple(push for push in before.push if push.endpoint != endpoint)
            if len(others) >= PUSH_MAX:
                raise TooManyPushSubscriptions(f"an account has at most {PUSH_MAX} push subscriptions")
            return replace(before, push=before.push if made in same else (*others, made))

        await self._change(
            user_id, change, "push_subscribed", origin, lambda _: {"subscription": str(known[-1].id)}
        )
        return known[-1]

    async def unsubscribe(self, user_id: UUID, push_id: UUID, origin: Origin) -> None:
        """Take a browser away. Raises PushSubscriptionNotFound, AccountNotFound."""

        def change(before: Preferences) -> Preferences:
            left = tuple(push for push in before.push if push.id != push_id)
            if left == before.push:
                raise PushSubscriptionNotFound("there is no such push subscription")
            return replace(before, push=left)

        await self._change(
            user_id, change, "push_unsubscribed", origin, lambda _: {"subscription": str(push_id)}
        )

    async def push_gone(self, push_id: UUID, origin: Origin) -> None:
        """Remove a subscription that its push service says is gone; one that is not there is removed already."""
        line = await self.audit.line("push_gone", origin, detail={"subscription": str(push_id)})
        if await self.store.remove_push(push_id, line):
            count_action(line)

    async def stop_mail(self, user_id: UUID, origin: Origin) -> None:
        """Switch mail off; again changes nothing. Raises AccountNotFound."""
        await self._change(
            user_id, lambda before: replace(before, email=False), "mail_stopped", origin, lambda _: {}
        )

    async def _change(
        self,
        user_id: UUID,
        change: Callable[[Preferences], Preferences],
        action: str,
        origin: Origin,
        detail: Callable[[Preferences], Mapping[str, Any]],
    ) -> Preferences:
        async with self.store.hold(user_id) as held:
            if held is None:
                raise AccountNotFound("the account is gone")
            before = held.preferences
            after = change(before)
            if after != before:
                after = replace(after, version=before.version + 1, updated_at=await self.now())
                await held.save(after)
            line = await self.audit.line(action, origin, user_id=user_id, detail=detail(after))
            await held.note(line)
        count_action(line)
        return after


def _replaced(before: Preferences, wanted: Wanted) -> Preferences:
    webhooks = _merge("webhooks", before.webhooks, wanted.webhooks, _webhook)
    chats = _merge("chats", before.chats, wanted.chats, _chat)
    push = _merge("push", before.push, wanted.push, _push)
    quiet = None if wanted.quiet_hours is None else QuietHours(*wanted.quiet_hours)
    return replace(
        before,
        email=wanted.email,
        webhooks=webhooks,
        chats=chats,
        push=push,
        quiet_hours=quiet,
        late_policy=wanted.late_policy,
        drop_after=wanted.drop_after,
        generated=wanted.generated,
    )


WantedT = TypeVar("WantedT", WantedWebhook, WantedChat, WantedPush)


def _merge(
    field: str,
    there: Sequence[Kept],
    wanted: Sequence[WantedT],
    make: Callable[[str, Kept | None, WantedT], Kept],
) -> tuple[Kept, ...]:
    known = {one.id: one for one in there}
    made = []
    for index, one in enumerate(wanted):
        place = f"channels.{field}.{index}"
        old = None
        if one.id is not None:
            old = known.pop(one.id, None)
            if old is None:
                raise InvalidPreference(f"{place}.id", "unknown_id", "names none of yours, or one twice")
        made.append(make(place, old, one))
    return tuple(made)


def _webhook(place: str, old: Webhook | None, wanted: WantedWebhook) -> Webhook:
    url = wanted.url or (old.url if old else None)
    if url is None:
        raise InvalidPreference(f"{place}.url", "missing", "is needed for a new webhook")
    secret = wanted.secret or (old.secret if old else new_secret())
    return Webhook(old.id if old else new_id(), wanted.name, wanted.enabled, url, secret)


def _chat(place: str, old: Chat | None, wanted: WantedChat) -> Chat:
    url = wanted.url or (old.url if old else None)
    if url is None:
        raise InvalidPreference(f"{place}.url", "missing", "is needed for a new chat")
    return Chat(old.id if old else new_id(), wanted.name, wanted.enabled, url)


def _push(place: str, old: PushSubscription | None, wanted: WantedPush) -> PushSubscription:
    if old is None:
        raise InvalidPreference(f"{place}.id", "missing", "is needed: browsers are added by themselves")
    return replace(old, name=wanted.name, enabled=wanted.enabled)
