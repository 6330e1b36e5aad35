"""The ports' implementations, named by technology."""
