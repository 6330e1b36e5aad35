"""How the rules' errors are told: which status, which stable code."""

from __future__ import annotations

from uuid import UUID

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from service_kit.auth import invalid_token
from service_kit.logs import get_logger
from service_kit.problems import FieldError, Problem, problem_response
from task_api.application.ports import TaskView
from task_api.domain import errors
from task_api.entrypoints.http.preconditions import etag
from task_api.entrypoints.http.task_answers import TaskAnswer

_log = get_logger(__name__)
_PLAIN: dict[type[Exception], tuple[int, str]] = {
    errors.TaskNotFound: (404, "task_not_found"),
    errors.ReminderNotFound: (404, "reminder_not_found"),
    errors.ConcurrentChange: (409, "concurrent_change"),
    errors.TransitionRefused: (409, "transition_refused"),
    errors.SeriesNotFound: (404, "series_not_found"),
    errors.SeriesDateTaken: (409, "series_date_taken"),
    errors.UndoNotPossible: (409, "undo_not_possible"),
    errors.InvalidUndoToken: (404, "undo_token_unknown"),
    errors.KeyReused: (409, "idempotency_key_reused"),
    errors.NotRecurring: (409, "not_recurring"),
    errors.SeriesScopeRequired: (409, "series_scope_required"),
    errors.LaterInstances: (409, "later_instances"),
    errors.SuccessorTouched: (409, "successor_touched"),
    errors.AccountUnknown: (404, "account_not_found"),
    errors.AccountErased: (409, "account_erased"),
    errors.ApiKeyNotFound: (404, "api_key_not_found"),
    errors.TooManyApiKeys: (409, "too_many_api_keys"),
    errors.PushSubscriptionNotFound: (404, "push_subscription_not_found"),
    errors.TooManyPushSubscriptions: (409, "too_many_push_subscriptions"),
    errors.CalendarNotFound: (404, "calendar_not_found"),
    errors.CutShort: (503, "storage_unavailable"),
    errors.EmailTaken: (409, "email_taken"),
    errors.InvalidCredentials: (401, "invalid_credentials"),
    errors.InvalidRefreshToken: (401, "invalid_refresh_token"),
    errors.RefreshTokenReused: (401, "invalid_refresh_token"),
}


def _sentence(error: Exception) -> str:
    text = str(error)
    return text[:1].upper() + text[1:] + "."


def to_problem(error: Exception) -> Problem:
    """Give the problem that an error of the rules is told as. Raises the error itself when it is none of them."""
    match error:
        case errors.VersionMismatch():
            version = error.current.version
            current = TaskAnswer.of(TaskView(error.current, error.recurrence)).model_dump(mode="json")
            return Problem(
                412,
                "version_mismatch",
                f"The task has changed: it is at version {version}.",
                headers={"ETag": etag(version)},
                members={"current": current},
            )
        case errors.SeriesVersionMismatch():
            detail = f"The series has changed: it is at version {error.current}."
            return Problem(412, "version_mismatch", detail, headers={"ETag": etag(error.current)})
        case errors.PreferencesChanged():
            detail = f"The preferences have changed: they are at version {error.current}."
            return Problem(412, "version_mismatch", detail, headers={"ETag": etag(error.current)})
        case errors.InvalidTask() | errors.InvalidPreference():
            code = "due_in_past" if isinstance(error, errors.DueInPast) else "invalid_request"
            found = FieldError(error.field, error.message, error.code)
            return Problem(422, code, f"{error.field}: {error.message}", errors=[found])
        case errors.WeakPassword():
            found = FieldError("password", str(error), "weak_password")
            return Problem(422, "weak_password", f"password: {error}", errors=[found])
        case errors.InvalidCursor():
            found = FieldError("cursor", str(error), "invalid_cursor")
            return Problem(422, "invalid_cursor", f"cursor: {error}", errors=[found])
        case errors.AccountNotFound():
            return invalid_token("The account of this token is gone.")
        case errors.StorageUnavailable():
            detail = "The database does not answer right now; nothing was changed unless said so."
            return Problem(503, "storage_unavailable", detail, headers={"Retry-After": "1"})
        case errors.ChannelsUnreadable():
            _log.error("channels_unreadable", error=str(error))
            detail = "What is kept of your channels cannot be read at the moment; nothing is lost. Ask the operator."
            return Problem(503, "channels_unreadable", detail)
        case errors.BulkRefused():
            failed = [
                {
                    ("id" if isinstance(which, UUID) else "index"): which,
                    "error_code": to_problem(each).error_code,
                }
                for which, each in error.failed
            ]
            return Problem(409, "bulk_refused", _sentence(error), members={"failed": failed})
    status, code = _PLAIN[type(error)]
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return Problem(status, code, _sentence(error), headers=headers)


async def _answer(request: Request, error: Exception) -> Response:
    return problem_response(to_problem(error))


def install_domain_problems(app: FastAPI) -> None:
    """Let `app` answer the rules' errors as problems."""
    for kind in (
        errors.TaskError,
        errors.AccountError,
        errors.InvalidCursor,
        errors.StorageUnavailable,
        errors.ChannelsUnreadable,
    ):
        app.add_exception_handler(kind, _answer)
