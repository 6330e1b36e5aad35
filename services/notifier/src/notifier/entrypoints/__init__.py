"""The wire in: events, cron ticks and HTTP."""
