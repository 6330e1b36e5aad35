"""The pages behind the links in mails. Whoever has a link acts for the person it was sent to, and in nothing else.

GET shows what the link would do and does nothing: mail is scanned by programs that follow every link. POST does it;
mail programs post here themselves to end mail by one click (RFC 8058).
"""

from __future__ import annotations

from typing import Annotated, Protocol

from fastapi import APIRouter, Path, Request
from fastapi.responses import HTMLResponse, Response

from notifier.application.errors import LinkInvalid, TaskApiUnavailable
from notifier.application.follow_link import Followed, FollowLink, LinkState
from notifier.domain.links import DAY_MINUTES, Link, LinkAction
from notifier.domain.wording import Words
from service_kit.http_app import mark_quiet

_STATUS = {
    LinkState.OPEN: 200,
    LinkState.DONE: 200,
    LinkState.USED: 410,
    LinkState.EXPIRED: 410,
    LinkState.REFUSED: 409,
}

Token = Annotated[str, Path(max_length=300, description="what a link in a mail ends with")]


class Links(Protocol):
    """Reads what a link says. Raises LinkInvalid."""

    def read(self, token: str) -> Link: ...


class Pages(Protocol):
    """Words and pages in a person's language."""

    def words(self, locale: str, /) -> Words: ...

    def render(self, template: str, locale: str, **values: object) -> str: ...


def link_routes(links: Links | None, follow: FollowLink, pages: Pages) -> APIRouter:
    """The routes under /api/v1/actions. Without `links` there are none that could be followed."""
    routes = APIRouter(prefix="/api/v1/actions", tags=["Links in mails"])

    async def show(token: Token, request: Request) -> Response:
        """What a link in a mail would do, as a page with a button."""
        return await answer(token, request, acting=False)

    async def act(token: Token, request: Request) -> Response:
        """Do what a link in a mail says, once."""
        return await answer(token, request, acting=True)

    async def answer(token: str, request: Request, *, acting: bool) -> Response:
        mark_quiet(request)  # the path lets its reader act
        try:
            if links is None:
                raise LinkInvalid("no links are sent here")
            link = links.read(token)
            followed = await (follow.act(token, link) if acting else follow.look(token, link))
        except LinkInvalid:
            return page(404, "en", pages.words("en").gettext("This link is not one of ours."))
        except TaskApiUnavailable:
            sentence = pages.words("en").gettext(
                "Taskstream cannot do this right now. Try again in a minute."
            )
            return page(503, "en", sentence)
        words = pages.words(followed.locale)
        button = _button(link, words) if followed.state is LinkState.OPEN else None
        return page(_STATUS[followed.state], followed.locale, _sentence(link, followed, words), button)

    def page(status: int, locale: str, sentence: str, button: str | None = None) -> Response:
        content = pages.render("link.html.j2", locale, sentence=sentence, button=button)
        return HTMLResponse(content, status, headers={"retry-after": "60"} if status == 503 else None)

    kinds: dict[int | str, dict[str, object]] = {
        404: {"description": "not a link of ours"},
        409: {"description": "what it was about has changed meanwhile"},
        410: {"description": "used before, or too old"},
        503: {"description": "not possible right now"},
    }
    routes.add_api_route("/{token}", show, methods=["GET"], response_class=HTMLResponse, responses={**kinds})
    routes.add_api_route("/{token}", act, methods=["POST"], response_class=HTMLResponse, responses={**kinds})
    return routes


def _button(link: Link, words: Words) -> str:
    match link.action:
        case LinkAction.COMPLETE:
            return words.gettext("Done")
        case LinkAction.SNOOZE:
            return words.gettext("Remind me later")
        case LinkAction.STOP_MAIL:
            return words.gettext("No more mail")


def _sentence(link: Link, followed: Followed, words: Words) -> str:
    match followed.state:
        case LinkState.USED:
            return words.gettext("This link was used before.")
        case LinkState.EXPIRED:
            return words.gettext("This link is too old.")
        case LinkState.REFUSED:
            return words.gettext(
                "This is not possible any more: the task or the reminder is gone or has changed."
            )
    text = _done(link, words) if followed.state is LinkState.DONE else _question(link, words)
    return text % {"title": followed.title}


def _question(link: Link, words: Words) -> str:
    match link.action:
        case LinkAction.COMPLETE:
            return words.gettext("Is “%(title)s” done?")
        case LinkAction.SNOOZE if link.minutes == DAY_MINUTES:
            return words.gettext("Be reminded of “%(title)s” in a day?")
        case LinkAction.SNOOZE:
            return words.gettext("Be reminded of “%(title)s” in an hour?")
        case LinkAction.STOP_MAIL:
            return words.gettext("Get no more mail from Taskstream?")


def _done(link: Link, words: Words) -> str:
    match link.action:
        case LinkAction.COMPLETE:
            return words.gettext("“%(title)s” is done.")
        case LinkAction.SNOOZE if link.minutes == DAY_MINUTES:
            return words.gettext("You will be reminded of “%(title)s” in a day.")
        case LinkAction.SNOOZE:
            return words.gettext("You will be reminded of “%(title)s” in an hour.")
        case LinkAction.STOP_MAIL:
            return words.gettext("You get no more mail from Taskstream. Your preferences switch it on again.")
