"""docs/metrics.md names every metric of every service, and no other."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

from prometheus_client import REGISTRY

from taskstream_cli.exporter import KafkaMetrics

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
ROOMS = ("service_kit", "task_api", "reminders", "recurrence", "notifier")
# What the client library says of the process by itself;
_GIVEN = ("python_", "process_")


def _measured() -> set[str]:
    """The names of all metrics, as they are scraped; a metric is there once its module is loaded."""
    for room in ROOMS:
        for module in walk_packages(import_module(room).__path__, f"{room}."):
            if not module.name.endswith("__main__") and not re.search(
                r"\.(testing|migrations)\b", module.name
            ):
                import_module(module.name)
    return {
        family.name + ("_total" if family.type == "counter" else "")
        for registry in (REGISTRY, KafkaMetrics().registry)
        for family in registry.collect()
        if not family.name.startswith(_GIVEN)
    }


def test_the_page_names_every_metric_and_no_other() -> None:
    named = re.findall(r"^\| `(\w+)`", PAGE.read_text(), re.MULTILINE)
    assert sorted(named) == sorted(_measured())
