"""Wire to command to answer; no rules here."""
