"""What is the next occurrence? Owns the rule engine."""
