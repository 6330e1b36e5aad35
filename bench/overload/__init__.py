"""Benchmark of overload: three times what can be answered, and a backlog of events."""
