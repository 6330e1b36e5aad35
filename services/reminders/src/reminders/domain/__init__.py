"""Pure rules: when a reminder fires and what is remembered of it."""
