"""Benchmark of the way of a change: from its commit to its handler, and from a reminder's time to its event."""
