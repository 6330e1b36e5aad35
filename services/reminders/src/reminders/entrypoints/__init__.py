"""The wire in: events and cron ticks."""
