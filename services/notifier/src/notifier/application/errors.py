"""What can go wrong around the use cases, by what is to be done about it.

NotifierError
├── TaskApiUnavailable    ask again later, nothing was tried
├── NotReady              the records are being set up: ask again later
├── RecordWriteFailed     a record was not written, or it is not known whether it was: read it again
├── PublishFailed         the bus did not take an event: publish it again, under the same id
└── ChannelError
    ├── ChannelUnavailable   this try failed, a later one may not
    └── ChannelRefused       no later try can succeed
"""

from __future__ import annotations


class NotifierError(Exception):
    """Anything that this service expects to go wrong."""


class TaskApiUnavailable(NotifierError):
    """task-api, or the way to it, gave no answer."""


class NotReady(NotifierError):
    """The service's marker is missing: what is stored cannot be trusted yet."""


class RecordWriteFailed(NotifierError):
    """Somebody else wrote the record, or the store did not answer in time."""


class PublishFailed(NotifierError):
    """The bus did not say that it has the event."""


class ChannelError(NotifierError):
    """A message did not get out. `reason` is short and fit for the task's activity: no addresses in it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ChannelUnavailable(ChannelError):
    """The channel could not take the message now."""


class ChannelRefused(ChannelError):
    """The channel will never take this message."""
