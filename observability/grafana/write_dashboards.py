"""Writes dashboards/*.json from the description below: `python observability/grafana/write_dashboards.py [FOLDER]`.

A panel is its title, its unit and its queries with their legends; size, colours and the rest are the same for all.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "dashboards"
_SOURCE = {"type": "prometheus", "uid": "prometheus"}
_COLUMNS, _WIDTH, _HEIGHT = 2, 12, 8


@dataclass(frozen=True)
class Panel:
    """`queries` are PromQL and the legend of its lines; `unit` is one of Grafana's names of units."""

    title: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    kind: str = "timeseries"


def line(title: str, query: str, legend: str = "", unit: str = "short") -> Panel:
    """A panel of one query."""
    return Panel(title, ((query, legend),), unit)


def number(title: str, query: str, unit: str = "short") -> Panel:
    """The present figure, large."""
    return Panel(title, ((query, ""),), unit, "stat")


def quantiles(title: str, histogram: str, by: str = "", where: str = "") -> Panel:
    """The median, 95 % and 99 % of a histogram in seconds, one set for each value of the label `by`."""
    groups = f"{by}, le" if by else "le"
    name = f"{{{{{by}}}}} " if by else ""
    return Panel(
        title,
        tuple(
            (
                f"histogram_quantile({share}, sum by ({groups}) (rate({histogram}_bucket{where}[$__rate_interval])))",
                f"{name}{share:.0%}",
            )
            for share in (0.5, 0.95, 0.99)
        ),
        "s",
    )


def rate(title: str, counter: str, by: str, where: str = "", unit: str = "ops") -> Panel:
    """Events a second, one line for each combination of the labels `by`."""
    legend = " ".join(f"{{{{{label.strip()}}}}}" for label in by.split(","))
    return line(title, f"sum by ({by}) (rate({counter}{where}[$__rate_interval]))", legend, unit)


_ERRORS = 'sum by (job) (rate(http_requests_total{status=~"5.."}[$__rate_interval]))'
_REQUESTS = "sum by (job) (rate(http_requests_total[$__rate_interval]))"
_HITS = "sum(rate(pg_stat_database_blks_hit[$__rate_interval]))"
_MISSES = "sum(rate(pg_stat_database_blks_read[$__rate_interval]))"
_API = '{job="task-api"}'

