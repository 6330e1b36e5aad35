"""task-api against the same service in the usual form, commit then publish: see bench/README.md."""
