"""Reminders in chat rooms, through Apprise, whose connections are checked like all others and whose answers bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import requests
from apprise import NotifyBase, NotifyFormat, NotifyType
from apprise.plugins.discord import NotifyDiscord
from apprise.plugins.google_chat import NotifyGoogleChat
from apprise.plugins.gotify import NotifyGotify
from apprise.plugins.matrix import NotifyMatrix
from apprise.plugins.mattermost import NotifyMattermost
from apprise.plugins.nextcloudtalk import NotifyNextcloudTalk
from apprise.plugins.ntfy import NotifyNtfy
from apprise.plugins.pushover import NotifyPushover
from apprise.plugins.rocketchat import NotifyRocketChat
from apprise.plugins.signal_api import NotifySignalAPI
from apprise.plugins.slack import NotifySlack
from apprise.plugins.telegram import NotifyTelegram
from apprise.plugins.webexteams import NotifyWebexTeams
from apprise.plugins.workflows import NotifyWorkflows
from apprise.plugins.zulip import NotifyZulip

from event_contracts.values import CHAT_SCHEMES
from notifier.adapters.guarded_requests import Passage, inside
from notifier.application.errors import ChannelError, ChannelRefused, ChannelUnavailable
from notifier.domain.contact import Chat
from notifier.domain.outbound import OutboundRule
from notifier.domain.wording import Message


class _Matrix(NotifyMatrix):  # type: ignore[no-untyped-call]
    """Signs out when it is thrown away. Where that is, is chance: of one that failed, the event loop, and unguarded."""

    def __del__(self) -> None:
        if inside():
            super().__del__()  # type: ignore[no-untyped-call]


# Named one by one: Apprise's own way of finding a plugin loads two hundred and fifty, some of which run commands.
PLUGINS: dict[str, type[NotifyBase]] = {
    "discord": NotifyDiscord,
    "gchat": NotifyGoogleChat,
    "gotify": NotifyGotify,
    "gotifys": NotifyGotify,
    "matrix": _Matrix,
    "matrixs": _Matrix,
    "mmost": NotifyMattermost,
    "mmosts": NotifyMattermost,
    "nctalk": NotifyNextcloudTalk,
    "nctalks": NotifyNextcloudTalk,
    "ntfy": NotifyNtfy,
    "ntfys": NotifyNtfy,
    "pover": NotifyPushover,
    "rocket": NotifyRocketChat,
    "rockets": NotifyRocketChat,
    "signal": NotifySignalAPI,
    "signals": NotifySignalAPI,
    "slack": NotifySlack,
    "tgram": NotifyTelegram,
    "workflows": NotifyWorkflows,
    "wxteams": NotifyWebexTeams,
    "zulip": NotifyZulip,
}
_MISREADINGS = (
    requests.RequestException, AttributeError, LookupError, RecursionError, TypeError, ValueError
)  # fmt: skip


class AppriseChats:
    """`ChatRooms` through Apprise, in threads of its own. `timeout` (s) bounds a message as a whole."""

    def __init__(self, rule: OutboundRule, *, timeout: float, threads: int) -> None:
        self._rule = rule
        self._timeout = timeout
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="chat")

    async def say(self, chat: Chat, message: Message) -> None:
        scheme = chat.url.partition(":")[0].lower()
        if scheme not in CHAT_SCHEMES or scheme not in PLUGINS:
            raise ChannelRefused("the chat service is not one that is served here")
        passage = Passage(self._rule)
        if not await self._in_thread(passage, lambda: _say(chat, message, self._timeout, passage)):
            raise _failed(passage, "the chat service did not take it")

    def close(self) -> None:
        """Take no more messages; those under way end by their own time-outs."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _in_thread(self, passage: Passage, work: Callable[[], bool]) -> bool:
        with passage.entered():
            context = copy_context()
        running = asyncio.get_running_loop().run_in_executor(self._threads, context.run, work)
        try:
            async with asyncio.timeout(self._timeout):
                return await running
        except TimeoutError as error:
            raise ChannelUnavailable("no answer in time") from error
        finally:
            passage.end()


def _say(chat: Chat, message: Message, timeout: float, passage: Passage) -> bool:
    room = _room(chat)
    # What the address may say of these is the person's; how long a thread is held is ours.
    room.socket_connect_timeout = room.socket_read_timeout = timeout
    room.retry = 0
    room.redirects = False
    # A plugin waits as long as the other side tells it to. Here it does not: what comes too fast is tried again later.
    vars(room)["throttle"] = _no_wait
    try:
        return bool(
            room.notify(
                body=message.body,
                title=message.title,
                notify_type=NotifyType.INFO,
                body_format=NotifyFormat.TEXT,
            )
        )
    except _MISREADINGS as error:
        # A plugin that trips over an answer it does not expect is no trouble of ours.
        raise _failed(passage, "the chat service's answer was not understood") from error


def _failed(passage: Passage, reason: str) -> ChannelError:
    """Say what went wrong: `reason`, unless it was stopped here."""
    if passage.refused:
        return ChannelRefused("its address is not a public one")
    if passage.too_large:
        # Nor will its next answer be another: and it may well have taken the message, each time.
        return ChannelRefused("the chat service's answer is too large")
    return ChannelUnavailable(reason)


def _room(chat: Chat) -> NotifyBase:
    plugin = PLUGINS[chat.url.partition(":")[0].lower()]
    try:
        parsed = plugin.parse_url(chat.url)
        if parsed:
            return plugin(**parsed)
    except (TypeError, ValueError) as error:
        raise ChannelRefused("the chat service's address cannot be read") from error
    raise ChannelRefused("the chat service's address cannot be read")


def _no_wait(last_io: object = None, wait: float | None = None) -> None:
    """Do nothing, in place of a plugin's own pause between two requests."""
