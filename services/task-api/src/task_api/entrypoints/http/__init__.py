"""The HTTP routes that clients call."""
