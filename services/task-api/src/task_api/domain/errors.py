"""What can go wrong by the rules; each carries what the person needs to know.

TaskError
 ├── TaskNotFound          absent, deleted or another user's: all the same from outside
 ├── ReminderNotFound
 ├── VersionMismatch       If-Match named another version than the current one
 ├── ConcurrentChange      changed by another request at the same moment: ask again
 ├── TransitionRefused     this status cannot become that one
 ├── NotRecurring          asked of a task without a series
 ├── SeriesScopeRequired   the rule belongs to the series, not to one instance
 ├── LaterInstances        what is to count for later ones was asked of an instance that others follow
 ├── SuccessorTouched      the next instance was changed or closed, so this one cannot be opened again
 ├── SeriesNotFound
 ├── SeriesVersionMismatch
 ├── SeriesDateTaken       an instance would come before one that is closed
 ├── InvalidUndoToken
 ├── UndoNotPossible       what was changed was changed again since
 ├── KeyReused             an Idempotency-Key came back with another request
 ├── BulkRefused           one item of an atomic bulk call cannot be done
 ├── CutShort              a bulk call ended early, after some of its items were done
 └── InvalidTask           a field that the rules refuse, by name
      └── DueInPast
AccountError
 ├── EmailTaken
 ├── WeakPassword
 ├── InvalidCredentials
 ├── InvalidRefreshToken
 │    └── RefreshTokenReused    to the outside the same
 ├── AccountNotFound
 ├── AccountUnknown        an administrator asked for an account that is not there
 ├── ApiKeyNotFound
 ├── TooManyApiKeys
 ├── PreferencesChanged    If-Match named another version of the preferences
 ├── InvalidPreference     a field that the rules refuse, by name
 ├── PushSubscriptionNotFound
 ├── TooManyPushSubscriptions
 └── CalendarNotFound      the secret opens no calendar, or there is none to revoke
InvalidCursor
StorageUnavailable         the database cannot answer now
ChannelsUnreadable         what was encrypted needs a key that is not in the settings
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    from task_api.domain.series import Recurrence
    from task_api.domain.task import Task


class TaskError(Exception):
    """A rule about tasks says no."""


class TaskNotFound(TaskError):
    """There is no such task for this user."""


class ReminderNotFound(TaskError):
    """The task has no such reminder."""


class VersionMismatch(TaskError):
    """If-Match did not name the version that the task, `current`, is at; `recurrence` is that of its series."""

    def __init__(self, current: Task, recurrence: Recurrence | None) -> None:
        super().__init__(f"the task is at version {current.version}")
        self.current = current
        self.recurrence = recurrence


class ConcurrentChange(TaskError):
    """Another request changed the same rows in between."""


class TransitionRefused(TaskError):
    """The status `old` cannot become `new`."""

    def __init__(self, old: str, new: str, reason: str) -> None:
        super().__init__(reason)
        self.old = old
        self.new = new


class NotRecurring(TaskError):
    """Only an instance of a series can be skipped."""


class SeriesScopeRequired(TaskError):
    """The recurrence rule is the series', and an edit of one instance does not change it."""


class LaterInstances(TaskError):
    """An edit of this instance and later would pass by those that are there already."""


class SuccessorTouched(TaskError):
    """The next instance of the series was already changed or closed."""


class SeriesNotFound(TaskError):
    """There is no such series for this user."""


class SeriesVersionMismatch(TaskError):
    """The series is at version `current`, which If-Match did not name."""

    def __init__(self, current: int) -> None:
        super().__init__(f"the series is at version {current}")
        self.current = current


class SeriesDateTaken(TaskError):
    """The open instance would lie on or before a slot that was used already."""


class InvalidUndoToken(TaskError):
    """The token is not ours, not this user's, too old, or its change is gone."""


class UndoNotPossible(TaskError):
    """The change cannot be taken back without losing a later one."""


class KeyReused(TaskError):
    """The Idempotency-Key belongs to another request of this user."""


class BulkRefused(TaskError):
    """Nothing was done, since `failed` cannot be: (id or position, the error) of each such item."""

    def __init__(self, failed: Sequence[tuple[UUID | int, TaskError]]) -> None:
        super().__init__(f"{len(failed)} of the items cannot be done, and all or nothing was asked for")
        self.failed = tuple(failed)


class CutShort(TaskError):
    """The database stopped answering in the middle of a bulk call; the text says what is known of the item."""


class InvalidTask(TaskError):
    """The task would break a rule. `field` is the body's field, `code` stable, `message` for people."""

    def __init__(self, field: str, code: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.code = code
        self.message = message


class DueInPast(InvalidTask):
    """The due moment is already over, and the caller did not say that this is meant."""

    def __init__(self, field: str) -> None:
        super().__init__(field, "due_in_past", "is in the past; send allow_past=true if that is meant")


class AccountError(Exception):
    """A rule about accounts and sessions says no."""


class EmailTaken(AccountError):
    """There is an account with this e-mail address."""


class WeakPassword(AccountError):
    """The password is too easy to guess; the text says what it lacks."""


class InvalidCredentials(AccountError):
    """E-mail and password do not belong together; which of them is wrong is not said.

    `user_id` is whose account was tried, for the audit log alone.
    """

    def __init__(self, reason: str, user_id: UUID | None = None) -> None:
        super().__init__(reason)
        self.user_id = user_id


class InvalidRefreshToken(AccountError):
    """The refresh token is unknown, expired, revoked or was used before."""


class RefreshTokenReused(InvalidRefreshToken):
    """The token came a second time: somebody copied it, and its session was ended."""


class AccountNotFound(AccountError):
    """The account of a valid token is gone."""


class AccountUnknown(AccountError):
    """There is no such account."""


class AccountErased(AccountError):
    """The person asked for the account to be erased: it does not open again."""


class ApiKeyNotFound(AccountError):
    """There is no such API key of this user."""


class TooManyApiKeys(AccountError):
    """The account has as many API keys as it may."""


class PreferencesChanged(AccountError):
    """The preferences are at version `current`, which If-Match did not name."""

    def __init__(self, current: int) -> None:
        super().__init__(f"the preferences are at version {current}")
        self.current = current


class InvalidPreference(AccountError):
    """The preferences would break a rule. `field`, `code` and `message` as in InvalidTask."""

    def __init__(self, field: str, code: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.code = code
        self.message = message


class PushSubscriptionNotFound(AccountError):
    """There is no such push subscription of this user."""


class TooManyPushSubscriptions(AccountError):
    """The account has as many push subscriptions as it may."""


class CalendarNotFound(AccountError):
    """There is no such calendar; why is not said."""


class InvalidCursor(ValueError):
    """The cursor was not made by this service, or for another list."""


class StorageUnavailable(Exception):
    """The database did not answer in time."""


class ChannelsUnreadable(Exception):
    """Addresses or secrets were encrypted with a key that the settings do not name."""
