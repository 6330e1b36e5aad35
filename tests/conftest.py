"""Fixtures of every lane: the real backing services come from the kit's pytest plugin."""

import os
import signal

from hypothesis import HealthCheck, settings

pytest_plugins = ["service_kit.testing.infrastructure"]

# Shared machines stall now and then, and a slow example is no wrong example. A change is judged by the same examples
# each time; new ones are looked for at night.
settings.register_profile(
    "default", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
settings.register_profile(
    "nightly", parent=settings.get_profile("default"), max_examples=2_000, derandomize=False
)
settings.register_profile("brief", parent=settings.get_profile("default"), max_examples=10)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

# A run that is told to end takes down what it started, as at Ctrl-C, which a shell keeps from its background jobs.
signal.signal(signal.SIGTERM, signal.default_int_handler)
