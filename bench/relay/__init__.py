"""Benchmark of the relay: from the outbox through the sidecar to Kafka, against a bare producer of the same bytes."""
