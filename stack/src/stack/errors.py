"""What can go wrong, each said in one sentence that a person can act on.

StackError
├── MissingToolError  a program is absent or too old, and may not be installed from here
├── StepFailedError   an installation or build step failed
├── PortBusyError     a port that the instance needs is held by something else
├── NotReadyError     a process died or stayed silent while it was awaited
├── NotRunningError   the named process is not there to be signalled
├── InterruptError    the person at the keyboard, or the system, asked to stop
└── CancelledError    the caller gave up; what had been started is stopped
"""

from __future__ import annotations


class StackError(Exception):
    """Base of all: its text is meant for the person at the keyboard."""


class MissingToolError(StackError):
    """A program is absent or too old, and may not be installed from here."""


class StepFailedError(StackError):
    """An installation or build step failed; the text ends with its last lines."""


class PortBusyError(StackError):
    """A port that the instance needs is held by something that is not its own."""


class NotReadyError(StackError):
    """A process died or stayed silent while it was awaited; the text ends with its last lines."""


class NotRunningError(StackError):
    """The named process is not there to be signalled."""


class InterruptError(StackError):
    """Ctrl-C or a request of the system to end, while a command was under way."""


class CancelledError(StackError):
    """The caller gave up while processes were being started."""
