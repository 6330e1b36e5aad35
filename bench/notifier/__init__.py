"""Benchmark of notifier: memory and fan-out of live streams, inbox writes."""