DASHBOARDS: dict[str, tuple[str, tuple[Panel, ...]]] = {
    "overview": (
        "Overview",
        (
            line("Replicas that answer", "sum by (job) (up)", "{{job}}"),
            rate("Requests a second", "http_requests_total", "job", unit="reqps"),
            line("Share of errors", f"{_ERRORS} / {_REQUESTS}", "{{job}}", "percentunit"),
            quantiles("Time to answer", "http_request_duration_seconds", "job", '{route!="/api/v1/stream"}'),
            line(
                "Dependencies that answer",
                "min by (job, dependency) (dependency_available)",
                "{{job}} {{dependency}}",
            ),
            quantiles("Lateness of reminders", "reminder_lateness_seconds"),
            line("Age of the oldest event that waits", "max(outbox_oldest_age_seconds)", "outbox", "s"),
            line("Dead letters", "sum by (consumer) (dead_letters)", "{{consumer}}"),
            line("Alerts that ring", 'sum by (alertname) (ALERTS{alertstate="firing"})', "{{alertname}}"),
            line(
                "Health checks",
                "sum by (job, status) (rate(health_check_total[$__rate_interval]))",
                "{{job}} {{status}}",
            ),
        ),
    ),
    "task-api": (
        "task-api",
        (
            rate("Requests by route", "http_requests_total", "method, route", _API, "reqps"),
            quantiles("Time to answer by route", "http_request_duration_seconds", "route", _API),
            rate("Answers by status", "http_requests_total", "status", _API, "reqps"),
            line(
                "Being answered now", f"sum by (instance) (http_requests_in_progress{_API})", "{{instance}}"
            ),
            rate("Refused by limits", "rate_limit_refused_total", "limit"),
            rate("Accounts: what was tried", "account_actions_total", "action, outcome"),
            rate("API keys by where they were found", "api_key_lookups_total", "found"),
            quantiles("Time the sidecar took", "sidecar_request_duration_seconds", "operation", _API),
        ),
    ),
    "errors": (
        "Errors",
        (
            rate("Answers of 500 and above", "http_requests_total", "job, route, status", '{status=~"5.."}'),
            rate("Answers from 400 to 499", "http_requests_total", "job, status", '{status=~"4.."}'),
            rate(
                "Deliveries that were not handled",
                "events_handled_total",
                "job, topic, outcome",
                '{outcome!="SUCCESS"}',
            ),
            rate("Steps of loops that failed", "loop_errors_total", "job, loop"),
            rate("Calls of the sidecar that failed", "sidecar_failures_total", "job, operation, kind"),
            rate("Failed publications", "outbox_failures_total", "topic, kind"),
            rate("Mails that were refused", "smtp_errors_total", "kind"),
            rate("Deliveries that ended in errors", "delivery_errors_total", "channel"),
            rate("Conflicts of state", "state_conflicts_total", "job"),
            line(
                "Starts in the last hour", "sum by (job) (changes(process_start_time_seconds[1h]))", "{{job}}"
            ),
        ),
    ),
    "infrastructure": (
        "Infrastructure",
        (
            line(
                "Processors, by machine",
                '1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[$__rate_interval]))',
                "{{instance}}",
                "percentunit",
            ),
            line(
                "Memory, by machine",
                "1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes",
                "{{instance}}",
                "percentunit",
            ),
            line(
                "Disks: what is left",
                'node_filesystem_avail_bytes{fstype!~"tmpfs|overlay|squashfs"} / node_filesystem_size_bytes',
                "{{instance}} {{mountpoint}}",
                "percentunit",
            ),
            rate(
                "Disks: time in use",
                "node_disk_io_time_seconds_total",
                "instance, device",
                unit="percentunit",
            ),
            Panel(
                "Network",
                (
                    (
                        "sum by (instance) (rate(node_network_receive_bytes_total[$__rate_interval]))",
                        "{{instance}} in",
                    ),
                    (
                        "sum by (instance) (rate(node_network_transmit_bytes_total[$__rate_interval]))",
                        "{{instance}} out",
                    ),
                ),
                "Bps",
            ),
            rate("Processors, by service", "process_cpu_seconds_total", "job", unit="percentunit"),
            line("Memory, by service", "max by (job) (process_resident_memory_bytes)", "{{job}}", "bytes"),
            line("Open files", "max by (job) (process_open_fds)", "{{job}}"),
            Panel(
                "Redis: memory",
                (("redis_memory_used_bytes", "used"), ("redis_memory_max_bytes > 0", "allowed")),
                "bytes",
            ),
            rate("Redis: commands a second", "redis_commands_processed_total", "instance"),
        ),
    ),
    "events": (
        "Events and lag",
        (
            line(
                "How far consumers are behind",
                "sum by (consumer, topic) (consumer_lag_events)",
                "{{consumer}} {{topic}}",
            ),
            line("Dead letters", "sum by (consumer) (dead_letters)", "{{consumer}}"),
            line(
                "Age of the oldest dead letter",
                "max by (consumer) (dead_letter_oldest_age_seconds)",
                "{{consumer}}",
                "s",
            ),
            rate("Published by task-api", "outbox_published_total", "topic"),
            Panel("Outbox", (("max(outbox_depth)", "waiting"), ("max(outbox_parked)", "parked"))),
            line("Outbox: age of the oldest", "max(outbox_oldest_age_seconds)", "oldest", "s"),
            rate("Handled", "events_handled_total", "job, topic, outcome"),
            quantiles("Age when handled", "event_age_seconds", "topic"),
            quantiles("Time of a handler", "event_handling_seconds", "topic"),
            line("Kafka was looked at", "time() - kafka_looked_at_timestamp_seconds", "ago", "s"),
        ),
    ),
    "reminders": (
        "Reminders",
        (
            quantiles("Lateness", "reminder_lateness_seconds"),
            rate("Fired", "reminders_fired_total", "job"),
            line("Pending", "max(reminders_pending)", "pending"),
            rate("Fenced, by reason", "reminders_fenced_total", "reason"),
            line(
                "Since the last tick", "time() - max by (cron) (last_tick_timestamp_seconds)", "{{cron}}", "s"
            ),
            rate("Ticks", "cron_ticks_total", "cron, outcome"),
            rate("Mended by the slow pass", "reminder_mended_total", "what"),
            rate("Rebuilds", "reminder_rebuilds_total", "cause"),
            rate("Occurrences offered", "occurrences_generated_total", "why"),
            rate("Offers, by what became of them", "successor_offers_total", "verdict"),
            quantiles("Time of the rule engine", "recurrence_evaluation_seconds"),
            rate("Series mended by the slow pass", "recurrence_reconciled_total", "what"),
        ),
    ),
    "notifier": (
        "Notifier",
        (
            rate("Notifications by their end", "notifications_total", "channel, outcome"),
            quantiles("Time until a channel took it", "delivery_latency_seconds", "channel"),
            line("Waiting", "max by (channel) (delivery_queue_depth)", "{{channel}}"),
            rate("Tries that failed", "delivery_failed_attempts_total", "channel"),
            rate("Destinations left alone", "delivery_lanes_closed_total", "channel"),
            rate("Connections not made", "outbound_refused_total", "job"),
            line("Live streams", "sum by (instance) (stream_clients)", "{{instance}}"),
            rate("Live streams that ended", "streams_ended_total", "reason"),
            rate("Live streams refused", "streams_refused_total", "limit"),
            rate("Links that were followed", "links_followed_total", "action, outcome"),
            rate("Put back after a loss", "notifications_restored_total", "what"),
            rate("Digests", "digests_total", "channel"),
        ),
    ),
    "database": (
        "Database",
        (
            Panel(
                "Connections of task-api",
                (
                    ("sum by (instance, pool) (database_pool_checked_out)", "{{instance}} {{pool}} in use"),
                    ("sum by (instance, pool) (database_pool_open)", "{{instance}} {{pool}} open"),
                    ("sum by (instance, pool) (database_pool_size)", "{{instance}} {{pool}} allowed"),
                ),
            ),
            Panel(
                "Connections of PostgreSQL",
                (
                    ("sum(pg_stat_database_numbackends)", "open"),
                    ("max(pg_settings_max_connections)", "allowed"),
                ),
            ),
            Panel(
                "Transactions",
                (
                    ("sum(rate(pg_stat_database_xact_commit[$__rate_interval]))", "committed"),
                    ("sum(rate(pg_stat_database_xact_rollback[$__rate_interval]))", "rolled back"),
                ),
                "ops",
            ),
            line(
                "Found in memory",
                f"{_HITS} / ({_HITS} + {_MISSES})",
                "hits",
                "percentunit",
            ),
            rate("Deadlocks", "pg_stat_database_deadlocks", "datname"),
            line("Size", "pg_database_size_bytes", "{{datname}}", "bytes"),
            rate("Rows swept", "task_api_swept_total", "what"),
            quantiles("Time of a health check", "health_check_duration_seconds", "status", _API),
        ),
    ),
    "business": (
        "Business",
        (
            number("Tasks made today", "sum(increase(tasks_created_total[24h]))"),
            number("Tasks completed today", "sum(increase(tasks_completed_total[24h]))"),
            number(
                "Accounts made today",
                'sum(increase(account_actions_total{action="register", outcome="succeeded"}[24h]))',
            ),
            number("Reminders fired today", "sum(increase(reminders_fired_total[24h]))"),
            rate("Tasks made, by whom", "tasks_created_total", "source"),
            rate("Tasks completed, by whom", "tasks_completed_total", "source"),
            rate("Tasks deleted, by whom", "tasks_deleted_total", "source"),
            quantiles("From making a task to completing it", "task_completion_seconds"),
            rate("Logins", "account_actions_total", "outcome", '{action="login"}'),
            rate("Notifications, by channel", "notifications_total", "channel"),
        ),
    ),
}


