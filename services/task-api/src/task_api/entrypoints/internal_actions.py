"""What notifier does in people's names, asked by the links in its mails. Each may be asked for again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Self
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, model_validator

from event_contracts.values import TaskStatus, UtcInstant
from service_kit.problems import Problem
from task_api.application.act_for_person import Asked, LinkAction, act_for_person
from task_api.application.ports import Means
from task_api.application.preferences import NotificationPreferences
from task_api.application.read_contact import ContactReader
from task_api.domain.errors import AccountNotFound
from task_api.entrypoints.http.fields import Answer
from task_api.entrypoints.http.origins import origin_at_a_sibling
from task_api.entrypoints.http.undo_tokens import UndoTokens


class ActionBody(BaseModel):
    """What a person's link asks for. `until` is an instant, so that the same link twice does it once."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    action: LinkAction
    user_id: UUID
    task_id: UUID
    reminder_id: UUID | None = None
    until: UtcInstant | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.action is LinkAction.COMPLETE) == (self.reminder_id is not None):
            raise ValueError("reminder_id is needed to snooze and to acknowledge, and only there")
        if (self.action is LinkAction.SNOOZE) != (self.until is not None):
            raise ValueError("until is needed to snooze, and only there")
        return self


class StopMailBody(BaseModel):
    """Whose mail ends."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    user_id: UUID


class ActionAnswer(Answer):
    """What became of it: whether anything changed, what takes it back, and the task as it is now."""

    changed: bool
    undo_token: str | None
    title: str
    status: TaskStatus
    version: int


@dataclass(frozen=True)
class ForPeople:
    """What the routes stand on."""

    contacts: ContactReader
    preferences: NotificationPreferences
    means: Means
    undo: UndoTokens


def action_routes(given: ForPeople) -> APIRouter:
    """The routes under /actions; whoever includes them sees to it that only notifier gets there."""
    routes = APIRouter(prefix="/actions")
    routes.add_api_route("", _action(given), methods=["POST"])
    routes.add_api_route("/stop-mail", _stop_mail(given), methods=["POST"], status_code=204)
    return routes


def _action(given: ForPeople) -> Callable[[ActionBody], Awaitable[Response]]:
    async def action(body: ActionBody) -> Response:
        # Whose account is shut acts no more, by links that are out neither.
        if await given.contacts.contact(body.user_id) is None:
            raise Problem(404, "user_not_found", "There is no such user.")
        asked = Asked(body.action, body.user_id, body.task_id, body.reminder_id, body.until)
        view = await act_for_person(given.means, asked)
        task, change_id = view.task, view.change_id
        answer = ActionAnswer(
            changed=change_id is not None,
            undo_token=None if change_id is None else given.undo.write(body.user_id, change_id),
            title=task.title,
            status=task.status,
            version=task.version,
        )
        return Response(answer.model_dump_json(), media_type="application/json")

    return action


def _stop_mail(given: ForPeople) -> Callable[[StopMailBody], Awaitable[Response]]:
    async def stop_mail(body: StopMailBody) -> Response:
        try:
            await given.preferences.stop_mail(body.user_id, origin_at_a_sibling())
        except AccountNotFound as error:  # to a person it is a 401, to a sibling it is not
            raise Problem(404, "user_not_found", "There is no such user.") from error
        return Response(status_code=204)

    return stop_mail
