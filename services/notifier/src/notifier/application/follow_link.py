"""Do what a link in a mail says, for the person it was sent to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from notifier import metrics
from notifier.application.errors import LinkRefused
from notifier.application.ports import Clock, LinkUses, PersonsActions, TaskApi
from notifier.domain.links import Link, LinkAction


class LinkState(Enum):
    """What becomes, or would become, of a link that is followed."""

    OPEN = auto()
    DONE = auto()
    USED = auto()
    EXPIRED = auto()
    REFUSED = auto()


@dataclass(frozen=True, slots=True)
class Followed:
    """`locale` is the person's language; `title` is that of the task, when there is one and it is known."""

    state: LinkState
    locale: str = "en"
    title: str | None = None


class FollowLink:
    """Looking changes nothing: scanners of mail follow links as well. Acting does it, and uses the link up.

    The moment of the first use is written down before anything is done, and what is done is computed from it. So a
    link that is followed twice at once, or again after a process died in between, asks task-api for the very same
    thing, which it does once. Only after that is the link used up.
    """

    def __init__(self, task_api: TaskApi, actions: PersonsActions, uses: LinkUses, clock: Clock) -> None:
        self._task_api = task_api
        self._actions = actions
        self._uses = uses
        self._clock = clock

    async def look(self, token: str, link: Link) -> Followed:
        """Say what following it would do. Raises TaskApiUnavailable."""
        if link.expires_at <= await self._clock.now():
            return Followed(LinkState.EXPIRED)
        contact = await self._task_api.contact(link.user_id)
        if contact is None:
            return Followed(LinkState.REFUSED)
        if link.is_one_time and await self._uses.is_used_up(token):
            return Followed(LinkState.USED, contact.locale)
        if link.task_id is None:
            return Followed(LinkState.OPEN, contact.locale)
        task = await self._task_api.task(link.task_id)
        if task is None or task.user_id != link.user_id or task.deleted_at is not None:
            return Followed(LinkState.REFUSED, contact.locale)
        return Followed(LinkState.OPEN, contact.locale, task.title)

    async def act(self, token: str, link: Link) -> Followed:
        """Do it. Raises TaskApiUnavailable: nothing is lost then by following it again."""
        seen = await self.look(token, link)
        if seen.state is LinkState.OPEN:
            seen = Followed(await self._do(token, link), seen.locale, seen.title)
        metrics.links_followed.labels(link.action, seen.state.name.lower()).inc()
        return seen

    async def _do(self, token: str, link: Link) -> LinkState:
        if link.action is LinkAction.STOP_MAIL:
            await self._actions.stop_mail(link.user_id)
            self._task_api.forget(link.user_id)
            return LinkState.DONE
        first = await self._uses.begin(token, await self._clock.now(), link.expires_at)
        if first is None:
            return LinkState.USED
        try:
            await self._actions.act(link, first)
        except LinkRefused:
            return LinkState.REFUSED
        await self._uses.use_up(token)
        return LinkState.DONE
