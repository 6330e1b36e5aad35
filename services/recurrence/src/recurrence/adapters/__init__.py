"""The ports, on Dapr and Redis."""
