"""Process plumbing that the services share: settings, logs, telemetry, health, problems, events, due index, tokens.

Plain functions and small classes without any noun of the domain; a service's `app.py` calls what it needs.
"""
