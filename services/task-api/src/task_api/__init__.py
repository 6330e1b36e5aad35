"""Users, tasks, series, history and the outbox. Owns PostgreSQL."""
