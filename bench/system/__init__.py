"""Benchmark of the whole: starts, memory, health, many connections, many people, and what each request costs."""
