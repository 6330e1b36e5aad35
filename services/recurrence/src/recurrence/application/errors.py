"""What goes wrong and goes away again: each of these means that the same is to be tried once more later.

TryAgain
├── NotReady            the marker is missing or of another epoch: what is stored is not to be trusted
├── DocumentWriteFailed another was first, or the state store is away; it may have been written all the same
└── TaskApiAway         task-api was not reached or failed
"""

from __future__ import annotations


class TryAgain(Exception):
    """Not now."""


class NotReady(TryAgain):
    """The derived documents are being rebuilt, or have to be."""


class DocumentWriteFailed(TryAgain):
    """A document was not written, or it is not known whether it was."""


class TaskApiAway(TryAgain):
    """task-api gave no answer to go by."""
