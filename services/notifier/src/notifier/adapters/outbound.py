"""The only way out to addresses that people name: resolved, checked, and connected to exactly what was checked."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address

import httpx

from notifier import metrics
from notifier.application.errors import ChannelRefused, ChannelUnavailable
from notifier.domain.outbound import Address, OutboundRule

_LOOKUPS = 32


class NotPublic(ChannelRefused):
    """The address is one that nobody outside may make this service call."""

    def __init__(self) -> None:
        super().__init__("its address is not a public one")
        metrics.outbound_refused.inc()


@dataclass(frozen=True, slots=True)
class Answered:
    """The status of an answer; the body is not kept, for nothing in it is shown to anybody."""

    status: int


class Outbound:
    """Sends single POST requests. `timeout` (s) bounds each as a whole, however slowly the other side answers."""

    def __init__(self, rule: OutboundRule, *, timeout: float) -> None:
        self._rule = rule
        self._timeout = timeout
        # Connections are not kept: the pool would know them by address alone, and give one that was made, and
        # verified, for another name at the same address.
        self._client = httpx.AsyncClient(
            timeout=timeout,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
            trust_env=False,
            follow_redirects=False,
        )
        # Threads of their own, for a name server that does not answer holds one, and the loop's are few.
        self._lookups = ThreadPoolExecutor(_LOOKUPS, thread_name_prefix="lookup")

    async def post(self, url: str, content: bytes, headers: Mapping[str, str]) -> Answered:
        """Post it. Raises ChannelRefused for an address that may not be called, ChannelUnavailable without an answer.

        A redirect is an answer like any other: following it would be a second address, and this one is to be mended.
        """
        try:
            async with asyncio.timeout(self._timeout):
                return await self._post(url, content, headers)
        except TimeoutError as error:
            raise ChannelUnavailable("no answer in time") from error
        except httpx.TimeoutException as error:
            raise ChannelUnavailable("no answer in time") from error
        except httpx.TransportError as error:
            raise ChannelUnavailable("no connection") from error

    async def aclose(self) -> None:
        """Close what is open."""
        self._lookups.shutdown(wait=False, cancel_futures=True)
        await self._client.aclose()

    async def _post(self, url: str, content: bytes, headers: Mapping[str, str]) -> Answered:
        target, host, port = _parse(url)
        address = await self._checked(host, port)
        # The connection goes to the address; name, Host and certificate stay those of the URL.
        async with self._client.stream(
            "POST",
            target.copy_with(host=str(address)),
            content=content,
            headers={**headers, "host": target.netloc.decode("ascii"), "connection": "close"},
            extensions={"sni_hostname": target.raw_host.decode("ascii")},
        ) as answer:
            return Answered(answer.status_code)

    async def _checked(self, host: str, port: int) -> Address:
        loop = asyncio.get_running_loop()
        look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        try:
            found = await loop.run_in_executor(self._lookups, look_up)
        except (OSError, UnicodeError) as error:
            raise ChannelUnavailable("its name is not found") from error
        return first_allowed(self._rule, [entry[4][0] for entry in found])


def first_allowed(rule: OutboundRule, found: list[str | int]) -> Address:
    """Give the first address of a name. Raises NotPublic when any of them may not be called."""
    addresses = [ip_address(str(one).partition("%")[0]) for one in found]
    if not addresses or not all(rule.allows(address) for address in addresses):
        raise NotPublic
    return addresses[0]


def _parse(url: str) -> tuple[httpx.URL, str, int]:
    try:
        target = httpx.URL(url)
        port = target.port or {"http": 80, "https": 443}[target.scheme]
    except (httpx.InvalidURL, KeyError) as error:
        raise ChannelRefused("its address cannot be read") from error
    if not target.host:
        raise ChannelRefused("its address cannot be read")
    if target.userinfo:
        raise ChannelRefused("its address holds a password")
    return target, target.raw_host.decode("ascii"), port
