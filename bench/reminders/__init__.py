"""Benchmark of reminders: memory, tick cost, lateness and bursts."""
