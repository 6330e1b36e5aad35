"""What this service counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

occurrences_generated = Counter(
    "occurrences_generated_total", "Occurrences proposed to task-api, by what asked for them.", ["why"]
)
series_over = Counter(
    "recurrence_series_over_total", "Closed instances after which the rule has no slot left."
)
unusable_series = Counter(
    "recurrence_unusable_series_total", "Series whose rule, start or zone the engine cannot read."
)
evaluation_seconds = Histogram(
    "recurrence_evaluation_seconds",
    "Time the rule engine took to find the slot after a closed one.",
    buckets=(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25),
)
expansion_bound = Counter(
    "recurrence_expansion_bound_total",
    "Questions that used up the engine's budget: what follows is not known, and is asked again each day.",
)
sweep_checks = Counter(
    "recurrence_sweep_checks_total",
    "Closed instances that the sweep looked at: settled, repaired because they had no successor yet, or given up.",
    ["outcome"],
)
awaited_looks = Counter(
    "recurrence_awaited_total",
    "Looks at open instances whose successor comes by its date: made, settled because all was changed, or given up.",
    ["outcome"],
)
rebuilds = Counter("recurrence_rebuilds_total", "Passes over all series, by what asked for them.", ["why"])
reconciled = Counter(
    "recurrence_reconciled_total",
    "Series that the slow pass found behind task-api and mended: an edit, or a closing that was never heard of.",
    ["what"],
)
ready = Gauge("recurrence_ready", "1 while the derived documents are complete, else 0.")
