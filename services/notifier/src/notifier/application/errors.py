"""What can go wrong around the use cases, by what is to be done about it.

NotifierError
├── TaskApiUnavailable    ask again later, nothing was tried
├── NotReady              the records are being set up: ask again later
├── LeaseLost             somebody else has the delivery by now
├── RecordWriteFailed     a record was not written, or it is not known whether it was: read it again
├── LiveUnavailable       the live streams cannot be read now
├── TooManyListeners      no further live stream
│   ├── ListenersFull        at this process
│   ├── PersonListensEnough  of this person
│   └── LeavingNow           for this process is about to go
├── LinkInvalid           a link in a mail that this service did not write
├── LinkRefused           what a link asks for is not possible any more
├── PublishFailed         the bus did not take an event: publish it again, under the same id
└── ChannelError
    ├── ChannelUnavailable   this try failed, a later one may not
    └── ChannelRefused       no later try can succeed
        └── DestinationGone  nor can any other message to this destination
"""

from __future__ import annotations


class NotifierError(Exception):
    """Anything that this service expects to go wrong."""


class TaskApiUnavailable(NotifierError):
    """task-api, or the way to it, gave no answer."""


class NotReady(NotifierError):
    """The service's marker is missing: what is stored cannot be trusted yet."""


class LeaseLost(NotifierError):
    """Another replica claimed the delivery meanwhile, and sees to it."""


class RecordWriteFailed(NotifierError):
    """Somebody else wrote the record, or the store did not answer in time."""


class LiveUnavailable(NotifierError):
    """The store of the live streams gave no answer."""


class TooManyListeners(NotifierError):
    """No further stream is opened here."""


class ListenersFull(TooManyListeners):
    """This process has as many as it may have."""


class PersonListensEnough(TooManyListeners):
    """This person has as many as they may have."""


class LeavingNow(TooManyListeners):
    """This process is shutting down."""


class LinkInvalid(NotifierError):
    """The link was not written here, or was changed."""


class LinkRefused(NotifierError):
    """What the link is about is gone, or has changed since it was sent."""


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


class DestinationGone(ChannelRefused):
    """The destination said that it is no more."""