def dashboard(uid: str) -> dict[str, Any]:
    """Grafana's model of one dashboard (schema 39). Raises KeyError for a name that is none."""
    title, panels = DASHBOARDS[uid]
    return {
        "uid": f"taskstream-{uid}",
        "title": f"Taskstream: {title}",
        "tags": ["taskstream"],
        "timezone": "browser",
        "schemaVersion": 39,
        "version": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "links": [{"type": "dashboards", "title": "Taskstream", "tags": ["taskstream"], "asDropdown": True}],
        "panels": [_panel(place, panel) for place, panel in enumerate(panels)],
    }


def _panel(place: int, panel: Panel) -> dict[str, Any]:
    row, column = divmod(place, _COLUMNS)
    return {
        "id": place + 1,
        "type": panel.kind,
        "title": panel.title,
        "datasource": _SOURCE,
        "gridPos": {"x": column * _WIDTH, "y": row * _HEIGHT, "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + number), "datasource": _SOURCE, "expr": query, "legendFormat": legend}
            for number, (query, legend) in enumerate(panel.queries)
        ],
    }


def main() -> None:
    """Write every dashboard into the folder that is given, by default the one beside this file."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    for uid in DASHBOARDS:
        text = json.dumps(dashboard(uid), indent=1, ensure_ascii=False)
        (folder / f"{uid}.json").write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
