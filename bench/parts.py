"""The parts of the benchmark: each one starts what it needs, measures, and gives its figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bench.figures import Figure
from bench.flow.part import flow
from bench.notifier.part import notifier
from bench.overload.part import backlog, overload
from bench.relay.part import relay
from bench.reminders.part import reminders
from bench.system.part import system
from bench.task_api.part import lists, task_api

Part = Callable[[bool], Sequence[Figure]]
"""Measures, with small sizes when asked to be quick."""

PARTS: dict[str, Part] = {
    "task_api": task_api,
    "lists": lists,
    "relay": relay,
    "flow": flow,
    "reminders": reminders,
    "notifier": notifier,
    "overload": overload,
    "backlog": backlog,
    "system": system,
}
