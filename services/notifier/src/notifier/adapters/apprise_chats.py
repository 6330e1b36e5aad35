"""Reminders in chat rooms, through Apprise, whose connections are checked like all others."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from threading import Event
from typing import Any

import requests
import urllib3.util.connection
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
from notifier.adapters.outbound import NotPublic, first_allowed
from notifier.application.errors import ChannelRefused, ChannelUnavailable
from notifier.domain.contact import Chat
from notifier.domain.outbound import OutboundRule
from notifier.domain.wording import Message

# Named one by one: Apprise's own way of finding a plugin loads two hundred and fifty, some of which run commands.
PLUGINS: dict[str, type[NotifyBase]] = {
    "discord": NotifyDiscord,
    "gchat": NotifyGoogleChat,
    "gotify": NotifyGotify,
    "gotifys": NotifyGotify,
    "matrix": NotifyMatrix,
    "matrixs": NotifyMatrix,
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
_MISREADINGS = (requests.RequestException, AttributeError, LookupError, TypeError, ValueError)


@dataclass
class _Passage:
    """What one message may connect to, and the sockets it opened."""

    rule: OutboundRule
    sockets: list[socket.socket] = field(default_factory=list)
    refused: bool = False
    over: Event = field(default_factory=Event)

    def cut(self) -> None:
        """End every connection: the thread that waits for one is free."""
        self.over.set()
        for one in self.sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


_passage: ContextVar[_Passage] = ContextVar("passage")
_connect = urllib3.util.connection.create_connection


def _guarded_connect(address: tuple[str, int], *args: Any, **kwargs: Any) -> socket.socket:
    """Stand in for urllib3's function, the one place where Apprise's plugins open a connection, redirects included.

    Outside of a message it is urllib3's own: traces leave this process by it, too.
    """
    passage = _passage.get(None)
    if passage is None:
        return _connect(address, *args, **kwargs)
    host, port = address
    found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    try:
        checked = first_allowed(passage.rule, [entry[4][0] for entry in found])
    except NotPublic as error:
        passage.refused = True
        raise OSError("not a public address") from error
    if passage.over.is_set():
        raise OSError("its time is over")
    connection = _connect((str(checked), port), *args, **kwargs)
    passage.sockets.append(connection)
    if passage.over.is_set():
        passage.cut()
    return connection


urllib3.util.connection.create_connection = _guarded_connect


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
        passage = _Passage(self._rule)
        if not await self._in_thread(passage, lambda: _say(chat, message, self._timeout)):
            if passage.refused:
                raise ChannelRefused("its address is not a public one")
            raise ChannelUnavailable("the chat service did not take it")

    def close(self) -> None:
        """Take no more messages; those under way end by their own time-outs."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _in_thread(self, passage: _Passage, work: Callable[[], bool]) -> bool:
        context = copy_context()
        context.run(_passage.set, passage)
        running = asyncio.get_running_loop().run_in_executor(self._threads, context.run, work)
        try:
            async with asyncio.timeout(self._timeout):
                return await running
        except TimeoutError as error:
            raise ChannelUnavailable("no answer in time") from error
        finally:
            passage.cut()


def _say(chat: Chat, message: Message, timeout: float) -> bool:
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
        raise ChannelUnavailable("the chat service's answer was not understood") from error


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
